"""Counts of steps as configs write them: whole numbers, fractions of an epoch, and shares of the run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from optimzoo.errors import ConfigError, shown
from optimzoo.values import as_count, is_number, number

INF = int(1e9)
"""The ``end`` of a schedule that never stops."""


def step_count(value: Any, path: str, low: int | None = None) -> int:
    """Return a count of steps, of at least ``low``; 32.0 counts as 32."""
    if is_share(value):
        raise ConfigError(
            f"{value!r} is a share of the run: build the schedule with build_param_scheduler, which is told the "
            "run's length",
            path,
        )
    return as_count(value, path, low)


def amount(value: Any, path: str) -> float:
    """Return ``value`` if it is a number of at least 0 and finite, as factors, floors and lengths are."""
    checked = number(value, path, 0)
    if checked == math.inf:
        raise ConfigError(f"a finite number is wanted, got {shown(value)}", path)
    return checked


def listed(value: Any, path: str, example: str, least: int = 0) -> list[Any]:
    """Return ``value`` if it is a list of something, of at least so many."""
    if not isinstance(value, (list, tuple)) or len(value) < least:
        raise ConfigError(f"a list {example} is wanted, got {shown(value)}", path)
    return list(value)


def is_share(value: Any) -> bool:
    """Whether ``value`` is a share of the run, such as ``"5%"``."""
    return isinstance(value, str) and value.endswith("%")


def has_share(value: Any) -> bool:
    """Whether ``value`` is one, or holds one."""
    if isinstance(value, (dict, list, tuple)):
        return any(map(has_share, value.values() if isinstance(value, dict) else value))
    return is_share(value)


def share(value: str) -> Fraction:
    """Return the share of the run that ``"5%"`` stands for."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%", value)
    if found is None or Fraction(found[1]) > 100:
        raise ConfigError(f"a share of the run is written as '5%', from 0% to 100%; got {shown(value)}")
    return Fraction(found[1]) / 100


def each_step(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return ``value``, a count of steps or a list of them, with ``change`` applied to each."""
    return [change(v) for v in value] if isinstance(value, (list, tuple)) else change(value)


def whole_steps(count: Fraction) -> int:
    """Return a share of the run in whole steps: at least one, unless it is none of the run."""
    return max(round(count), int(count > 0))


def in_iterations(steps: Any, epoch_length: int) -> Any:
    """Return a count of epochs as iterations; what is no number stays for the schedule to refuse."""
    if isinstance(steps, Fraction):
        return whole_steps(steps * epoch_length)
    if steps == INF or not is_number(steps) or not math.isfinite(steps):
        return steps
    count = steps * epoch_length
    return int(count) if count == int(count) else count


def horizon(begin: int, end: int, argument: str) -> int:
    """Return the steps of a window that must have an end, if it is to be the length of a curve.

    Raises:
        ConfigError: The window never ends.
    """
    if end == INF:
        raise ConfigError(
            f"the curve needs its length: give {argument}, or the run's length in the unit of the schedule "
            "(max_epochs= or max_iters= of build_param_scheduler, total_updates= of torch_scheduler, which "
            "by_epoch=False counts)",
            argument.partition(" ")[0],
        )
    return end - begin
