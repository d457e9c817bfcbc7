"""Optimizers and schedules for Lightning 2.6.6 or later, in automatic and in manual optimization."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import lightning
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.plugins import MixedPrecision
from packaging.version import Version
from torch import Tensor
from torch.optim import Optimizer

from optimzoo.errors import ConfigError, OptimzooWarning
from optimzoo.names.zoo import OPTIMIZERS, needs_of
from optimzoo.optimizers.modes import Modes
from optimzoo.optimizers.param_groups import NAMES
from optimzoo.schedules.build import by_member
from optimzoo.trainers.common import build_optimizers, read_cfg
from optimzoo.trainers.torch import torch_scheduler

OLDEST = "2.6.6"
THEIRS = {
    "clip_grad": "gradient_clip_val of the Trainer clips; in manual optimization, self.clip_gradients",
    "accumulative_counts": "accumulate_grad_batches of the Trainer accumulates",
    "type": "the Trainer makes the step; its precision chooses autocast and loss scale",
}
STRATEGIES = {"SingleDeviceStrategy", "DDPStrategy"}
"""Those in which a parameter is a whole one under its own name, and the optimizer makes its own step."""
TRAINED = "optimzoo_trained"

if Version(lightning.__version__) < Version(OLDEST):
    warnings.warn(
        f"lightning {lightning.__version__} is older than {OLDEST}, the first that is safe",
        OptimzooWarning,
        stacklevel=2,
    )


def lightning_optimizers(
    module: LightningModule,
    optim_wrapper: Mapping[str, Any],
    param_scheduler: Mapping[str, Any] | Sequence[Any] | None = None,
    total_updates: int | None = None,
    updates_per_epoch: int | None = None,
    on_change: str = "error",
) -> Any:
    """Return what ``configure_optimizers`` returns: the optimizer, and its schedules as one ``lr_scheduler``.

    The groups get names, under which ``LearningRateMonitor`` logs them. A fused kernel is not chosen where Lightning
    clips under mixed precision, which refuses it.

    Args:
        module: The module in training.
        optim_wrapper: ``type`` and the optimizer's arguments; or ``optimizer``, ``paramwise_cfg`` and ``constructor``
            as in ``optim_wrapper``; or, for manual optimization, such dicts of several optimizers by name.
        param_scheduler: The schedules, as for ``build_param_scheduler``.
        total_updates: Updates in the run; by default what the Trainer estimates of its batches, which are as many in
            manual optimization as its batches.
        updates_per_epoch: Updates in an epoch; by default likewise.
        on_change: What to do with a checkpoint of other schedules, as of a shorter run; see ``torch_scheduler``.

    Raises:
        ConfigError: A config is wrong, or has what Lightning decides itself or cannot honour.

    Examples:
        >>> import torch
        >>> from lightning import LightningModule
        >>> from optimzoo.trainers.lightning import lightning_optimizers
        >>> class Module(LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(2, 1)
        ...
        ...     def configure_optimizers(self):
        ...         warmup = dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=100)
        ...         return lightning_optimizers(self, dict(type="AdamW", lr=1e-3), warmup)
        >>> Module().configure_optimizers()["lr_scheduler"]["interval"]
        'step'
    """
    cfg, trainer = read_cfg(optim_wrapper, THEIRS), module._trainer
    fuse = True
    if trainer is not None:
        _check_strategy(trainer)
        length, per_epoch = _length_of(trainer)
        total_updates, updates_per_epoch = total_updates or length, updates_per_epoch or per_epoch
        fuse = not (isinstance(trainer.precision_plugin, MixedPrecision) and trainer.gradient_clip_val)
    optimizers = build_optimizers(module, cfg, *_honoured(module, trainer), fuse)
    if len(optimizers) > 1 and module.automatic_optimization:
        raise ConfigError(
            f"{', '.join(optimizers)}: Lightning takes several optimizers in manual optimization alone: set "
            "self.automatic_optimization = False",
            "optim_wrapper",
        )
    schedules = by_member(param_scheduler, optimizers) if param_scheduler else {}
    found: list[dict[str, Any]] = []
    for name, optimizer in optimizers.items():
        _name_groups(optimizer)
        found.append({"optimizer": optimizer})
        if name in schedules:
            scheduler = torch_scheduler(optimizer, schedules[name], total_updates, updates_per_epoch, on_change)
            interval = "step" if scheduler.unit == "update" else "epoch"
            found[-1]["lr_scheduler"] = {"scheduler": scheduler, "interval": interval}
    return found if len(found) > 1 else found[0]


class OptimzooCallback(Callback):
    """Does in Lightning what some optimizers need: the switch of schedule-free ones, the curvature of Sophia.

    Validations and checkpoints have the weights to use; those to train come back to the bit, also in a resumed run.

    Args:
        curvature: For an optimizer that squares the gradient of a sampled loss (Sophia-G): a function of the module and
            a batch that returns that loss and its number of samples, as ``sampled_cross_entropy`` does.
    """

    def __init__(self, curvature: Callable[[LightningModule, Any], tuple[Tensor, int]] | None = None) -> None:
        self._curvature = curvature
        self._modes = Modes(())
        self._evaluating = contextlib.ExitStack()
        self._batch: tuple[Any, int] = (None, 0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Switch to the weights to train."""
        self._modes = Modes(trainer.optimizers)
        self._modes.train()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Switch to the weights to use."""
        self._modes.eval()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Switch to the weights to use."""
        self._evaluating.enter_context(self._modes.evaluating())

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Switch back to the very bits from before."""
        self._evaluating.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Switch back, if a validation was cut short."""
        self._evaluating.close()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the batch, for the curvature."""
        self._batch = (batch, batch_idx + 1)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Estimate the curvature, where the backward pass completes an update that wants it."""
        batch, number = self._batch
        if number % trainer.accumulate_grad_batches and not trainer.is_last_batch:
            return
        for optimizer in trainer.optimizers:
            estimates: Any = optimizer
            if "curvature" in needs_of(optimizer) and estimates.curvature_due():
                sampled = None if self._curvature is None else partial(self._curvature, pl_module, batch)
                estimates.update_curvature(loss * trainer.accumulate_grad_batches, sampled)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the weights to use, and beside them those to train, where these are others."""
        states = self._modes.state(lambda: pl_module.state_dict())
        if "trained" in states:
            checkpoint.update({"state_dict": states["model"], TRAINED: states["trained"]})

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Load the weights to train."""
        if TRAINED in checkpoint:
            pl_module.load_state_dict(checkpoint[TRAINED])


