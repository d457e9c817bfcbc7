"""What a schedule saves, its class, the arguments it was made with, and its counters, and what may be loaded."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, ClassVar, Self

from torch import Tensor
from torch.optim import Optimizer

from optimzoo.errors import CheckpointError, ConfigError, OptimzooWarning, join_path, shown
from optimzoo.names.entry import dotted
from optimzoo.schedules import before
from optimzoo.schedules.targets import HyperParam, StandIn, own
from optimzoo.schedules.windows import INF
from optimzoo.values import is_number, one_of, whole_number

UNITS = ("epoch", "iter", "update")

NOT_COMPARED = ("optimizer", "last_step", "verbose")
"""Arguments that another run may have otherwise: they do not decide the curve."""

WORKED_OUT = (
    *("_given", "_known", "_settled", "_initial", "_stop", "_span", "_rise", "_reached", "_first_step", "_low"),
    *("_floored", "_length", "least", "_starts", "_weights", "_phases", "rule_worse"),
)
"""Attributes that follow from the arguments and the groups."""

COUNTERS = {"last_step": -1, "_global_step": -1, "pending": 0, "num_bad_epochs": 0, "cooldown_counter": 0}
"""The least that each counter of a state can be; the most is ``INF``."""


class ScheduleState:
    """The part of a schedule that saves and loads, and that lets groups join."""

    per_group: ClassVar[tuple[str, ...]] = ("_base_values", "_before_zero")
    """Attributes that hold a value for each group, or None."""

    need_val_args: ClassVar[bool]

    optimizer: Any
    target: Any
    last_step: int
    param_name: str
    hyperparam: HyperParam
    begin: int
    _own: Optimizer
    _known: int
    _settled: int
    _initial: str
    _global_step: int
    _base_values: list[float] | None
    _before_zero: list[float] | None
    _first_step: Any
    _given: dict[str, Any]

    def _note_arguments(self) -> None:
        """Note what the schedule was made with, as Python's numbers and lists, before anything is made of it."""
        if "_given" not in vars(self):
            names = self.__dataclass_fields__  # type: ignore[attr-defined]
            given = {key: as_python(v) if key in names else v for key, v in vars(self).items() if key != "optimizer"}
            vars(self).update(given, _given=given)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that decide the curve, by name, the defaults included."""
        kind: Any = type(self)
        names = _argument_names(kind)
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
        return {"type": type(self).__name__, "args": as_python(self.arguments, saved=True), **self._counters()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where ``state_dict`` was taken, with its arguments; the groups' values come with the optimizer's.

        Args:
            state_dict: What ``state_dict`` of this schedule, or of mmengine's, returned. It is left as it is.

        Raises:
            CheckpointError: It is damaged, or the state of another curve. Nothing has changed.

        Warns:
            OptimzooWarning: Its arguments are not those that this schedule was made with.
        """
        with damaged(type(self).__name__):
            check_head(state_dict)
        differences = list(self.differences(state_dict))
        if state_dict.get("type", type(self).__name__) != type(self).__name__:
            raise CheckpointError(f"the schedule is not that of the checkpoint: {differences[0]}")
        ready = self.with_arguments(state_dict, self.target) if differences else self
        with damaged(type(self).__name__):
            ready.check_state(state_dict)
        if differences:
            self._watch_no_more()
            ready.move_to(self.target)  # type: ignore[attr-defined]
            vars(self).update(vars(ready))
            warnings.warn(
                f"the schedule goes on with the arguments of its state: {'; '.join(differences)} in the program",
                OptimzooWarning,
                stacklevel=2,
            )
        if not self._global_step:
            before.give_back(own(self.target), self.hyperparam)
        self._continue(state_dict)

    def with_arguments(self, state: Mapping[str, Any], optimizer: Any) -> Self:
        """Return the schedule with the arguments of a state, on a stand-in for ``optimizer``, to be moved to it."""
        kept = {key: value for key, value in saved_arguments(state).items() if not callable(self._given.get(key))}
        try:
            return self.again(StandIn.of(optimizer), **kept)
        except (ConfigError, TypeError) as error:
            raise CheckpointError(f"the checkpoint's {type(self).__name__} cannot be restored: {error}") from error

    def differences(self, state_dict: Mapping[str, Any]) -> Iterator[str]:
        """Yield how this schedule differs from the one whose state ``state_dict`` is."""
        name = state_dict.get("type", type(self).__name__)
        if name != type(self).__name__:
            yield f"it was a {name}, and is a {type(self).__name__}"
            return
        own = as_python(self.arguments, saved=True)
        saved = saved_arguments(state_dict)
        for key in {**saved, **own}:
            if "args" not in state_dict and key not in saved:
                continue
            then, now = saved.get(key), own.get(key)
            if then != now:
                yield f"{key} of {name} was {then!r}, and is {now!r}"

    def check_state(self, state: Mapping[str, Any], path: str = "") -> None:
        """Raise if this schedule cannot go on from ``state``: the error's path says which value is why."""
        own, kind = self._counters(), type(self).__name__
        if state.get("type", kind) != kind:
            raise ConfigError(f"{kind} is wanted, got {shown(state['type'])}", join_path(path, "type"))
        for key in [key for key in COUNTERS if key in own and (key in state or "args" in state)]:
            _check_count(state, key, path, COUNTERS[key])
        if state.get("pending", 0) >= len(self._own.param_groups):
            raise ConfigError(
                f"{state['pending']} groups were added to the optimizer, which has {len(self._own.param_groups)}",
                join_path(path, "pending"),
            )
        for key in (own.keys() & state.keys()) - COUNTERS.keys():
            now, then = own[key], state[key]
            if key in (*self.per_group, "_last_value"):
                if then is not None:
                    numbers(then, join_path(path, key))
            elif isinstance(now, str) and then is None:
                raise ConfigError(f"something like {shown(now)} is wanted, got None", join_path(path, key))
            elif None not in (now, then) and not (is_number(now) and is_number(then)) and type(now) is not type(then):
                raise ConfigError(f"something like {shown(now)} is wanted, got {shown(then)}", join_path(path, key))

    def _counters(self) -> dict[str, Any]:
        """Return what changes from step to step."""
        fixed = {*self.arguments, *NOT_COMPARED, *WORKED_OUT} - {"last_step"}
        found = {key: value for key, value in vars(self).items() if key not in fixed and _is_plain(value)}
        return {**as_python(found, saved=True), "pending": len(self._own.param_groups) - self._known}

    def _continue(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the counters of ``state_dict``, as far as this schedule has them, and groups still to be admitted.

        What belongs to groups is left as it is where the checkpoint had another number of them.
        """
        self._watch_no_more()
        self._make_room()
        self._known -= state_dict.get("pending", 0)
        self._settled = -1
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
        self.hyperparam.part(own(self.target))
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
            self.hyperparam.write(
                [self.optimizer.param_groups[index]], [self.hyperparam.get(stand.param_groups[index])]
            )
            for (_, values), (_, replayed) in zip(self._values_per_group(), alone._values_per_group()):
                values[index] = replayed[index]

    def _values_per_group(self) -> list[tuple[str, list[Any]]]:
        return [(name, getattr(self, name)) for name in self.per_group if getattr(self, name) is not None]


@contextlib.contextmanager
def damaged(whose: str) -> Iterator[None]:
    """Turn what is wrong with a value of a state into an error about the checkpoint."""
    try:
        yield
    except ConfigError as error:
        raise CheckpointError(f"the state of {whose} is damaged: {error}") from error


def check_head(state: Any, path: str = "") -> None:
    """Look whether ``state`` can be that of any schedule at all."""
    if not isinstance(state, Mapping) or not state:
        raise ConfigError(f"this is no state of a schedule: {shown(state)}", path)
    for key in ("last_step", "_global_step"):
        _check_count(state, key, path, -1)
    if not isinstance(state.get("type", ""), str):
        raise ConfigError(f"the name of a class is wanted, got {shown(state['type'])}", join_path(path, "type"))
    args = state.get("args", state)
    if not isinstance(args, Mapping) or not all(isinstance(key, str) for key in args):
        raise ConfigError(f"arguments by name are wanted, got {shown(args)}", join_path(path, "args"))
    unit_of(args)


def _check_count(state: Mapping[str, Any], key: str, path: str, low: int) -> None:
    if key not in state:
        raise ConfigError("it is missing", join_path(path, key))
    count_of(state[key], join_path(path, key), low)


def count_of(value: Any, path: str, low: int = 0) -> int:
    """Return a count from a state."""
    if whole_number(value, path, low) > INF:
        raise ConfigError(f"a whole number of at most {INF} is wanted, got {value}", path)
    return int(value)


def counts_of(values: Any, path: str) -> list[int]:
    """Return a list of counts from a state."""
    if not isinstance(values, (list, tuple)):
        raise ConfigError(f"a list of whole numbers is wanted, got {shown(values)}", path)
    return [count_of(value, join_path(path, index)) for index, value in enumerate(values)]


def numbers(values: Any, path: str) -> list[float]:
    """Return the numbers of groups from a state."""
    if not isinstance(values, (list, tuple)) or not all(is_number(v) and math.isfinite(v) for v in values):
        raise ConfigError(f"a list of numbers is wanted, got {shown(values)}", path)
    return list(values)


def unit_of(arguments: Mapping[str, Any]) -> str:
    """Return what a step is to a schedule with these keyword arguments."""
    given: str | None = one_of(arguments.get("by"), (None, *UNITS), "by")
    by_epoch = one_of(arguments.get("by_epoch", True), (True, False), "by_epoch")
    return given or ("epoch" if by_epoch else "iter")


@functools.cache
def _argument_names(cls: type) -> tuple[str, ...]:
    """Return the names of the arguments of a class and of its bases, which it may pass on without naming them."""
    inits = [vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base) and base is not object]
    return tuple(dict.fromkeys(name for init in inits for name in inspect.signature(init).parameters))


def saved_arguments(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments in a state; of an mmengine state, which does not tell them apart, the window."""
    return dict(state_dict.get("args", {key: state_dict[key] for key in ("begin", "end") if key in state_dict}))


def as_python(value: Any, saved: bool = False) -> Any:
    """Return ``value`` with the numbers, arrays and sequences of other libraries as Python's.

    With ``saved``, as a state holds it: tuples are lists, and a function, class or object is the path to it.
    """
    if type(value) in (bool, int, float, str, NoneType):
        return value
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping) and (saved or type(value) is dict):
        return {key: as_python(item, saved) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        items = [as_python(item, saved) for item in value]
        return tuple(items) if type(value) is tuple and not saved else items
    if not saved or isinstance(value, (bool, int, float, str)):
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
