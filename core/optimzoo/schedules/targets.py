"""What a schedule acts on: some or all groups of an optimizer, and a key in them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from optimzoo.errors import ConfigError, did_you_mean, near, shown
from optimzoo.groups.patterns import TITLES, name_pattern, names_any
from optimzoo.schedules.windows import amount
from optimzoo.values import few, is_number
from optimzoo.wrappers import BaseOptimWrapper


class StandIn(Optimizer):
    """Parameter groups without parameters, for a schedule to act on in place of the real ones."""

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


@dataclass(frozen=True)
class HyperParam:
    """A key of the parameter groups, such as ``lr``, or with ``index`` an element of one, such as ``betas[0]``."""

    key: str
    index: int | None = None

    @classmethod
    def parse(cls, text: str) -> HyperParam:
        """Return what ``lr`` or ``betas[1]`` names."""
        if isinstance(text, str) and text.isidentifier():
            return cls(text)
        found = re.fullmatch(r"(\w+)\[(\d+)\]", text) if isinstance(text, str) else None
        if found is None:
            raise ConfigError(f"a key such as 'lr' or 'betas[1]' is wanted, got {shown(text)}", "param_name")
        return cls(found[1], int(found[2]))

    def __str__(self) -> str:
        return self.key if self.index is None else f"{self.key}[{self.index}]"

    def check(self, group: Mapping[str, Any], optimizer: Any = None) -> float:
        """Return the value in ``group``, one of ``optimizer``, as a number of Python.

        Raises:
            ConfigError: The group has no such key, or no number under it.
        """
        key, index = self.key, self.index
        if key not in group:
            numeric = [k for k, v in group.items() if isinstance(v, (int, float, tuple)) and not isinstance(v, bool)]
            whose = "the optimizer" if optimizer is None else f"the optimizer, {type(optimizer).__name__},"
            hint = did_you_mean(near(key, numeric)) or f" They have {', '.join(numeric)}."
            if optimizer is not None and any(key in other for other in optimizer.param_groups):
                hint = " Others have it: groups= chooses those, by a pattern or the name of their part."
            raise ConfigError(f"{whose} has groups that have no {key!r} to schedule.{hint}", "param_name")
        value = group[key]
        if index is not None:
            if not (isinstance(value, (tuple, list)) and index < len(value)):
                raise ConfigError(f"{key!r} is {value!r} and has no element {index}", "param_name")
            value, key = value[index], f"{key}[{index}]"
        if isinstance(value, Tensor) and value.numel() == 1:
            return float(value)
        if not is_number(value):
            raise ConfigError(f"{key} is {value!r}, not a number to schedule", "param_name")
        found: float = value
        return found

    def values(self, groups: Iterable[Mapping[str, Any]]) -> list[Any]:
        """Return the value in each group: a number, or a tensor, so that the host need not wait for the device."""
        key, index = self.key, self.index
        return [group[key] for group in groups] if index is None else [group[key][index] for group in groups]

    def get(self, group: Mapping[str, Any]) -> Any:
        """Return the value in ``group``."""
        return self.values([group])[0]

    def part(self, optimizer: Optimizer) -> None:
        """Give each group a tensor of its own where torch has them share that of the defaults."""
        taken: set[int] = set()
        for settings in (*optimizer.param_groups, optimizer.defaults):
            held = settings.get(self.key)
            whole = (held,) if self.index is None else held if isinstance(held, (list, tuple)) else ()
            for value in whole[self.index or 0 :][:1]:
                if isinstance(value, Tensor) and id(value) in taken:
                    settings[self.key] = self._within(held, value.clone())
                taken.add(id(value))

    def _within(self, held: Any, value: Any) -> Any:
        """Return what a group holds under the key once its value is another."""
        return value if self.index is None else (*held[: self.index], value, *held[self.index + 1 :])

    def write(self, groups: Iterable[dict[str, Any]], values: Iterable[Any]) -> None:
        """Put a value into each group; a tensor is filled in place, so that a captured or compiled step sees it."""
        key = self.key
        for group, value in zip(groups, values):
            held = group[key]
            if type(held) is float:
                group[key] = value
                continue
            if self.index is not None:
                whole, held = held, held[self.index]
                value = value if isinstance(held, Tensor) else self._within(whole, value)
            if isinstance(held, Tensor):
                held.copy_(value) if isinstance(value, Tensor) else held.fill_(value)
            else:
                group[key] = value


def one_per_group(value: Any, path: str, optimizer: Optimizer | BaseOptimWrapper) -> list[float]:
    """Return a number for each group, given one for all or a list, whose last is for the base settings too.

    Raises:
        ConfigError: The list is of another length, and the optimizer no stand-in, which may have gained groups.
    """
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [amount(value, path)] * count
    values = [amount(v, f"{path}[{index}]") for index, v in enumerate(value)]
    wanted = len(own(optimizer).param_groups)
    if len(values) not in (wanted, count) and not isinstance(optimizer, StandIn):
        raise ConfigError(
            f"a number, or a list of {wanted}, one per parameter group, is wanted; got {shown(value)}", path
        )
    return (values + values[-1:] * count)[:count]


class Subset(StandIn):
    """The groups of an optimizer that patterns choose, in place of all of them; also those that are added later.

    Args:
        whole: The optimizer.
        patterns: A pattern or several, as in the rules of ``paramwise_cfg``. A group is chosen if all its parameters
            match, or its ``name`` or ``part`` does.

    Raises:
        ConfigError: A pattern matches nothing, or only a part of a group.
    """

    def __init__(self, whole: Optimizer, patterns: str | Sequence[str]) -> None:
        self._listed = [patterns] if isinstance(patterns, str) else patterns
        if not isinstance(self._listed, (list, tuple)) or not self._listed:
            raise ConfigError(
                f"a pattern such as '*.bias', or a list of them, is wanted, got {shown(patterns)}", "groups"
            )
        self._expressions = [name_pattern(pattern, "groups") for pattern in few(self._listed, "groups")]
        self._whole = whole
        self._looked_at = 0
        self._chosen: list[int] = []
        self._blind = False  # of stand-ins for a model's groups, which know no names, all are chosen
        super().__init__([], whole.defaults)
        names = [name for group in whole.param_groups for name in (*_titles(group), *group.get("param_names", ()))]
        for pattern, expression in zip(self._listed, self._expressions):
            if any(name == pattern or names_any(expression, name) for name in names):
                continue
            self._blind = isinstance(whole, StandIn) and not any("param_names" in group for group in whole.param_groups)
            if not self._blind:
                there = "; ".join(_describe(group, number) for number, group in enumerate(whole.param_groups))
                raise ConfigError(f"no parameter group matches {pattern!r}. There are {there}", "groups")

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The chosen groups."""
        groups = self._whole.param_groups
        for number in range(self._looked_at, len(groups)):
            if self._chooses(groups[number], number):
                self._chosen.append(number)
        self._looked_at = len(groups)
        return [groups[number] for number in self._chosen]

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        """Choose among those of the optimizer, whatever is set."""

    def _chooses(self, group: Mapping[str, Any], number: int) -> bool:
        if self._blind or any(title in self._listed or self._match(title) for title in _titles(group)):
            return True
        names = group.get("param_names", ())
        others = [name for name in names if not self._match(name)]
        if 0 < len(others) < len(names):
            raise ConfigError(
                f"a part of {_describe(group, number)} is matched, and not {others[0]!r}: a schedule acts on whole "
                "groups. Give the parameters one of their own, as paramwise_cfg=dict(custom_keys={'bias': "
                "dict(name='bias')}) does, or say merge_groups=False",
                "groups",
            )
        return len(others) < len(names)

    def _match(self, name: str) -> bool:
        return any(names_any(expression, name) for expression in self._expressions)


def _titles(group: Mapping[str, Any]) -> list[str]:
    return [group[key] for key in TITLES if isinstance(group.get(key), str)]


def _describe(group: Mapping[str, Any], number: int) -> str:
    names = list(group.get("param_names", ()))
    shown = [*map(repr, _titles(group)), *names[:3], *(["..."] if len(names) > 3 else [])]
    return f"group {number} ({', '.join(shown) or 'without names: build it from named_parameters()'})"
