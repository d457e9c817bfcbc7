"""Patterns that name parameters, by their own names or by those of the modules they are in."""

from __future__ import annotations

import fnmatch
import re
from itertools import accumulate
from typing import Any

from optimzoo.errors import ConfigError


def paths(name: str) -> list[str]:
    """Return the names of the modules that the parameter ``name`` is in, from the outermost on, and its own."""
    return list(accumulate(name.split("."), "{}.{}".format))


def name_pattern(pattern: Any, path: str = "") -> re.Pattern[str]:
    r"""Return the regular expression for a pattern from a config.

    Args:
        pattern: A glob, where ``*`` stands for anything, dots included, or ``re:`` and a regular expression.
        path: Where in the config it stands.

    Raises:
        ConfigError: It is neither.

    Examples:
        >>> names_any(name_pattern("*.attention"), "layers.0.attention.out.bias")
        True
        >>> names_any(name_pattern(r"re:layers\.\d\.mlp"), "layers.0.attention.out.bias")
        False
    """
    if not isinstance(pattern, str) or not pattern:
        raise ConfigError(f"a pattern such as 'backbone.*' is wanted, got {pattern!r}", path)
    if not pattern.startswith("re:"):
        return re.compile(fnmatch.translate(pattern))
    try:
        return re.compile(pattern[3:])
    except re.error as error:
        raise ConfigError(f"{pattern[3:]!r} is no regular expression: {error}", path) from error


def names_any(expression: re.Pattern[str], name: str) -> bool:
    """Whether the whole of the parameter's name, or of the name of a module that it is in, matches."""
    return any(map(expression.fullmatch, paths(name)))
