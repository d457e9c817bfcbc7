"""Reading and writing a hyperparameter of the parameter groups, an element of a tuple included."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from optimzoo.errors import ConfigError, did_you_mean, near
from optimzoo.schedules.state import StandIn, own
from optimzoo.values import is_number, number
from optimzoo.wrappers import BaseOptimWrapper


@dataclass(frozen=True)
class HyperParam:
    """A key of the parameter groups, such as ``lr``, or an element of one, such as ``betas[0]``.

    Args:
        key: The group's key.
        index: The element, if the value is a tuple.
    """

    key: str
    index: int | None = None

    @classmethod
    def parse(cls, text: str) -> HyperParam:
        """Return what ``lr`` or ``betas[1]`` names."""
        found = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", text) if isinstance(text, str) else None
        if found is None:
            raise ConfigError(f"a key such as 'lr' or 'betas[1]' is wanted, got {text!r}", "param_name")
        return cls(found[1], None if found[2] is None else int(found[2]))

    def __str__(self) -> str:
        return self.key if self.index is None else f"{self.key}[{self.index}]"

    def check(self, group: Mapping[str, Any], optimizer: Any = None) -> float:
        """Return the value in ``group``, one of ``optimizer``, as a number of Python.

        Raises:
            ConfigError: The group has no such key, or no number under it.
        """
        if self.key not in group:
            numeric = [k for k, v in group.items() if isinstance(v, (int, float, tuple)) and not isinstance(v, bool)]
            whose = "the optimizer" if optimizer is None else f"the optimizer, {type(optimizer).__name__},"
            raise ConfigError(
                f"{whose} has groups that have no {self.key!r} to schedule."
                f"{did_you_mean(near(self.key, numeric)) or ' They have ' + ', '.join(numeric) + '.'}",
                "param_name",
            )
        value = group[self.key]
        if self.index is not None and not (isinstance(value, (tuple, list)) and self.index < len(value)):
            raise ConfigError(f"{self.key!r} is {value!r} and has no element {self.index}", "param_name")
        value = self.get(group)
        if isinstance(value, Tensor) and value.numel() == 1:
            return float(value)
        if not is_number(value):
            raise ConfigError(f"{self} is {value!r}, not a number to schedule", "param_name")
        number: float = value
        return number

    def get(self, group: Mapping[str, Any]) -> Any:
        """Return the value in ``group``: a number, or a tensor, so that the host need not wait for the device."""
        value = group[self.key]
        return value if self.index is None else value[self.index]

    def values(self, groups: Iterable[Mapping[str, Any]]) -> list[Any]:
        """Return the value in each of the ``groups``."""
        key, index = self.key, self.index
        return [group[key] for group in groups] if index is None else [group[key][index] for group in groups]

    def held(self, groups: Iterable[Mapping[str, Any]]) -> list[Any]:
        """Return the value in each of those ``groups`` that have one."""
        return self.values(group for group in groups if self.key in group)

    def write(self, groups: Iterable[dict[str, Any]], values: Iterable[Any]) -> None:
        """Put a value into each of the ``groups``."""
        key = self.key
        for group, value in zip(groups, values):
            if type(group[key]) is float:
                group[key] = value
            else:
                self.set(group, value)

    def set(self, group: dict[str, Any], value: Any) -> None:
        """Put ``value`` into ``group``; a tensor is filled in place, so that a captured or compiled step sees it."""
        held = self.get(group)
        if isinstance(held, Tensor):
            held.copy_(value) if isinstance(value, Tensor) else held.fill_(value)
        elif self.index is None:
            group[self.key] = value
        else:
            whole = group[self.key]
            group[self.key] = (*whole[: self.index], value, *whole[self.index + 1 :])


def one_per_group(value: Any, path: str, optimizer: Optimizer | BaseOptimWrapper) -> list[float]:
    """Return a number for each group, given one for all or a list, whose last is for the base settings too.

    Raises:
        ConfigError: The list is of another length, and the optimizer no stand-in, which may have gained groups.
    """
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [number(value, path)] * count
    values = [number(v, f"{path}[{index}]") for index, v in enumerate(value)]
    wanted = len(own(optimizer).param_groups)
    if len(values) not in (wanted, count) and not isinstance(optimizer, StandIn):
        raise ConfigError(f"a number, or a list of {wanted}, one per parameter group, is wanted; got {value!r}", path)
    return (values + values[-1:] * count)[:count]
