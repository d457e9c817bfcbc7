"""What settings of one class to try for those of another: what is copied, and what may be changed in it."""

from __future__ import annotations

import ast
import inspect
import itertools
import math
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from optimzoo.values import is_number
from optimzoo.vetting.manners import OF_EXECUTION
from optimzoo.vetting.trial import Way

DECAY = "weight_decay"
RATES = ("lr", "learning_rate")
MOMENTA = ("momentum", "beta", "beta1", "betas")
"""The arguments that hold the factor by which gradients are remembered; the last one holds it first of several."""

Settings = dict[str, Any]


def rate_in(settings: Mapping[str, Any]) -> str:
    """Return the name of the learning rate in ``settings``; empty if there is none."""
    return next((name for name in RATES if is_number(settings.get(name))), "")


def values_of(way: Way) -> Settings:
    """Return the arguments of a class that have a value."""
    return {n: way.setting(n) for n in list(way.signature)[1:] if way.setting(n) is not None or n in way.kwargs}


def copied(source: Settings, target: Way) -> Settings:
    """Return the arguments that both have, with what differs in form only put into the form of ``target``."""
    result: Settings = {}
    first = next((source[n] for n in MOMENTA if n in source), None)
    first = first[0] if isinstance(first, tuple) else first
    for name in list(target.signature)[1:]:
        default = target.setting(name)
        value = source.get(name, source.get(rate_in(source)) if name in RATES else None)
        if name in MOMENTA and name not in source:
            value = (first, *default[1:]) if isinstance(default, tuple) and is_number(first) else first
        if isinstance(value, tuple) and isinstance(default, tuple):
            value = value[: len(default)] + default[len(value) :]
        if name == DECAY:
            result[name] = value or 0.0
        elif value is not None and name not in OF_EXECUTION and _alike(value, default):
            result[name] = value
    return result


def _alike(value: Any, default: Any) -> bool:
    """Whether a value may mean the same where ``default`` stands."""
    if default is None or (is_number(value) and is_number(default)):
        return not isinstance(value, str)
    return type(value) is type(default) and not (isinstance(value, tuple) and len(value) != len(default))


def switched(settings: Settings, target: Way, group_keys: tuple[str, ...]) -> Iterator[Settings]:
    """Yield the settings with one switch turned, one option taken, or one argument left at its default."""
    for name, parameter in _others(target):
        now = settings.get(name, parameter.default)
        yield from (settings | {name: v} for v in _options(target.cls, parameter) if (type(v), v) != (type(now), now))
        if name in settings and name not in target.kwargs:
            yield {key: value for key, value in settings.items() if key != name}
    for key in group_keys:
        yield from (settings | {key: value} for value in (True, False) if settings.get(key) is not value)


def renumbered(settings: Settings, target: Way, source: Settings) -> Iterator[Settings]:
    """Yield the settings with one number changed to what turns things off, or to one of the source's."""
    theirs = [v for n, v in source.items() if n not in (*RATES, DECAY) and not isinstance(v, bool)]
    flat = [*itertools.chain.from_iterable(v if isinstance(v, tuple) else (v,) for v in theirs)]
    numbers = [v for v in flat if is_number(v)]
    numbers += [round(1 - v, 12) for v in numbers if isinstance(v, float) and 0 < v < 1]
    for name, parameter in _others(target):
        default = parameter.default
        values: list[Any] = []
        if isinstance(default, tuple):
            values = [v for v in theirs if isinstance(v, tuple) and len(v) == len(default)]
            values += [(off, *default[1:]) for off in (None, 0.0)]
        elif is_number(default) or (default is None and not _options(target.cls, parameter)):
            values = [None, 0.0, 1.0, math.inf, *numbers]
        now = settings.get(name, default)
        yield from (settings | {name: value} for value in dict.fromkeys(values) if value != now)


def _others(target: Way) -> Iterator[tuple[str, inspect.Parameter]]:
    """Yield the arguments that are neither the rate nor the decay."""
    for name, parameter in list(target.signature.items())[1:]:
        by_name = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if by_name and name not in (*OF_EXECUTION, *RATES, DECAY):
            yield name, parameter


def _options(cls: Any, parameter: inspect.Parameter) -> list[Any]:
    """Return the values of a switch, or of an argument that takes one of some words."""
    default, annotation = parameter.default, parameter.annotation
    options: list[Any] = [True, False] if isinstance(default, bool) or "bool" in str(annotation) else []
    options += [v for v in _literals(annotation) if isinstance(v, (str, bool))]
    if isinstance(default, str) or (default is None and "str" in str(annotation)):
        options += _words(cls, parameter.name)
    return [*dict.fromkeys(options)] + [None] * (default is None and bool(options))


def _literals(annotation: Any) -> Iterator[Any]:
    for part in typing.get_args(annotation):
        yield from [part] if typing.get_origin(annotation) is typing.Literal else _literals(part)


def _words(cls: Any, name: str) -> list[str]:
    """Return the words that the module of a class compares the argument ``name`` with."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[cls.__init__.__module__]))
    except (OSError, KeyError, TypeError, SyntaxError):  # no source
        return []
    found: list[str] = []
    for node in ast.walk(tree):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        if any(name in (getattr(s, "id", None), getattr(s, "attr", None), _key(s)) for s in sides):
            parts = itertools.chain.from_iterable(map(ast.walk, sides))
            found += [n.value for n in parts if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [word for word in dict.fromkeys(found) if word != name]


def _key(node: ast.expr) -> Any:
    return node.slice.value if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) else None
