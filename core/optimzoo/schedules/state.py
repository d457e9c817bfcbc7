"""What a schedule saves: its class, the arguments it was made with, and its counters."""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from torch import Tensor
from torch.optim import Optimizer

from optimzoo.errors import CheckpointError, ConfigError, OptimzooWarning
from optimzoo.names.entry import dotted
from optimzoo.wrappers import BaseOptimWrapper

NOT_COMPARED = ("optimizer", "last_step", "verbose")
"""Arguments that another run may have otherwise: they do not decide the curve."""

WORKED_OUT = ("_given", "_known", "_initial", "_stop", "_reached")
"""Attributes that follow from the arguments and the groups."""


class StandIn(Optimizer):
    """Parameter groups without parameters, for a schedule to act on in place of the real ones.

    Args:
        groups: The groups.
        defaults: The optimizer's defaults.
        accumulative_counts: Iterations that make an update.
    """

    def __init__(self, groups: list[dict[str, Any]], defaults: dict[str, Any], accumulative_counts: int = 1) -> None:
        self.param_groups = groups
        self.defaults = defaults
        self.state = defaultdict(dict)
        self.optimizer: Any = self
        self._accumulative_counts = accumulative_counts

    def __getstate__(self) -> dict[str, Any]:
        """Return all of it for a copy, of which an optimizer would keep its groups alone."""
        return vars(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    @classmethod
    def of(cls, optimizer: Any) -> StandIn:
        """Return a stand-in with copies of the groups of ``optimizer``."""
        groups = [
            {k: v.clone() if isinstance(v, Tensor) else v for k, v in group.items() if k != "params"}
            for group in optimizer.param_groups
        ]
        stand = StandIn(groups, optimizer.defaults)
        stand.optimizer = StandIn(groups[: len(own(optimizer).param_groups)], optimizer.defaults)
        return stand


def own(optimizer: Any) -> Optimizer:
    """Return the optimizer itself, whose groups are without the base settings of a wrapper."""
    return optimizer.optimizer if isinstance(optimizer, (BaseOptimWrapper, StandIn)) else optimizer


class ScheduleState:
    """The part of a schedule that saves and loads, and that lets groups join."""

    per_group: ClassVar[tuple[str, ...]] = ("_base_values", "_before_zero")
    """Attributes that hold a value for each group, or None."""

    need_val_args: ClassVar[bool]

    optimizer: Any
    target: Any
    last_step: int
    param_name: str
    hyperparam: Any
    begin: int
    _own: Optimizer
    _known: int
    _initial: str
    _global_step: int
    _base_values: list[float] | None
    _before_zero: list[float] | None
    _first_step: Any
    _given: dict[str, Any]

    def _note_arguments(self) -> None:
        """Note what the schedule was made with, before anything is made of it."""
        vars(self).setdefault("_given", {key: value for key, value in vars(self).items() if key != "optimizer"})

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that decide the curve, by name, the defaults included."""
        names = _argument_names(type(self))
        return {name: self._given[name] for name in names if name in self._given and name not in NOT_COMPARED}

    def again(self, optimizer: Any, **changes: Any) -> Self:
        """Return the schedule as it was before its first step, on another optimizer, and with other arguments."""
        fresh: Self = object.__new__(type(self))
        given = {key: copy.deepcopy(value) if _is_plain(value) else value for key, value in self._given.items()}
        given |= changes
        late = {key: value for key, value in vars(self).items() if key != "total_iters"}
        vars(fresh).update({**late, **given, "optimizer": optimizer, "_given": given})
        fresh.__post_init__()  # type: ignore[attr-defined]
        return fresh

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's class, arguments and counters: plain numbers, strings, lists and dicts only."""
        return {
            "type": type(self).__name__,
            "args": {name: plain(value) for name, value in self.arguments.items()},
            **self._counters(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where ``state_dict`` was taken, with its arguments; the groups' values come with the optimizer's.

        Args:
            state_dict: What ``state_dict`` of this schedule, or of mmengine's, returned. It is left as it is.

        Raises:
            CheckpointError: It is the state of another curve.

        Warns:
            OptimzooWarning: Its arguments are not those that this schedule was made with.
        """
        differences = list(self.differences(state_dict))
        if state_dict.get("type", type(self).__name__) != type(self).__name__:
            raise CheckpointError(f"the schedule is not that of the checkpoint: {differences[0]}")
        if differences:
            vars(self).update(vars(self.with_arguments(saved_arguments(state_dict), self.target)))
            warnings.warn(
                f"the schedule goes on with the arguments of its state: {'; '.join(differences)} in the program",
                OptimzooWarning,
                stacklevel=2,
            )
        self._continue(state_dict)

    def with_arguments(self, saved: Mapping[str, Any], optimizer: Any) -> Self:
        """Return the schedule with arguments from a state, on an optimizer whose groups keep their values.

        Raises:
            CheckpointError: They make no schedule.
        """
        kept = {key: value for key, value in saved.items() if not callable(self._given.get(key))}
        try:
            built = self.again(StandIn.of(optimizer), **kept)
        except ConfigError as error:
            raise CheckpointError(f"the checkpoint's {type(self).__name__} cannot be restored: {error}") from error
        built.move_to(optimizer)  # type: ignore[attr-defined]
        return built

    def differences(self, state_dict: Mapping[str, Any]) -> Iterator[str]:
        """Yield how this schedule differs from the one whose state ``state_dict`` is."""
        if "last_step" not in state_dict:
            raise CheckpointError(f"this is no state of a schedule: {state_dict!r}")
        name = state_dict.get("type", type(self).__name__)
        if name != type(self).__name__:
            yield f"it was a {name}, and is a {type(self).__name__}"
            return
        own = {key: plain(value) for key, value in self.arguments.items()}
        saved = saved_arguments(state_dict)
        for key in {**saved, **own}:
            if "args" not in state_dict and key not in saved:
                continue
            then, now = saved.get(key), own.get(key)
            if then != now:
                yield f"{key} of {name} was {then!r}, and is {now!r}"

    def _counters(self) -> dict[str, Any]:
        """Return what changes from step to step."""
        fixed = {*self.arguments, *NOT_COMPARED, *WORKED_OUT} - {"last_step"}
        found = {key: plain(value) for key, value in vars(self).items() if key not in fixed and _is_plain(value)}
        return {**found, "pending": len(self._own.param_groups) - self._known}

    def _continue(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the counters of ``state_dict``, as far as this schedule has them, and groups still to be admitted.

        What belongs to groups is left as it is where the checkpoint had another number of them.
        """
        self._watch_no_more()
        self._make_room()
        self._known -= state_dict.get("pending", 0)
        count = len(self.optimizer.param_groups) - state_dict.get("pending", 0)
        for key in self._counters().keys() & vars(self).keys() & state_dict.keys():
            value = copy.deepcopy(state_dict[key])
            if key not in (*self.per_group, "_last_value") or value is None or len(value) == count:
                setattr(self, key, value)

    def _watch_no_more(self) -> None:
        if self._first_step is not None:
            self._first_step.forget()
            self._first_step = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy and a pickle hold: all but the watch over the first step, which is on the original."""
        return {**vars(self), "_first_step": None}

    def _admit(self) -> None:
        """Bring the groups that were added since the last step to where they would be had they been there."""
        added = range(self._known, len(self._own.param_groups))
        self._make_room()
        for index in added:
            group = self._own.param_groups[index]
            initial = group.setdefault(self._initial, self.hyperparam.check(group, own(self.target)))
            if self._base_values is not None:
                self._base_values[index] = initial
        self._catch_up(added)

    def _make_room(self) -> None:
        """Know the groups that were added; where each group has a value, they have that of the last group before."""
        known, self._known = self._known, len(self._own.param_groups)
        for name, values in self._values_per_group():
            setattr(self, name, [*values[:known], *values[known - 1 : known] * (self._known - known), *values[known:]])

    def _catch_up(self, indices: Sequence[int]) -> None:
        """Take the groups at ``indices`` from their values through the steps so far, as one replay of them all."""
        if self.need_val_args:
            return
        stand = StandIn.of(self.optimizer)
        alone: Any = self.again(stand, last_step=-1)
        alone._base_values = self._base_values
        done = alone.last_step
        alone._global_step = self.begin + done
        for _ in range(self.last_step - done):
            alone.step()
        for index in indices:
            group = self.optimizer.param_groups[index]
            self.hyperparam.set(group, self.hyperparam.get(stand.param_groups[index]))
            for (_, values), (_, replayed) in zip(self._values_per_group(), alone._values_per_group()):
                values[index] = replayed[index]

    def _values_per_group(self) -> list[tuple[str, list[Any]]]:
        return [(name, getattr(self, name)) for name in self.per_group if getattr(self, name) is not None]


@functools.cache
def _argument_names(cls: type) -> tuple[str, ...]:
    """Return the names of the arguments of a class and of its bases, which it may pass on without naming them."""
    inits = [vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base) and base is not object]
    return tuple(dict.fromkeys(name for init in inits for name in inspect.signature(init).parameters))


def saved_arguments(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments in a state; of an mmengine state, which does not tell them apart, the window."""
    found = state_dict.get("args", {key: state_dict[key] for key in ("begin", "end") if key in state_dict})
    return dict(found)


def plain(value: Any) -> Any:
    """Return ``value`` as numbers, strings, lists and dicts of these; a function, class or object becomes a path."""
    if isinstance(value, Mapping):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, Tensor):
        return value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    try:
        return dotted(value)
    except AttributeError:  # an object: its repr may hold an address, which no other process has
        return dotted(type(value))


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str, Tensor))
