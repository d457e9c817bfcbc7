"""Checks of a value from a config: each returns it, or says what is wanted instead."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeVar

from optimzoo.errors import ConfigError, did_you_mean, near

T = TypeVar("T")

MARKS = ("_scope_", "_delete_")
"""Keys that mmengine leaves in a config: the registry to look in, a merge that is done. Nothing is built of them."""


def is_number(value: Any) -> bool:
    """Whether ``value`` is an int or a float; a bool is neither here."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def number(value: Any, path: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Return ``value`` if it is a number from ``low`` to ``high``."""
    if not is_number(value) or not low <= value <= high:
        bounds = {(True, True): "", (False, True): f" of at least {low:g}", (True, False): f" of at most {high:g}"}
        wanted = bounds.get((low == -math.inf, high == math.inf), f" from {low:g} to {high:g}")
        raise ConfigError(f"a number{wanted} is wanted, got {value!r}", path)
    checked: float = value
    return checked


def whole_number(value: Any, path: str, low: int | None = None) -> int:
    """Return ``value`` if it is an int, of at least ``low`` if that is given."""
    if not isinstance(value, int) or isinstance(value, bool) or (low is not None and value < low):
        wanted = "a whole number" if low is None else f"a whole number of at least {low}"
        raise ConfigError(f"{wanted} is wanted, got {value!r}", path)
    return value


def one_of(value: T, options: Iterable[T], path: str) -> T:
    """Return ``value`` if it is one of the ``options``."""
    listed = list(options)
    if value not in listed:
        hint = did_you_mean(near(value, map(str, listed))) if isinstance(value, str) else ""
        raise ConfigError(f"{' or '.join(map(repr, listed))} is wanted, got {value!r}.{hint}", path)
    return value
