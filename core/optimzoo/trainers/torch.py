"""Schedules as a ``torch.optim.lr_scheduler.LRScheduler``, for everything that takes one."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from optimzoo.errors import CheckpointError, ConfigError, OptimzooError, OptimzooWarning
from optimzoo.schedules import ParamScheduler
from optimzoo.schedules.build import Records, ScheduleRecord, build_param_scheduler, read_param_scheduler
from optimzoo.schedules.resume import ON_CHANGE
from optimzoo.schedules.state import unit_of
from optimzoo.trainers.common import bare
from optimzoo.values import one_of
from optimzoo.wrappers import StepOutcome


def torch_scheduler(
    optimizer: Optimizer,
    cfg: Mapping[str, Any] | Sequence[Any],
    total_updates: int | None = None,
    updates_per_epoch: int | None = None,
    on_change: str = "error",
) -> TorchScheduler:
    """Build the schedules that ``cfg`` describes as one scheduler of torch.

    Args:
        optimizer: What they act on; one that accelerate, Fabric, Lightning or Opacus has prepared is looked into.
        cfg: A dict with ``type`` and the schedule's arguments, or a list of such dicts; of any hyperparameter.
        total_updates: Updates in the run, for shares such as ``"5%"`` and for a missing ``end``.
        updates_per_epoch: Updates in an epoch. With it ``step()`` is always an update, and schedules by epoch move at
            the end of each epoch. Without it schedules by epoch alone give a scheduler whose ``step()`` is an epoch.
        on_change: What to do with the state of other schedules, as of a shorter run: ``"error"``, ``"restore"`` these,
            or ``"config"``, go on with those of ``cfg`` as if they had run from the start.

    Returns:
        A scheduler with ``unit``: ``"update"`` or ``"epoch"``, what one call of ``step()`` stands for.

    Raises:
        ConfigError: ``cfg`` is wrong, or needs what a scheduler of torch is not told: a metric, or where epochs end.

    Examples:
        >>> import torch
        >>> from optimzoo import build_optimizer
        >>> from optimzoo.trainers.torch import torch_scheduler
        >>> optimizer = build_optimizer(torch.nn.Linear(2, 1), dict(type="SGD", lr=1.0))
        >>> scheduler = torch_scheduler(
        ...     optimizer,
        ...     [dict(type="LinearLR", start_factor=0.5, by_epoch=False, end="20%"),
        ...      dict(type="CosineAnnealingLR", by_epoch=False, begin="20%")],
        ...     total_updates=10)
        >>> scheduler.unit, scheduler.get_last_lr()
        ('update', [0.5])
    """
    return TorchScheduler(optimizer, cfg, total_updates, updates_per_epoch, on_change)


class TorchScheduler(LRScheduler):
    """Schedules of this package, stepped together as one scheduler of torch; see ``torch_scheduler``.

    Attributes:
        unit: What a call of ``step()`` stands for: ``"update"`` or ``"epoch"``.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        cfg: Mapping[str, Any] | Sequence[Any],
        total_updates: int | None = None,
        updates_per_epoch: int | None = None,
        on_change: str = "error",
    ) -> None:
        self._on_change = one_of(on_change, ON_CHANGE, "on_change")
        self._looked = bare(optimizer) is not optimizer  # whoever prepared it may let it pass over a step
        optimizer = bare(optimizer)
        records = _read(cfg)
        self._units = units = set(map(_unit, records))
        if not units:
            raise ConfigError("a schedule is wanted, got none", "param_scheduler")
        if "epoch" in units and len(units) > 1 and updates_per_epoch is None:
            raise ConfigError(
                "some schedules count epochs and some count updates: give updates_per_epoch", "param_scheduler"
            )
        self.unit = "epoch" if units == {"epoch"} and updates_per_epoch is None else "update"
        length = total_updates if self.unit == "update" else None
        self._schedules = build_param_scheduler(optimizer, records, updates_per_epoch, max_iters=length)
        self.optimizer = optimizer
        self._updates_per_epoch = updates_per_epoch
        self._told = False
        self._steps, self._overflows = 0, torch.zeros(())
        optimizer.register_step_post_hook(self._count)
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group.get("lr", 0.0))
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self._stand_at(0)

    def _stand_at(self, step: int) -> None:
        """Note for torch how many steps are made, and the learning rates that they have led to."""
        self.last_epoch, self._step_count = step, step + 1
        self._last_lr = self.get_lr()

    def _count(self, optimizer: Any, *_: Any) -> None:
        self._steps += 1
        overflow = getattr(optimizer, "found_inf", None)  # where torch's GradScaler lets a fused step skip itself
        if overflow is not None:
            self._overflows = self._overflows.to(overflow) + overflow.clamp(max=1)

    def _since_the_last(self) -> tuple[int, bool]:
        """Return how often the optimizer was stepped since the last call, and whether to pass over this one.

        accelerate steps what it has prepared once for each process, and does not see a fused step skip itself.
        """
        steps, overflows = self._steps, self._overflows
        self._steps, self._overflows = 0, torch.zeros(())
        state = sys.modules.get("accelerate.state")
        shared = state.PartialState._shared_state if state else {}
        again = not steps and shared.get("num_processes", 1) > 1
        skips = bool(shared) or "update" in self._units
        made = steps - int(overflows) if skips else steps
        return made, again or (bool(shared) and made < steps and not made)

    def _initial_step(self) -> None:
        """Begin anew from the initial values: torch's ``SequentialLR`` does so where a scheduler's turn comes."""
        self._since_the_last()
        self._schedules.restart()
        self._stand_at(0)

    def _update_lr(self, epoch: int | None = None) -> None:
        if epoch != 0:
            raise OptimzooError("a schedule cannot be set to a step; call step() once for each, or load_state_dict")
        self._initial_step()

    def step(self, epoch: int | None = None) -> None:
        """Step the schedules after an update, or after an epoch; ``unit`` says which.

        Args:
            epoch: 0 begins anew; any other number is refused.

        Raises:
            OptimzooError: ``epoch`` is a later step.
        """
        if epoch is not None:
            return self._update_lr(epoch)
        made, passes = self._since_the_last()
        if passes:
            return
        if self.unit == "epoch" and made == 1 and not self._told:
            self._told = True
            warnings.warn(
                "schedules that count epochs are stepped after a single update. If an epoch has more, pass "
                "updates_per_epoch to step them by update, or call step() once an epoch",
                OptimzooWarning,
                stacklevel=2,
            )
        if not self._looked:
            self._looked = True
            self._schedules.check_order(made > 0 or not _has_gradients(self.optimizer))
        steps = self.last_epoch + 1
        if self.unit == "epoch":
            self._schedules.step(epoch_end=True)
        else:
            ends = self._updates_per_epoch is not None and steps % self._updates_per_epoch == 0
            self._schedules.step(StepOutcome.UPDATED if made else StepOutcome.SKIPPED, epoch_end=ends)
        self._stand_at(steps)

    def get_lr(self) -> list[float | Tensor]:
        """Return the present learning rate of each group.

        Raises:
            OptimzooError: A handler of ignite asks, which never calls ``step()``: no schedule would move.
        """
        if vars(self).pop("_get_lr_called_within_step", False):
            raise OptimzooError(
                "ignite's LRScheduler asks for rates and makes no step, so that no schedule moves: call step() of this "
                "scheduler yourself, in a handler of Events.ITERATION_COMPLETED"
            )
        rates: list[float | Tensor] = [group.get("lr", 0.0) for group in self.optimizer.param_groups]
        return [rate.clone() if isinstance(rate, Tensor) else rate for rate in rates]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the schedules and the count of steps: plain values only."""
        return {"schedules": self._schedules.state_dict(), "unit": self.unit, "last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where ``state_dict`` was taken, before or after the optimizer's state is loaded.

        Raises:
            CheckpointError: It is the state of other schedules, and ``on_change`` is "error"; or it counts in another
                unit.
        """
        if set(state_dict) != {"schedules", "unit", "last_epoch"}:
            raise CheckpointError(
                f"this is not the state of a TorchScheduler; it has {', '.join(map(repr, state_dict))}"
            )
        if state_dict["unit"] != self.unit:
            raise CheckpointError(
                f"the state counts each {state_dict['unit']}, and this scheduler each {self.unit}: "
                "updates_per_epoch was given to one of them only"
            )
        self._since_the_last()
        try:
            self._schedules.load_state_dict(state_dict["schedules"])
        except CheckpointError:
            if self._on_change == "error":
                raise
            if state_dict["last_epoch"]:  # before that there is nothing to go on from
                self._schedules.load_state_dict(state_dict["schedules"], self._on_change)
        self._stand_at(state_dict["last_epoch"])


def _read(cfg: Any) -> Records:
    """Return what ``cfg`` says, as far as a scheduler of torch can do it."""
    read = read_param_scheduler(cfg)
    if isinstance(read, dict):
        raise ConfigError("schedules by name are for several optimizers, and there is one", "param_scheduler")
    for place, schedule in enumerate(read):
        target = schedule.target if isinstance(schedule, ScheduleRecord) else type(schedule)
        if target.need_val_args:
            raise ConfigError(
                f"{target.__name__} follows a metric, which a scheduler of torch is not told; use "
                "torch.optim.lr_scheduler.ReduceLROnPlateau, which the trainers know by its class",
                f"param_scheduler[{place}]",
            )
    return read


def _has_gradients(optimizer: Optimizer) -> bool:
    """Whether there are gradients to step by, which those that a GradScaler passes over are not."""
    grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return bool(grads) and all(bool(grad.isfinite().all()) for grad in grads if not grad.is_sparse)


def _unit(schedule: ScheduleRecord | ParamScheduler) -> str:
    return str(schedule.by) if isinstance(schedule, ParamScheduler) else unit_of(schedule.kwargs)
