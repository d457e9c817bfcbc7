"""Calling a class with keyword arguments from a config: every wrong key and value is found before the call."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from optimzoo.errors import ConfigError, OptimzooError, did_you_mean, distinct, join_path, listing, near
from optimzoo.traces import describe_error, user_frames
from optimzoo.values import is_number

Signature = Mapping[str, inspect.Parameter]
UNKNOWN: Signature = inspect.signature(lambda **kwargs: kwargs).parameters

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}
"""The annotations that are checked, and what each wants in words."""


@functools.lru_cache(maxsize=512)
def parameters(target: Callable[..., Any]) -> Signature:
    """Return the parameters of a class or function by name; ``**kwargs`` where Python cannot tell them."""
    for evaluate in (True, False):
        try:
            return inspect.signature(target, eval_str=evaluate).parameters
        except Exception:  # written in C, or with an annotation that does not resolve: any type of error
            continue
    return UNKNOWN


def problems(
    target: Callable[..., Any],
    kwargs: Any,
    path: str = "",
    given: tuple[str, ...] = (),
    label: str = "",
) -> Iterator[ConfigError]:
    """Yield what is wrong with calling ``target(**kwargs)``, without calling it.

    Args:
        target: The class or function.
        kwargs: The keyword arguments, as written in a config.
        path: Where in the config they stand.
        given: Names of required arguments that the caller adds itself, such as ``params``.
        label: What messages call the target; its own name by default.
    """
    signature = parameters(target)
    label = label or _label(target)
    if not isinstance(kwargs, Mapping):
        yield ConfigError(f"a dict of arguments of {label} is wanted, got {kwargs!r}", path)
        return
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.values())
    named = {n: p for n, p in signature.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    open_names = [n for n in named if n not in given]
    for key, value in kwargs.items():
        if key in named:
            problem = _value_problem(named[key], value)
            if problem:
                yield ConfigError(f"{label} {problem}", join_path(path, key))
        elif not takes_any:
            hint = did_you_mean(near(key, open_names)) or f" It takes {', '.join(open_names) or 'no arguments'}."
            yield ConfigError(f"{label} has no argument {key!r}.{hint}", join_path(path, key))
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in kwargs and name not in given:
            yield ConfigError(f"{label} needs a value for {name!r}", join_path(path, name))


def call(target: Callable[..., Any], kwargs: Mapping[str, Any], path: str = "", label: str = "") -> Any:
    """Return ``target(**kwargs)``.

    Lists become tuples, and ints floats, where the default is a tuple of floats: ``betas=[0, 0.99]`` is what TOML and
    older configs say, and torch wants ``(0.0, 0.99)``.

    Args:
        target: The class or function.
        kwargs: The keyword arguments, as written in a config.
        path: Where in the config they stand.
        label: What messages call the target; its own name by default.

    Raises:
        ConfigError: A key or a value is wrong, or the call itself failed; the cause is chained.
    """
    raise_all(problems(target, kwargs, path, label=label))
    signature = parameters(target)
    ready = {key: _like_default(signature[key], value) if key in signature else value for key, value in kwargs.items()}
    try:
        return target(**ready)
    except OptimzooError as error:
        raise error.under(path) from error.__cause__
    except Exception as error:
        what = "failed" if user_frames(error) else "refused its arguments"
        if not str(error):
            what += f" ({', '.join(f'{k}={v!r}' for k, v in kwargs.items() if isinstance(v, (bool, int, float, str)))})"
        raise ConfigError(f"{label or _label(target)} {what}: {describe_error(error)}", path) from error


def caught(function: Callable[..., Any], *arguments: Any) -> Iterator[OptimzooError]:
    """Call ``function``, and yield the problems that it raises instead of raising them."""
    try:
        function(*arguments)
    except ConfigError as error:
        yield from error.problems
    except OptimzooError as error:
        yield error


def raise_all(problems: Iterable[OptimzooError]) -> None:
    """Raise nothing, the one problem, or one error that lists all of them."""
    found = distinct(problems)
    if len(found) == 1:
        raise found[0]
    if found:
        raise listing(found)


def _label(target: Callable[..., Any]) -> str:
    return getattr(target, "__qualname__", repr(target))


def _value_problem(parameter: inspect.Parameter, value: Any) -> str:
    """Return what is wrong with ``value``, judged by the type of the default, or else by a plain annotation."""
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
    else:
        return _annotation_problem(parameter, value)
    return ""


def _annotation_problem(parameter: inspect.Parameter, value: Any) -> str:
    annotation = parameter.annotation
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    kinds = [kind for kind in (typing.get_args(annotation) if union else [annotation]) if kind is not types.NoneType]
    is_plain = isinstance(value, (bool, int, float, str, Mapping, list, tuple))
    if not (is_plain and kinds and all(kind in WORDS for kind in kinds)) or any(_fits(value, k) for k in kinds):
        return ""
    return f"wants {' or '.join(WORDS[kind] for kind in kinds)} for {parameter.name!r}, got {value!r}"


def _fits(value: Any, kind: type) -> bool:
    return is_number(value) if kind is float else isinstance(value, kind) and (kind is bool) == isinstance(value, bool)


def _like_default(parameter: inspect.Parameter, value: Any) -> Any:
    default = parameter.default
    if not isinstance(default, tuple) or not isinstance(value, (list, tuple)):
        return value
    if default and all(isinstance(v, float) for v in default):
        return tuple(float(v) if is_number(v) else v for v in value)
    return tuple(value)
