"""Optimizers for the Trainer of transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import TrainerCallback

from optimzoo.errors import ConfigError
from optimzoo.names.zoo import needs_of
from optimzoo.optimizers.modes import Modes
from optimzoo.trainers.common import bare, build_optimizers, read_cfg

THEIRS = {
    "clip_grad": "max_grad_norm of TrainingArguments clips",
    "accumulative_counts": "gradient_accumulation_steps of TrainingArguments accumulates",
    "type": "the Trainer makes the step; bf16 or fp16 of TrainingArguments choose its precision",
}


def hf_optimizer(cfg: Mapping[str, Any]) -> tuple[type[HFOptimizer], dict[str, Any]]:
    """Return what ``Trainer(optimizer_cls_and_kwargs=...)`` takes.

    The parameter groups are those of ``cfg``: the Trainer's own split (``weight_decay`` of its arguments for matrices,
    none for norms and biases) does not apply, nor does its ``learning_rate``.

    Args:
        cfg: ``type`` and the optimizer's arguments; or ``optimizer``, ``paramwise_cfg`` and ``constructor`` as in
            ``optim_wrapper``.

    Raises:
        ConfigError: ``cfg`` is wrong, or has a setting that is the Trainer's affair.

    Examples:
        >>> from optimzoo.trainers.hf import hf_optimizer
        >>> optimizer = hf_optimizer(dict(
        ...     optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.1),
        ...     paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0)))
        >>> # Trainer(model=model, args=arguments, train_dataset=..., optimizer_cls_and_kwargs=optimizer)
    """
    cfg = read_cfg(cfg, THEIRS)
    return HFOptimizer, {"cfg": cfg}


class HFOptimizer:
    """Builds an optimizer where the Trainer has its model."""

    def __call__(self, model: nn.Module, cfg: Mapping[str, Any]) -> Optimizer:
        """Return the optimizer of ``cfg`` for ``model``.

        Raises:
            ConfigError: ``cfg`` does not suit the model, or describes several optimizers.
        """
        has_callback = model in WATCHED
        who = "The Trainer" if has_callback else "The Trainer without OptimzooCallback() among its callbacks"
        optimizers = build_optimizers(model, cfg, who, {"modes", "curvature"} if has_callback else ())
        if len(optimizers) > 1:
            raise ConfigError("the Trainer takes one optimizer", "optim_wrapper")
        return optimizers[""]


WATCHED: WeakSet[nn.Module] = WeakSet()
"""The models of Trainers that have the callback."""


class OptimzooCallback(TrainerCallback):
    """Does in a Trainer what some optimizers need, and logs what they make of the learning rate.

    Schedule-free optimizers are switched to the weights to use before each checkpoint and at the end; the Trainer
    does so for its evaluations alone. Sophia gets an estimate of the curvature before every ``k``-th update, for which
    the model computes the loss of the last batch once more. ``log_history`` has ``effective_lr`` for optimizers that
    multiply their learning rate by an estimate of their own, such as Prodigy.

    Args:
        curvature: For an optimizer that squares the gradient of a sampled loss (Sophia-G): a function of the model and
            the keyword arguments of its forward pass that returns that loss and its number of samples, as
            ``sampled_cross_entropy`` does.

    Raises:
        ConfigError: The Trainer leaves the step to DeepSpeed.
    """

    def __init__(self, curvature: Callable[[nn.Module, dict[str, Any]], tuple[Tensor, int]] | None = None) -> None:
        self._curvature = curvature
        self._inputs: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
        self._hook: Any = None

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note that the model is watched."""
        if args.deepspeed:
            raise ConfigError(
                "DeepSpeed makes the step on parameters of its own, which the groups of a config do not know",
                "deepspeed",
            )
        WATCHED.add(kwargs["model"])

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Listen to the batches, if the optimizer wants an estimate of the curvature."""
        self._listen_no_more()  # on account of a training that failed
        if "curvature" in needs_of(bare(kwargs["optimizer"])):
            self._hook = kwargs["model"].register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._inputs = (args, kwargs)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Estimate the curvature, where it is due."""
        model, optimizer = kwargs["model"], bare(kwargs["optimizer"])
        if self._hook is None or not optimizer.curvature_due():
            return
        arguments, named = self._inputs
        if self._curvature is None:
            outputs = model(*arguments, **named)
            optimizer.update_curvature(outputs["loss"] if isinstance(outputs, Mapping) else outputs[0], None)
        else:
            sampled = self._curvature(model, named)
            optimizer.update_curvature(sampled[0], lambda: sampled)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Switch to the weights to use if a checkpoint is due."""
        if control.should_save:
            self._use(kwargs["optimizer"])

    on_epoch_end = on_step_end

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Switch to the weights to use."""
        self._use(kwargs["optimizer"])
        self._listen_no_more()

    def _listen_no_more(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook, self._inputs = None, ((), {})

    def _use(self, optimizer: Any) -> None:
        Modes([bare(optimizer)]).eval()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Note the effective learning rate beside the scheduled one."""
        groups = [] if kwargs.get("optimizer") is None else bare(kwargs["optimizer"]).param_groups
        if logs is not None and "learning_rate" in logs and groups and "d" in groups[0]:
            logs["effective_lr"] = float(groups[0]["lr"]) * float(groups[0]["d"])
            if state.log_history:
                state.log_history[-1]["effective_lr"] = logs["effective_lr"]
