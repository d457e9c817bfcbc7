"""What a schedule saves: its class, the arguments it was made with, and its counters."""

from __future__ import annotations

import copy
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, cast

from torch import Tensor
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import CheckpointError
from optimzoo.names.entry import dotted
from optimzoo.wrappers import BaseOptimWrapper

NOT_COMPARED = ("optimizer", "last_step", "verbose")
"""Arguments that another run may have otherwise: they do not decide the curve."""


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

    @classmethod
    def of(cls, optimizer: Any) -> StandIn:
        """Return a stand-in with copies of the groups of ``optimizer``."""
        groups = [
            {k: v.clone() if isinstance(v, Tensor) else v for k, v in group.items() if k != "params"}
            for group in optimizer.param_groups
        ]
        stand = cls(groups, optimizer.defaults)
        stand.optimizer = cls(groups[: len(own(optimizer).param_groups)], optimizer.defaults)
        return stand


def own(optimizer: Any) -> Optimizer:
    """Return the optimizer itself, whose groups are without the base settings of a wrapper."""
    return optimizer.optimizer if isinstance(optimizer, (BaseOptimWrapper, StandIn)) else optimizer


class ScheduleState:
    """The part of a schedule that saves and loads."""

    per_group: ClassVar[tuple[str, ...]] = ("_base_values",)
    """Attributes that hold a value for each group, or None."""

    optimizer: Any
    _own: Optimizer
    _known: int
    _called_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give the class the signature of its ``__init__``, which ``__new__`` would hide from editors and checks."""
        super().__init_subclass__(**kwargs)
        signature = inspect.signature(cls.__init__)
        cls.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Note the arguments that follow the optimizer."""
        self: Any = super().__new__(cls)
        self._called_with = (args[1:], {name: value for name, value in kwargs.items() if name != "optimizer"})
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that decide the curve, by name, the defaults included."""
        args, kwargs = self._called_with
        signature = calls.parameters(cast("Callable[..., Any]", type(self)))
        given = {**{n: p.default for n, p in signature.items()}, **dict(zip(list(signature)[1:], args)), **kwargs}
        kinds = {n for n, p in signature.items() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        return {name: value for name, value in given.items() if name not in NOT_COMPARED and name not in kinds}

    def again(self, optimizer: Any) -> Any:
        """Return a schedule with the same arguments on another optimizer."""
        args, kwargs = self._called_with
        return type(self)(optimizer, *args, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's class, arguments and counters: plain numbers, strings, lists and dicts only."""
        return {
            "type": type(self).__name__,
            "args": {name: plain(value) for name, value in self.arguments.items()},
            **self._counters(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; the groups' values come with the optimizer's state.

        Args:
            state_dict: What ``state_dict`` of this schedule, or of mmengine's, returned. It is left as it is.

        Raises:
            CheckpointError: It is the state of another curve, or of one with other arguments.
        """
        differences = list(self.differences(state_dict))
        if differences:
            raise CheckpointError(f"the schedule is not that of the checkpoint: {'; '.join(differences)}")
        self._continue(state_dict)

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
        fixed = {*self.arguments, *NOT_COMPARED, "_known"} - {"last_step"}
        found = {key: plain(value) for key, value in vars(self).items() if key not in fixed and _is_plain(value)}
        return {**found, "pending": len(self._own.param_groups) - self._known}

    def _continue(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the counters of ``state_dict``, as far as this schedule has them, and groups still to be admitted.

        What belongs to groups is left as it is where the checkpoint had another number of them.
        """
        self._make_room()
        self._known -= state_dict.get("pending", 0)
        count = len(self.optimizer.param_groups) - state_dict.get("pending", 0)
        for key in self._counters().keys() & vars(self).keys() & state_dict.keys():
            value = copy.deepcopy(state_dict[key])
            if key not in (*self.per_group, "_last_value") or value is None or len(value) == count:
                setattr(self, key, value)

    def _make_room(self) -> None:
        """Know the groups that were added; where each group has a value, they have that of the last group before."""
        known, self._known = self._known, len(self._own.param_groups)
        for name, values in self._values_per_group():
            setattr(self, name, [*values[:known], *values[known - 1 : known] * (self._known - known), *values[known:]])

    def _values_per_group(self) -> list[tuple[str, list[Any]]]:
        return [(name, getattr(self, name)) for name in self.per_group if getattr(self, name) is not None]


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
