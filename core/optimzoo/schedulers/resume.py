"""Resuming with schedules that are not those of the checkpoint: what differs, and the two ways on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from optimzoo import calls
from optimzoo.errors import CheckpointError, ConfigError
from optimzoo.schedulers.base import UNITS, ParamScheduler, unit_of
from optimzoo.schedulers.hyperparam import HyperParam
from optimzoo.schedulers.state import StandIn, saved_arguments
from optimzoo.zoo import PARAM_SCHEDULERS

ON_CHANGE = ("error", "restore", "config")


@dataclass(frozen=True)
class Saved:
    """The state of the schedules of a run.

    Args:
        states: The state of each.
        places: For each, which of the optimizers it acts on.
        counts: Steps taken in each unit.
    """

    states: Sequence[Mapping[str, Any]]
    places: Sequence[int]
    counts: Mapping[str, int]

    @classmethod
    def read(cls, state_dict: Any) -> Saved:
        """Return what a state dict of a SchedulerGroup holds, or a list of states of single schedules."""
        whole = state_dict if isinstance(state_dict, Mapping) else {"schedulers": state_dict}
        states: Any = whole.get("schedulers")
        listed = isinstance(states, (list, tuple))
        if not listed or not all(isinstance(state, Mapping) and "last_step" in state for state in states):
            raise CheckpointError(f"this is no state of parameter schedules: {state_dict!r}")
        counts = dict.fromkeys(UNITS, 0)
        for state in states:
            unit = unit_of(state.get("args", state))
            counts[unit] = max(counts[unit], state.get("_global_step", 0))
        return cls(states, whole.get("optimizers", [0] * len(states)), whole.get("counts", counts))


def changes(schedulers: Sequence[ParamScheduler], states: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield how ``schedulers`` differ from those whose states these are."""
    if len(schedulers) != len(states):
        yield f"the checkpoint holds {len(states)} parameter schedules and the config describes {len(schedulers)}"
        return
    for index, (scheduler, state) in enumerate(zip(schedulers, states)):
        for difference in scheduler.differences(state):
            yield f"param_scheduler[{index}]: {difference}"


def restored(schedulers: Sequence[ParamScheduler], saved: Saved, optimizers: Sequence[Any]) -> Iterator[ParamScheduler]:
    """Yield the schedules of a checkpoint; no value of a group changes.

    Raises:
        CheckpointError: One of them cannot be built again.
    """
    for index, (state, place) in enumerate(zip(saved.states, saved.places)):
        like = schedulers[index] if index < len(schedulers) else None
        name = state.get("type", type(like).__name__)
        same = like is not None and type(like).__name__ == name
        if same and not list(like.differences(state)):  # type: ignore[union-attr]
            yield like  # type: ignore[misc]
            continue
        arguments = {**(like.arguments if same else {}), **saved_arguments(state)}  # type: ignore[union-attr]
        try:
            target = type(like) if same else PARAM_SCHEDULERS.get(name)
            built: ParamScheduler = calls.call(target, {"optimizer": StandIn.of(optimizers[place]), **arguments})
            built.move_to(optimizers[place])
        except (ConfigError, IndexError) as error:
            raise CheckpointError(f"the checkpoint's {name} cannot be restored: {error}") from error
        yield built


def replay(schedulers: Sequence[ParamScheduler], optimizers: Sequence[Any], counts: Mapping[str, int]) -> None:
    """Bring ``schedulers`` and the groups to where they were had these run from the start.

    Epochs and updates are spread evenly over the iterations.
    """
    stands = {id(optimizer): _rewound(optimizer) for optimizer in optimizers}
    fresh = [scheduler.again(stands[id(scheduler.optimizer)]) for scheduler in schedulers]
    longest = max(counts.values())
    for step in range(longest):
        for unit in ("iter", "update", "epoch"):
            if (step + 1) * counts[unit] // longest > step * counts[unit] // longest:
                for schedule in fresh:
                    if schedule.by == unit:
                        schedule.step()
    for scheduler, schedule in zip(schedulers, fresh):
        scheduler._continue(schedule.state_dict())
    for optimizer in optimizers:
        for group, stand in zip(optimizer.param_groups, stands[id(optimizer)].param_groups):
            for key, value in stand.items():
                if isinstance(value, Tensor):
                    group[key].copy_(value)
                else:
                    group[key] = value


def _rewound(optimizer: Any) -> StandIn:
    """Return a stand-in for ``optimizer`` in which every scheduled value is at its beginning."""
    stand = StandIn.of(optimizer)
    for group in stand.param_groups:
        for key in [key for key in group if key.startswith("initial_")]:
            HyperParam.parse(key.removeprefix("initial_")).set(group, group[key])
    return stand
