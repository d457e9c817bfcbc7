"""Calling a class with keyword arguments from a config: every wrong key and value is found before the call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from optimzoo.checks import is_number
from optimzoo.errors import ConfigError, OptimzooError, did_you_mean, join_path, listing, near

Signature = Mapping[str, inspect.Parameter]


@functools.lru_cache(maxsize=512)
def parameters(target: Callable[..., Any]) -> Signature:
    """Return the parameters of a class or function by name; empty where Python cannot tell them."""
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        return {}


def problems(
    target: Callable[..., Any], kwargs: Mapping[str, Any], path: str = "", given: tuple[str, ...] = ()
) -> Iterator[ConfigError]:
    """Yield what is wrong with calling ``target(**kwargs)``, without calling it.

    Args:
        target: The class or function.
        kwargs: The keyword arguments, as written in a config.
        path: Where in the config they stand.
        given: Names of required arguments that the caller adds itself, such as ``params``.
    """
    signature = parameters(target)
    takes_any = not signature or any(p.kind is p.VAR_KEYWORD for p in signature.values())
    named = {n: p for n, p in signature.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    open_names = [n for n in named if n not in given]
    for key, value in kwargs.items():
        if key in named:
            problem = _value_problem(named[key], value)
            if problem:
                yield ConfigError(f"{_label(target)} {problem}", join_path(path, key))
        elif not takes_any:
            hint = did_you_mean(near(key, open_names)) or f" It takes {', '.join(open_names) or 'no arguments'}."
            yield ConfigError(f"{_label(target)} has no argument {key!r}.{hint}", join_path(path, key))
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in kwargs and name not in given:
            yield ConfigError(f"{_label(target)} needs a value for {name!r}", join_path(path, name))


def call(target: Callable[..., Any], kwargs: Mapping[str, Any], path: str = "") -> Any:
    """Return ``target(**kwargs)``.

    Lists become tuples, and ints floats, where the default is a tuple of floats: ``betas=[0, 0.99]`` is what TOML and
    older configs say, and torch wants ``(0.0, 0.99)``.

    Raises:
        ConfigError: A key or a value is wrong, or the call itself failed; the cause is chained.
    """
    raise_all(problems(target, kwargs, path))
    signature = parameters(target)
    ready = {key: _like_default(signature[key], value) if key in signature else value for key, value in kwargs.items()}
    try:
        return target(**ready)
    except ConfigError as error:
        raise error.under(path) from error.__cause__
    except OptimzooError:
        raise
    except Exception as error:
        raise ConfigError(f"{_label(target)} refused its arguments: {type(error).__name__}: {error}", path) from error


def raise_all(problems: Iterable[OptimzooError]) -> None:
    """Raise nothing, the one problem, or one error that lists all of them."""
    found = list(problems)
    if len(found) == 1:
        raise found[0]
    if found:
        raise listing(found)


def _label(target: Callable[..., Any]) -> str:
    return getattr(target, "__qualname__", repr(target))


def _value_problem(parameter: inspect.Parameter, value: Any) -> str:
    """Return what is wrong with ``value``, judged by the type of the default; most checks are left to the target."""
    default, name = parameter.default, parameter.name
    if isinstance(default, bool):
        if not isinstance(value, bool):
            return f"wants true or false for {name!r}, got {value!r}"
    elif is_number(default):
        if isinstance(value, (str, bool, Mapping)):
            return f"wants a number for {name!r} (default {default!r}), got {value!r}"
    elif isinstance(default, tuple) and default and all(is_number(v) for v in default):
        if isinstance(value, (str, Mapping)) or not hasattr(value, "__len__") or len(value) != len(default):
            return f"wants {len(default)} numbers for {name!r} (default {default!r}), got {value!r}"
        if any(isinstance(v, (str, bool)) for v in value):
            return f"wants numbers in {name!r} (default {default!r}), got {value!r}"
    return ""


def _like_default(parameter: inspect.Parameter, value: Any) -> Any:
    default = parameter.default
    if not isinstance(default, tuple) or not isinstance(value, (list, tuple)):
        return value
    if default and all(isinstance(v, float) for v in default):
        return tuple(float(v) if is_number(v) else v for v in value)
    return tuple(value)
