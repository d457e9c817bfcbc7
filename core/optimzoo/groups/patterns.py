"""Patterns that name parameters, by their own names or by those of the modules they are in."""

from __future__ import annotations

import fnmatch
import importlib
import math
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from optimzoo.errors import ConfigError, shown
from optimzoo.values import MAX_NAME

parser: Any = importlib.import_module("re._parser")
MOST_REPETITIONS = 4
MOST_CHOICES = 12
"""How many choices between two things there may be: each may double the steps."""

TITLES = ("name", "part")
"""Keys that a group may be called by, where a schedule asks for some groups only."""


def paths(name: str) -> list[str]:
    """Return the names of the modules that the parameter ``name`` is in, from the outermost on, and its own."""
    return list(accumulate(name.split("."), "{}.{}".format))


def name_pattern(pattern: Any, path: str = "") -> re.Pattern[str]:
    r"""Return the regular expression for a pattern from a config.

    Args:
        pattern: A glob, where ``*`` stands for anything, dots included, or ``re:`` and a regular expression, of which
            those are refused that may take for ever.
        path: Where in the config it stands.

    Raises:
        ConfigError: It is neither, or such a one.

    Examples:
        >>> names_any(name_pattern("*.attention"), "layers.0.attention.out.bias")
        True
        >>> names_any(name_pattern(r"re:layers\.\d\.mlp"), "layers.0.attention.out.bias")
        False
    """
    if not isinstance(pattern, str) or not pattern:
        raise ConfigError(f"a pattern such as 'backbone.*' is wanted, got {shown(pattern)}", path)
    if len(pattern) > MAX_NAME:
        raise ConfigError(f"a pattern of at most {MAX_NAME} characters is wanted, got {len(pattern)}", path)
    if not pattern.startswith("re:"):
        return re.compile(fnmatch.translate(pattern))
    try:
        compiled = re.compile(pattern[3:])
        tree = parser.parse(pattern[3:])
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"{pattern[3:]!r} is no regular expression: {error}", path) from error
    if _repetitions(tree) > MOST_REPETITIONS or _choices(tree) > MOST_CHOICES:
        raise ConfigError(
            f"{shown(pattern[3:])} might try for ever on a name: a repetition may hold neither another one nor a "
            f"choice; in a row {MOST_REPETITIONS} are allowed, and {MOST_CHOICES} choices between two, such as `a?` or "
            "`a|b`. `.*` stands for the repetition of anything",
            path,
        )
    return compiled


def _repetitions(nodes: Any, repeated: bool = False) -> float:
    """Return how many repetitions of no fixed length follow one another: the steps grow with that power of the name.

    Args:
        nodes: What Python's parser makes of a regular expression.
        repeated: Whether a repetition holds them; any choice is then one too many.
    """
    count = 0.0
    for operation, value in nodes:
        kind, inner = str(operation), [_repetitions(part, repeated) for part in _parts(value)]
        if kind.endswith("REPEAT"):
            least, most, body = value
            inner = [_repetitions(body, repeated or most > 1), float(most > max(least, 1))]
        choice = kind == "BRANCH" or (kind.endswith("REPEAT") and least != most)
        if choice and repeated:
            return math.inf
        count += max(inner, default=0) if kind == "BRANCH" else sum(inner)
    return count


def _choices(nodes: Any) -> float:
    """Return how many choices between two things follow one another; one between more counts by its logarithm."""
    count = 0.0
    for operation, value in nodes:
        kind, inner = str(operation), [_choices(part) for part in _parts(value)]
        if kind == "BRANCH":
            count += math.log2(max(len(inner), 1)) + max(inner, default=0)
        else:
            count += sum(inner) + (kind.endswith("REPEAT") and value[0] != value[1])
    return count


def _parts(value: Any) -> Iterator[Any]:
    """Yield the expressions inside a node."""
    if isinstance(value, parser.SubPattern):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _parts(each)


def names_any(expression: re.Pattern[str], name: str) -> bool:
    """Whether the whole of the parameter's name, or of the name of a module that it is in, matches."""
    return any(map(expression.fullmatch, paths(name)))
