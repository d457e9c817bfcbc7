"""Resuming with schedules that are not those of the checkpoint: what differs, and the two ways on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from optimzoo import calls
from optimzoo.errors import CheckpointError, ConfigError, OptimzooWarning, shown
from optimzoo.names.entry import is_dotted
from optimzoo.names.zoo import PARAM_SCHEDULERS
from optimzoo.optimizers.param_groups import copied
from optimzoo.schedules.base import ParamScheduler
from optimzoo.schedules.before import is_among
from optimzoo.schedules.state import UNITS, check_head, count_of, counts_of, damaged, numbers, saved_arguments, unit_of
from optimzoo.schedules.targets import HyperParam, StandIn

ON_CHANGE = ("error", "restore", "config")


@dataclass(frozen=True)
class Saved:
    """The state of the schedules of a run.

    Args:
        states: The state of each.
        places: For each, which of the optimizers it acts on.
        counts: Epochs and iterations so far.
        updates: Updates of each optimizer so far.
        values: For each optimizer, by scheduled key, what its groups held.
        epochs_took: Iterations until the last epoch ended, if known.
    """

    states: Sequence[Mapping[str, Any]]
    places: Sequence[int]
    counts: Mapping[str, int]
    updates: Sequence[int]
    values: Sequence[Mapping[str, Sequence[float]]]
    epochs_took: int | None = None

    @classmethod
    def read(cls, state_dict: Any, places: Sequence[int]) -> Saved:
        """Return what a SchedulerGroup saved, or a list of states of single schedules, which act at ``places``."""
        whole = state_dict if isinstance(state_dict, Mapping) else {"schedulers": state_dict}
        states: Any = whole.get("schedulers")
        if not isinstance(states, (list, tuple)) or any("last_step" not in s for s in states if isinstance(s, Mapping)):
            raise CheckpointError(f"this is no state of parameter schedules: {shown(state_dict)}")
        counts = dict.fromkeys(UNITS, 0)
        with damaged("the parameter schedules"):
            for index, state in enumerate(states):
                check_head(state, f"schedulers[{index}]")
                unit = unit_of(state.get("args", state))
                counts[unit] = max(counts[unit], state["_global_step"])
            if whole is not state_dict:
                return cls(states, [*places, *[0] * len(states)][: len(states)], counts, [counts["update"]], ())
            for key in ("optimizers", "counts", "updates", "values"):
                if key not in whole:
                    raise ConfigError("it is missing", key)
            places = counts_of(whole["optimizers"], "optimizers")
            if len(places) != len(states):
                raise ConfigError(f"{len(states)} are wanted, one for each schedule, got {len(places)}", "optimizers")
            took = whole.get("epochs_took")
            took = None if took is None else count_of(took, "epochs_took")
            counts, updates = _counts(whole["counts"]), counts_of(whole["updates"], "updates")
            return cls(states, places, counts, updates, _held(whole["values"]), took)

    def updates_of(self, count: int) -> list[int]:
        """Return the updates of each of ``count`` optimizers; one that is new has made as many as any other."""
        return [*self.updates, *[max(self.updates, default=0)] * count][:count]


def _counts(found: Any) -> dict[str, int]:
    if not isinstance(found, Mapping) or not {"epoch", "iter"} <= found.keys():
        raise ConfigError(f"how many of 'epoch' and 'iter' were made is wanted, got {shown(found)}", "counts")
    return {unit: count_of(found[unit], f"counts[{unit!r}]") for unit in ("epoch", "iter")}


def _held(found: Any) -> Sequence[Mapping[str, Sequence[float]]]:
    if not isinstance(found, (list, tuple)) or not all(isinstance(held, Mapping) for held in found):
        raise ConfigError(f"the values of each optimizer by their keys are wanted, got {shown(found)}", "values")
    return [{k: numbers(v, f"values[{i}][{k!r}]") for k, v in held.items()} for i, held in enumerate(found)]


def changes(schedulers: Sequence[ParamScheduler], places: Sequence[int], saved: Saved) -> Iterator[str]:
    """Yield how ``schedulers``, on the optimizers at ``places``, differ from those of a checkpoint."""
    if len(schedulers) != len(saved.states):
        yield f"the checkpoint holds {len(saved.states)} parameter schedules and the config describes {len(schedulers)}"
        return
    for index, (scheduler, state) in enumerate(zip(schedulers, saved.states)):
        for difference in scheduler.differences(state):
            yield f"param_scheduler[{index}]: {difference}"
        then, now = saved.places[index], places[index]
        if then != now:
            yield f"param_scheduler[{index}]: it acted on optimizers[{then}], and acts on optimizers[{now}]"


def restored(schedulers: Sequence[ParamScheduler], saved: Saved, optimizers: Sequence[Any]) -> Iterator[ParamScheduler]:
    """Yield the schedules of a checkpoint, those that differ on a stand-in; nothing changes."""
    for index, (state, place) in enumerate(zip(saved.states, saved.places)):
        like = schedulers[index] if index < len(schedulers) else None
        name = state.get("type", type(like).__name__)
        same = like is not None and type(like).__name__ == name
        if place >= len(optimizers):
            raise CheckpointError(
                f"the checkpoint's {name} cannot be restored: it acted on optimizers[{place}], and there are "
                f"{len(optimizers)}"
            )
        if like is not None and same and like.target is optimizers[place] and not list(like.differences(state)):
            yield like
            continue
        if any(map(is_dotted, _texts([name, saved_arguments(state)]))):
            raise CheckpointError(
                f"the checkpoint's {name} is not restored: nothing that only a checkpoint names is imported"
            )
        if like is not None and same:
            yield like.with_arguments(state, optimizers[place])
            continue
        stand = {"optimizer": StandIn.of(optimizers[place])}
        try:
            yield calls.call(PARAM_SCHEDULERS.get(name), {**saved_arguments(state), **stand})
        except ConfigError as error:
            raise CheckpointError(f"the checkpoint's {name} cannot be restored: {error}") from error


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in saved arguments, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


def settle(schedulers: Sequence[ParamScheduler], held: Mapping[str, Sequence[float]]) -> None:
    """Bring the groups whose value was not in a checkpoint from their initial value to where the schedules are.

    Args:
        schedulers: The schedules of one optimizer.
        held: By key, the values that its groups held in the checkpoint.
    """
    for key, values in held.items():
        acting = [scheduler for scheduler in schedulers if scheduler.param_name == key]
        strays = _rewound_strays(acting[0], values) if acting else {}
        if not strays:
            continue
        for scheduler in acting:
            groups = scheduler.optimizer.param_groups
            scheduler._catch_up([i for i, group in enumerate(groups) if any(group is s for s in strays.values())])
        now = ", ".join(f"{acting[0].hyperparam.check(group):g}" for group in strays.values())
        warnings.warn(
            f"the {key} of group {', '.join(map(str, strays))} is not in the checkpoint: it is taken from its initial "
            f"value to where its schedules are, {now}",
            OptimzooWarning,
            stacklevel=4,
        )


def _rewound_strays(scheduler: ParamScheduler, values: Sequence[float]) -> dict[int, dict[str, Any]]:
    """Return the groups whose value is none of ``values``, by number, after setting it to its beginning."""
    found = {}
    for index, group in enumerate(scheduler.target.param_groups):
        if scheduler._initial in group:
            value = scheduler.hyperparam.check(group)
            if not is_among(value, values):
                scheduler.hyperparam.write([group], [group[scheduler._initial]])
                found[index] = group
    return found


def begin_again(group: dict[str, Any], settings: Mapping[str, Any]) -> None:
    """Give the values of a group that are scheduled the beginnings that they have in ``settings``."""
    for key in [key for key in group if key.startswith("initial_")]:
        param = HyperParam.parse(key.removeprefix("initial_"))
        if key in settings or param.key in settings:
            group.update(copied({key: settings[key] if key in settings else param.get(settings)}))


def replay(
    schedulers: Sequence[ParamScheduler],
    optimizers: Sequence[Any],
    counts: Mapping[str, int],
    updates: Sequence[int],
    epochs_took: int | None,
) -> None:
    """Bring ``schedulers`` and the groups to where they were had these run from the start.

    Epochs are spread evenly over the iterations that they took, and updates over all.
    """
    stands = {id(optimizer): _rewound(optimizer) for optimizer in optimizers}
    fresh = [scheduler.again(stands[id(scheduler.target)]) for scheduler in schedulers]
    made = {id(optimizer): count for optimizer, count in zip(optimizers, updates)}
    longest = max(*counts.values(), *updates)
    turns = []
    for scheduler, schedule in zip(schedulers, fresh):
        steps = counts.get(str(scheduler.by), made[id(scheduler.target)])
        turns.append((schedule, steps, max(epochs_took or longest, steps) if scheduler.by == "epoch" else longest))
    turns.sort(key=lambda turn: turn[0].by == "epoch")  # an epoch ends after its iterations
    for step in range(longest):
        for schedule, steps, over in turns:
            if step < over and (step + 1) * steps // over > step * steps // over:
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
            HyperParam.parse(key.removeprefix("initial_")).write([group], [group[key]])
    return stand
