"""Calling a class with keyword arguments from a config: they are read once, with every fault found, and then called."""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from optimzoo.errors import ConfigError, OptimzooError, Problems, did_you_mean, join_path, near, shown
from optimzoo.keywords import read_keywords
from optimzoo.traces import Stopped, describe_error, user_frames
from optimzoo.values import RANGES, is_number, out_of_range

Signature = Mapping[str, inspect.Parameter]
UNKNOWN: Signature = inspect.signature(lambda **kwargs: kwargs).parameters

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}
"""The annotations that are checked, and what each wants in words."""

SCOPE: dict[str, Any] = {kind.__name__: kind for kind in WORDS} | {"Optional": typing.Optional, "Union": typing.Union}


@dataclass(frozen=True)
class Call:
    """A call that was read and found sound. Nothing is called before ``build``.

    Args:
        target: The class or function.
        kwargs: Its keyword arguments; those that are calls themselves are made first.
        path: Where in the config they stand.
        label: What messages call the target.
    """

    target: Callable[..., Any]
    kwargs: Mapping[str, Any]
    path: str = ""
    label: str = ""

    def build(self, **given: Any) -> Any:
        """Return what the target makes of its arguments; ``given`` ones are those that the config does not have.

        Raises:
            ConfigError: The call failed; the cause is chained.
        """
        ready = {**given, **{key: made(value) for key, value in self.kwargs.items()}}
        with placed(self.label, self.path, self.kwargs, parameters(self.target)):
            return self.target(**ready)


def read(
    target: Callable[..., Any],
    kwargs: Any,
    path: str = "",
    given: tuple[str, ...] = (),
    label: str = "",
    elsewhere: Mapping[str, str] = types.MappingProxyType({}),
    ranged: bool = False,
) -> Call:
    """Return the call of ``target`` with ``kwargs``, without making it.

    Lists become tuples, and ints floats, where the default is a tuple of floats: ``betas=[0, 0.99]`` is what TOML and
    older configs say, and torch wants ``(0.0, 0.99)``.

    Args:
        target: The class or function.
        kwargs: The keyword arguments, as written in a config.
        path: Where in the config they stand.
        given: Names of required arguments that the caller adds itself, such as ``params``.
        label: What messages call the target; its own name by default.
        elsewhere: For keys that belong to another level of the config, where that is; nothing if it is this one.
        ranged: Whether its arguments mean what ``values.RANGES`` says of their names.

    Raises:
        ConfigError: Keys or values are wrong; one error lists them all.
    """
    label = label or getattr(target, "__qualname__", "") or repr(target)
    if not isinstance(kwargs, Mapping):
        raise ConfigError(f"a dict of arguments of {label} is wanted, got {shown(kwargs)}", path)
    signature, (named, read_too) = parameters(target), _taken(target)
    meant: list[str] = []
    with Problems() as problems:
        for key, value in kwargs.items():
            problem = ""
            if key in named:
                problem = _value_problem(named[key], value)
                problem = f"{label} {problem}" if problem else out_of_range(key, value) if ranged else ""
            elif not isinstance(key, str) or (read_too is not None and key not in read_too):
                taken = [name for name in (*named, *sorted(read_too or ())) if name not in given]
                suggested = near(key, [*taken, *(name for name, place in elsewhere.items() if not place)])
                meant += suggested
                hint = did_you_mean(suggested) or f" It takes {', '.join(taken) or 'no arguments'}."
                told = elsewhere.get(key)
                problem = f"{label} has no argument {key!r}.{f' It belongs {told}.' if told else hint}"
            if problem:
                problems.add(ConfigError(problem, join_path(path, key)))
        for name, parameter in named.items():
            if parameter.default is parameter.empty and name not in (*kwargs, *given, *meant):
                problems.add(ConfigError(f"{label} needs a value for {name!r}", join_path(path, name)))
    ready = {key: _like_default(signature[key], value) if key in signature else value for key, value in kwargs.items()}
    return Call(target, ready, path, label)


def takes(target: Callable[..., Any], key: Any) -> bool:
    """Whether a class or function may be called with an argument ``key``, as far as can be told."""
    named, read_too = _taken(target)
    return key in named or read_too is None or key in read_too


def made(value: Any) -> Any:
    """Return what a call makes; anything else as it is."""
    return value.build() if isinstance(value, Call) else value


@contextlib.contextmanager
def placed(label: str, path: str, kwargs: Mapping[str, Any] | None = None, names: Iterable[str] = ()) -> Iterator[None]:
    """Give an error that somebody else's code raises, or its ``exit()``, the place in the config that led to it.

    Args:
        label: What messages call the code.
        path: The place.
        kwargs: The arguments, which are told where the error itself says nothing.
        names: The arguments that are known: where the error names another, the nearest is told.

    Raises:
        ConfigError: There was an error; it is chained as the cause.
    """
    try:
        yield
    except OptimzooError as error:
        raise error.under(path) from error.__cause__
    except (Exception, SystemExit) as error:
        what = "failed" if user_frames(error) else "refused its arguments"
        plainly = {k: v for k, v in (kwargs or {}).items() if isinstance(v, (bool, int, float, str))}
        if not str(error) and plainly:
            what += f" ({', '.join(f'{key}={shown(value)}' for key, value in plainly.items())})"
        strange = [key for key in kwargs or () if names and key not in names and repr(key) in str(error)]
        hint = "".join(did_you_mean(near(key, names)) for key in strange[:1])
        raise ConfigError(f"{label} {what}: {describe_error(error)}{'.' * bool(hint)}{hint}", path) from error


