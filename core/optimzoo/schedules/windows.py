"""Counts of steps as configs write them: whole numbers, fractions of an epoch, and shares of the run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from optimzoo.errors import ConfigError
from optimzoo.values import is_number, number, whole_number

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
    return whole_number(int(value) if isinstance(value, float) and value.is_integer() else value, path, low)


def amount(value: Any, path: str) -> float:
    """Return ``value`` if it is a number of at least 0 and finite, as factors, floors and lengths are."""
    if number(value, path, 0) == math.inf:
        raise ConfigError(f"a finite number is wanted, got {value!r}", path)
    checked: float = value
    return checked


def is_share(value: Any) -> bool:
    """Whether ``value`` is a share of the run, such as ``"5%"``."""
    return isinstance(value, str) and value.endswith("%")


def share(value: str, path: str) -> Fraction:
    """Return the share of the run that ``"5%"`` stands for."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%", value)
    if found is None or Fraction(found[1]) > 100:
        raise ConfigError(f"a share of the run is written as '5%', from 0% to 100%; got {value!r}", path)
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


def refuse_empty(window: Mapping[str, Any], steps: Mapping[str, Any], epoch_length: int) -> None:
    """Raise an error if a window in epochs, ``window``, becomes ``steps`` in which there is none.

    Raises:
        ConfigError: It says so in epochs.
    """
    begin, end = steps.get("begin", 0), steps.get("end", INF)
    if all(is_number(edge) and math.isfinite(edge) for edge in (begin, end)) and end <= begin:
        first, last = (_in_words(window.get(key, 0)) for key in ("begin", "end"))
        raise ConfigError(
            f"from epoch {first} to {last} there is no whole iteration: an epoch has {epoch_length}. Make the window "
            "longer, or leave the schedule out",
            "end",
        )


def _in_words(epochs: Any) -> str:
    return f"{float(epochs):g}" if isinstance(epochs, Fraction) else str(epochs)


def horizon(begin: int, end: int, argument: str) -> int:
    """Return the steps of a window that must have an end, if it is to be the length of a curve.

    Raises:
        ConfigError: The window never ends.
    """
    if end == INF:
        raise ConfigError(
            f"the curve needs its length: give {argument}, or the run's length (max_epochs=, max_iters=) to "
            "build_param_scheduler in the unit of the schedule",
            argument.partition(" ")[0],
        )
    return step_count(end, "end") - step_count(begin, "begin")