class OptimizerFactory:
    """Optimizer and schedules as arguments with types, for LightningCLI; called in ``configure_optimizers``.

    Args:
        type: The optimizer's name.
        lr: The learning rate; by default the optimizer's own.
        weight_decay: The weight decay; by default the optimizer's own.
        arguments: Further arguments of the optimizer.
        paramwise_cfg: Settings of single parameters.
        param_scheduler: A schedule, or a list of them.
    """

    def __init__(
        self,
        type: Literal[tuple(OPTIMIZERS)] | str = "AdamW",  # type: ignore[valid-type]  # noqa: A002
        lr: float | None = None,
        weight_decay: float | None = None,
        arguments: dict[str, Any] | None = None,
        paramwise_cfg: dict[str, Any] | None = None,
        param_scheduler: list[dict[str, Any]] | dict[str, Any] | None = None,
    ) -> None:
        given = {"lr": lr, "weight_decay": weight_decay}
        settings = {key: value for key, value in given.items() if value is not None}
        self.optim_wrapper = {"optimizer": {"type": type, **settings, **(arguments or {})}}
        if paramwise_cfg is not None:
            self.optim_wrapper["paramwise_cfg"] = paramwise_cfg
        self.param_scheduler = param_scheduler
        read_cfg(self.optim_wrapper, THEIRS)

    def __call__(self, module: LightningModule) -> Any:
        """Return what ``configure_optimizers`` returns; see ``lightning_optimizers``."""
        return lightning_optimizers(module, self.optim_wrapper, self.param_scheduler)


def _check_strategy(trainer: Trainer) -> None:
    bases = {cls.__name__ for cls in type(trainer.strategy).__mro__}
    if bases.isdisjoint(STRATEGIES) or "SingleDeviceXLAStrategy" in bases:
        raise ConfigError(
            f"{type(trainer.strategy).__name__} splits the parameters or makes the step itself, which groups by name "
            f"and bare optimizers do not allow: use {' or '.join(sorted(STRATEGIES))}",
            "optim_wrapper",
        )


def _scales(trainer: Trainer) -> bool:
    return getattr(trainer.precision_plugin, "scaler", None) is not None


def _length_of(trainer: Trainer) -> tuple[int | None, int | None]:
    """Return the updates in the run, and in an epoch if all have as many, as far as they are known."""
    total, batches = trainer.estimated_stepping_batches, trainer.num_training_batches
    if trainer.ckpt_path is not None:  # a loader is given its saved state as it is set up, for which it was too early
        trainer.fit_loop._combined_loader = None
    updates = [math.ceil(batches / by) for by in _accumulations(trainer)] if 0 < batches < math.inf else []
    if updates and trainer.max_epochs != -1:  # Lightning's estimate does not know of changing accumulation
        total = min(sum(updates), math.inf if trainer.max_steps == -1 else trainer.max_steps)
    return int(total) if 0 < total < math.inf else None, updates[0] if len({*updates}) == 1 else None


def _accumulations(trainer: Trainer) -> list[int]:
    """Return of how many batches an update is made, in each epoch; of a run without an end, each of these numbers."""
    endless, epochs = trainer.max_epochs == -1, range(max(trainer.max_epochs or 0, 1))
    for callback in vars(trainer)["callbacks"]:
        if isinstance(callback, GradientAccumulationScheduler):
            return [callback.get_accumulate_grad_batches(epoch) for epoch in (callback.epochs if endless else epochs)]
    return [trainer.accumulate_grad_batches] * len(epochs)


def _honoured(module: LightningModule, trainer: Trainer | None) -> tuple[str, set[str]]:
    """Return who makes the steps, and which needs of an optimizer are met so."""
    manual, who = not module.automatic_optimization, ["Lightning"]
    needs = {"closure", "two_passes", "graph"} if manual else {"closure", "loss"}
    if trainer is None:
        return "Lightning", needs | {"modes", "curvature"}
    if _scales(trainer) or max(_accumulations(trainer)) > 1:
        needs -= {"closure", "loss", "two_passes"}
        who.append("with a loss scale" if _scales(trainer) else "with accumulate_grad_batches")
    if any(isinstance(callback, OptimzooCallback) for callback in vars(trainer)["callbacks"]):
        needs |= {"modes"} if _scales(trainer) else {"modes", "curvature"}
    else:
        who.append("without OptimzooCallback() among its callbacks")
    return " ".join(who), needs


def _name_groups(optimizer: Optimizer) -> None:
    """Give each group that has none a name, by its first parameter and how many there are."""
    if len(optimizer.param_groups) == 1:
        return
    taken: set[str] = set()
    for number, group in enumerate(optimizer.param_groups):
        names = group.get(NAMES) or [f"group {number}"]
        name = group.get("name") or names[0] + (f"+{len(names) - 1}" if len(names) > 1 else "")
        group["name"] = name if name not in taken else f"{name}/{number}"
        taken.add(group["name"])