@contextlib.contextmanager
def no_exit(what: str = "somebody else's code") -> Iterator[None]:
    """Make an OptimzooError, with its place, of an ``exit()``: it would end the program as if all were well."""
    try:
        yield
    except SystemExit as error:
        raise_for_exit(error, what)


def raise_for_exit(error: SystemExit, what: str) -> NoReturn:
    """Raise an OptimzooError for an ``exit()``, or again the end that a signal asked for."""
    if isinstance(error, Stopped):
        raise error
    raise OptimzooError(f"{what} called exit(): {describe_error(error)}") from error


@functools.lru_cache(maxsize=512)
def parameters(target: Callable[..., Any]) -> Signature:
    """Return the parameters of a class or function by name; ``**kwargs`` where Python cannot tell them."""
    try:
        found = inspect.signature(target).parameters
    except Exception:  # written in C, or with a signature of its own making: any type of error
        return UNKNOWN
    return {name: p.replace(annotation=_resolved(p.annotation)) for name, p in found.items()}


@functools.lru_cache(maxsize=512)
def _taken(target: Callable[..., Any]) -> tuple[Signature, frozenset[str] | None]:
    """Return the parameters that may be given by name, and what is read beyond them; None if that cannot be told."""
    signature = parameters(target)
    named = {n: p for n, p in signature.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.values())
    return named, read_keywords(target) if takes_any else frozenset()


def names_of(cls: type) -> frozenset[str]:
    """Return the names of the arguments of a class, as far as known: of its bases too, if it takes any name."""
    named, read = _taken(cls)
    bases = () if read is not None else (parameters(vars(b)["__init__"]) for b in cls.__mro__ if "__init__" in vars(b))
    return frozenset(named).union(read or (), *bases)


def _resolved(annotation: Any) -> Any:
    """Return what an annotation in quotes means, if it is made of plain types; nothing of its module is evaluated."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, {"__builtins__": {}, **SCOPE})
    except Exception:  # names of the module's own: nothing that is checked
        return annotation


def call(target: Callable[..., Any], kwargs: Any, path: str = "", label: str = "") -> Any:
    """Return ``target(**kwargs)``, read and made in one; see ``read``."""
    return read(target, kwargs, path, label=label).build()


def raise_all(problems: Iterable[OptimzooError]) -> None:
    """Raise nothing, the one problem, or one error that lists all of them."""
    with Problems() as found:
        for problem in problems:
            found.add(problem)


def _value_problem(parameter: inspect.Parameter, value: Any) -> str:
    """Return what is wrong with ``value``, judged by the type of the default, or else by a plain annotation."""
    default, name = parameter.default, parameter.name
    if isinstance(default, bool):
        if not isinstance(value, bool):
            return f"wants true or false for {name!r}, got {shown(value)}"
    elif is_number(default):
        nothing = value is None and name in RANGES and not any(w in str(parameter.annotation) for w in ("None", "Opt"))
        if nothing or isinstance(value, (str, bool, Mapping)):
            return f"wants a number for {name!r} (default {default!r}), got {shown(value)}"
    elif isinstance(default, tuple) and default and all(is_number(v) for v in default):
        several = hasattr(value, "__len__") and getattr(value, "ndim", 1) == 1 and not isinstance(value, (str, Mapping))
        if not several or len(value) != len(default):
            return f"wants {len(default)} numbers for {name!r} (default {default!r}), got {shown(value)}"
        if any(isinstance(v, (str, bool)) for v in value):
            return f"wants numbers in {name!r} (default {default!r}), got {shown(value)}"
    else:
        return _annotation_problem(parameter, value)
    return ""


def _annotation_problem(parameter: inspect.Parameter, value: Any) -> str:
    """Return what is wrong with ``value``; ``int`` refuses no other number, for many a library writes it for both."""
    annotation = parameter.annotation
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    kinds = [kind for kind in (typing.get_args(annotation) if union else [annotation]) if kind is not types.NoneType]
    is_plain = isinstance(value, (bool, int, float, str, Mapping, list, tuple))
    if not (is_plain and kinds and all(kind in WORDS for kind in kinds)) or any(_fits(value, k) for k in kinds):
        return ""
    return f"wants {' or '.join(WORDS[kind] for kind in kinds)} for {parameter.name!r}, got {shown(value)}"


def _fits(value: Any, kind: type) -> bool:
    return (
        is_number(value)
        if kind in (int, float)
        else isinstance(value, kind) and (kind is bool) == isinstance(value, bool)
    )


def _like_default(parameter: inspect.Parameter, value: Any) -> Any:
    default = parameter.default
    if not isinstance(default, tuple) or not isinstance(value, (list, tuple)):
        return value
    if default and all(isinstance(v, float) for v in default):
        return tuple(float(v) if is_number(v) else v for v in value)
    return tuple(value)
