"""All schedules of a run, stepped together."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from torch.optim import Optimizer

from optimzoo.checks import one_of
from optimzoo.errors import CheckpointError, OptimzooError, OptimzooWarning
from optimzoo.schedulers import resume
from optimzoo.schedulers.base import UNITS, ParamScheduler
from optimzoo.wrappers import BaseOptimWrapper, StepOutcome


class SchedulerGroup(Sequence[ParamScheduler]):
    """The schedules of a run, in the order in which they act.

    Args:
        schedulers: The schedules.
        optimizers: What they act on; by default what the given schedules say.

    Example:
        >>> import torch
        >>> from optimzoo import build_optim_wrapper, build_param_scheduler
        >>> model = torch.nn.Linear(2, 1)
        >>> wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=1.0)))
        >>> schedule = build_param_scheduler(
        ...     wrapper, dict(type="LinearLR", start_factor=0.5, by_epoch=False, end=3))
        >>> for _ in range(3):
        ...     print(wrapper.get_lr()["lr"])
        ...     outcome = wrapper.update_params(model(torch.ones(2)).sum())
        ...     schedule.step(outcome)
        [0.5]
        [0.75]
        [1.0]
    """

    def __init__(
        self,
        schedulers: Iterable[ParamScheduler] = (),
        optimizers: Iterable[Optimizer | BaseOptimWrapper] = (),
    ) -> None:
        self._schedulers = list(schedulers)
        self._optimizers = list({id(o): o for o in [*optimizers, *(s.optimizer for s in self._schedulers)]}.values())
        self.counts = dict.fromkeys(UNITS, 0)
        self._seen = {id(o): _updates_of(o) for o in self._optimizers}
        self._traces: list[Any] | None = [_trace(o) for o in self._optimizers]
        self._load_hooks: list[Any] = []

    @overload
    def __getitem__(self, index: int) -> ParamScheduler: ...
    @overload
    def __getitem__(self, index: slice) -> SchedulerGroup: ...
    def __getitem__(self, index: int | slice) -> ParamScheduler | SchedulerGroup:
        if isinstance(index, slice):
            return SchedulerGroup(self._schedulers[index])
        return self._schedulers[index]

    def __len__(self) -> int:
        return len(self._schedulers)

    def __iter__(self) -> Iterator[ParamScheduler]:
        return iter(self._schedulers)

    def step(
        self,
        outcome: StepOutcome | None = None,
        epoch_end: bool = False,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Step the schedules after an iteration, after an epoch, and after a validation.

        Args:
            outcome: What ``update_params`` returned for the iteration; None if no iteration ended. All updates that the
                wrapper made in the iteration count.
            epoch_end: Whether an epoch ended, with this iteration or since the last call.
            metrics: The metrics of a validation by name, for the schedules that watch one.

        Raises:
            OptimzooError: Nothing is given, so that no schedule could move.
        """
        if outcome is None and not epoch_end and metrics is None and self._schedulers:
            raise OptimzooError(
                "step() was not told what has ended. Pass what update_params returned after an iteration, "
                "epoch_end=True after an epoch, metrics= after a validation"
            )
        if self._traces is not None and (epoch_end or outcome is StepOutcome.UPDATED):
            self._check_order(self._traces)
        while self._load_hooks:
            self._load_hooks.pop().remove()
        if outcome is not None:
            updates: dict[int, int] = {}
            for scheduler in self._schedulers:
                if scheduler.by == "iter":
                    scheduler.step()
                elif scheduler.by == "update":
                    updates = updates or self._updates(outcome)
                    for _ in range(updates[id(scheduler.optimizer)]):
                        scheduler.step()
            self.counts["iter"] += 1
            self.counts["update"] += max(updates.values()) if updates else outcome is StepOutcome.UPDATED
        if epoch_end:
            self.counts["epoch"] += 1
            for scheduler in self._schedulers:
                if scheduler.by == "epoch":
                    scheduler.step()
        if metrics is not None:
            for scheduler in self._schedulers:
                if scheduler.need_val_args:
                    scheduler.step(metrics)  # type: ignore[call-arg]

    def _updates(self, outcome: StepOutcome) -> dict[int, int]:
        """Return the updates of each optimizer since the last call: as its wrapper counts them, or as ``outcome`` says.

        A count that came with a loaded state, which puts a new list of groups in place, says nothing of this loop. One
        outcome does not tell several optimizers apart.
        """
        told = int(outcome is StepOutcome.UPDATED)
        found = {}
        for optimizer in self._optimizers:
            count, groups = now = _updates_of(optimizer)
            seen, groups_then = self._seen[id(optimizer)]
            self._seen[id(optimizer)] = now
            made = 0 if count is None or seen is None or groups is not groups_then else count - seen
            found[id(optimizer)] = made if count is not None and len(self._optimizers) > 1 else max(made, told)
        return found

    def _check_order(self, traces: list[Any]) -> None:
        """Warn, once, if no optimizer has done anything before the first step of the schedules."""
        self._traces = None
        if self._schedulers and [_trace(optimizer) for optimizer in self._optimizers] == traces:
            warnings.warn(
                "the schedules are stepped, and no optimizer has made a step yet: call update_params (or "
                "optimizer.step) first and schedule.step after it, or the first values of the schedules are never used",
                OptimzooWarning,
                stacklevel=3,
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every schedule, in order, and how many steps were taken: plain values only."""
        places = {id(optimizer): place for place, optimizer in enumerate(self._optimizers)}
        return {
            "schedulers": [scheduler.state_dict() for scheduler in self._schedulers],
            "optimizers": [places[id(scheduler.optimizer)] for scheduler in self._schedulers],
            "counts": dict(self.counts),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any] | Sequence[Any], on_change: str = "error") -> None:
        """Continue where ``state_dict`` was taken, before or after the optimizer's state is loaded.

        Args:
            state_dict: What ``state_dict`` returned, or a list of mmengine's states; it is left as it is.
            on_change: What to do if these are not the schedules of the checkpoint: ``"error"``; ``"restore"`` those of
                the checkpoint; or go on with these as the ``"config"`` has them, as if they had run from the start:
                they are replayed from the groups' initial values (but for reductions on a plateau).

        Raises:
            CheckpointError: The schedules differ from the checkpoint's, or cannot be restored.
        """
        one_of(on_change, resume.ON_CHANGE, "on_change")
        saved = resume.Saved.read(state_dict)
        changes = list(resume.changes(self._schedulers, saved.states))
        if changes and on_change == "error":
            raise CheckpointError(
                f"the schedules are not those of the checkpoint: {'; '.join(changes)}. Choose by on_change, or "
                "--on-change: 'restore' continues the checkpoint's, 'config' continues these as if they had run from "
                "the start, and 'error' stops here"
            )
        self.counts = dict(saved.counts)
        if changes and on_change == "config":
            self.replay()
            for optimizer in self._optimizers:  # the values must hold if the optimizer's state is loaded later
                hook = getattr(optimizer, "optimizer", optimizer).register_load_state_dict_post_hook
                self._load_hooks.append(hook(lambda _: self.replay()))
            return
        if changes:
            self._schedulers = list(resume.restored(self._schedulers, saved, self._optimizers))
        for scheduler, state in zip(self._schedulers, saved.states):
            scheduler._continue(state)

    def replay(self) -> None:
        """Set the groups' values to what the schedules make of the initial values in the steps taken so far."""
        resume.replay(self._schedulers, self._optimizers, self.counts)

    def __repr__(self) -> str:
        return f"SchedulerGroup({self._schedulers!r})"


def _updates_of(optimizer: Any) -> tuple[int | None, Any]:
    """Return the updates that a wrapper has counted, and the list of groups that it had then."""
    return getattr(optimizer, "update_count", None), getattr(optimizer, "optimizer", optimizer).param_groups


def _trace(optimizer: Any) -> tuple[int, ...]:
    """Return what changes when the optimizer, or its wrapper, does anything."""
    own = getattr(optimizer, "optimizer", optimizer)
    versions = sum(parameter._version for group in own.param_groups for parameter in group.get("params", ()))
    return getattr(optimizer, "_inner_count", 0), getattr(optimizer, "update_count", 0), len(own.state), versions
