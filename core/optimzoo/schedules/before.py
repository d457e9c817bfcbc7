"""What groups held before schedules were built on them, for a resume that loads the optimizer first.

A schedule's first step moves the groups. If these hold the values of a checkpoint by then, the state that the schedule
loads next was taken of values that it moved already: they are given back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from torch.optim import Optimizer

from optimzoo.schedules.targets import HyperParam


@dataclass
class _Found:
    """What a group held before the first of its schedules, whether it had had any ever, and what it holds since."""

    group: dict[str, Any]
    before: float
    went_on: bool
    since: float


_FOUND: WeakKeyDictionary[Optimizer, dict[HyperParam, dict[int, _Found]]] = WeakKeyDictionary()


def note(
    optimizer: Optimizer, param: HyperParam, groups: Iterable[dict[str, Any]], before: Iterable[tuple[float, bool]]
) -> None:
    """Note that a schedule was built, and has moved ``groups`` of ``optimizer``.

    Args:
        optimizer: The optimizer itself.
        param: What is scheduled.
        groups: The schedule's groups.
        before: What each held before, and whether it had been scheduled ever.
    """
    known = _FOUND.setdefault(optimizer, {}).setdefault(param, {})
    for group, (value, went_on) in zip(groups, before):
        found = known.get(id(group))
        if found is None or found.group is not group or found.since != value:
            found = known[id(group)] = _Found(group, value, went_on, value)
        found.since = float(param.get(group))


def give_back(optimizer: Optimizer, param: HyperParam, held: Sequence[float] | None = None) -> bool:
    """Give groups what they held before the schedules of ``param`` were built; return whether any had been loaded.

    Args:
        optimizer: The optimizer itself.
        param: What is scheduled.
        held: The values that groups held in the checkpoint; no other is given back. If they are not known, a value is
            given back unless the group was moved since.
    """
    loaded = False
    for found in _FOUND.get(optimizer, {}).pop(param, {}).values():
        unmoved = found.went_on and float(param.get(found.group)) == found.since
        if unmoved if held is None else is_among(found.before, held):
            param.write([found.group], [found.before])
            loaded |= found.went_on
    return loaded


def is_among(value: float, values: Sequence[float]) -> bool:
    """Whether a value is one that groups held in a checkpoint."""
    return any(math.isclose(value, other, rel_tol=1e-6) for other in values)  # a tensor holds less digits
