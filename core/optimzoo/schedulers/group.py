"""All schedules of a run, stepped together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from optimzoo.errors import CheckpointError
from optimzoo.schedulers.base import ParamScheduler
from optimzoo.wrappers import StepOutcome


class SchedulerGroup(Sequence[ParamScheduler]):
    """The schedules of one optimizer wrapper, in the order in which they act.

    Args:
        schedulers: The schedules.

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

    def __init__(self, schedulers: Iterable[ParamScheduler] = ()) -> None:
        self._schedulers = list(schedulers)

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

    def step(self, outcome: StepOutcome | None = None, epoch_end: bool = False) -> None:
        """Step the schedules after an iteration, and after an epoch.

        Args:
            outcome: What ``update_params`` returned for the iteration; None if no iteration ended.
            epoch_end: Whether an epoch ended, with this iteration or since the last call.
        """
        due = {
            "iter": outcome is not None,
            "update": outcome is StepOutcome.UPDATED,
        }
        for scheduler in self._schedulers:
            if due.get(scheduler.by, False):
                scheduler.step()
        for scheduler in self._schedulers:
            if epoch_end and scheduler.by_epoch:
                scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every schedule, in order."""
        return {"schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load what ``state_dict`` returned.

        Raises:
            CheckpointError: The number of schedules differs.
        """
        states = state_dict["schedulers"]
        if len(states) != len(self):
            raise CheckpointError(
                f"the checkpoint holds {len(states)} parameter schedules and the config describes {len(self)}. Resume "
                "with the config that made the checkpoint, or start without resuming"
            )
        for scheduler, state in zip(self._schedulers, states):
            scheduler.load_state_dict(state)

    def __repr__(self) -> str:
        return f"SchedulerGroup({self._schedulers!r})"
