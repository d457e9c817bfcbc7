"""Objects that a run config names by dotted path: what the path must lead to is checked before anything is called."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from optimzoo import calls
from optimzoo.errors import ConfigError, did_you_mean, join_path, near, shown
from optimzoo.names.entry import dotted, import_dotted


def read_object(cfg: Any, base: type, path: str) -> Any:
    """Return the call that makes the object of type ``base`` that ``cfg`` describes, or ``cfg`` itself if it is one.

    Raises:
        ConfigError: It is neither; one error lists all that is wrong.
    """
    if isinstance(cfg, (base, calls.Call)):
        return cfg
    if not isinstance(cfg, Mapping) or "type" not in cfg:
        hint = did_you_mean(near("type", cfg)) if isinstance(cfg, Mapping) else ""
        hint = hint.replace("Did you mean", "Is it under")
        wanted = f"{base.__name__} is wanted, or a dict with the key 'type'"
        raise ConfigError(f"{wanted}, got {shown(cfg)}.{hint}", path)
    factory = find_factory(cfg["type"], base, join_path(path, "type"))
    return calls.read(factory, {key: value for key, value in cfg.items() if key != "type"}, path)


def find_factory(target: Any, base: type, path: str) -> Callable[..., Any]:
    """Return the subclass of ``base``, or the function annotated to return one, that ``target`` names or is.

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(target, str):
        target = import_dotted(target, path, "object")
    if makes(target, base):
        return target  # type: ignore[no-any-return]
    if inspect.isfunction(target):
        takes = inspect.Signature(list(calls.parameters(target).values()))
        raise ConfigError(
            f"{dotted(target)} does not say that it returns a {base.__name__} (of {base.__module__}): write "
            f"`def {target.__name__}{takes} -> {base.__name__}:`",
            path,
        )
    given = dotted(target) if inspect.isclass(target) else f"the {type(target).__name__} {shown(target)}"
    raise ConfigError(
        f"a subclass of {dotted(base)} is wanted, or a function annotated to return one, got {given}", path
    )


def find_function(target: Any, arguments: tuple[str, ...], path: str) -> Callable[..., Any]:
    """Return the function that ``target`` names or is, which must take the positional ``arguments``.

    Raises:
        ConfigError: It is no function, or takes other arguments.
    """
    found = import_dotted(target, path, "function") if isinstance(target, str) else target
    name = path.rpartition(".")[2].partition("[")[0]
    wanted = f"a function of your own is wanted, such as `def {name}({', '.join(arguments)}): ...`"
    if not callable(found) or inspect.isclass(found):
        raise ConfigError(f"{wanted}, got {dotted(found) if inspect.isclass(found) else shown(found)}", path)
    try:
        inspect.signature(found).bind(*arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{wanted}; {_name(found)} does not take these: {error}", path) from error
    if arguments == ("model", "batch") and _name(found).startswith("torch."):  # their two are an input and a target
        raise ConfigError(f"{wanted}, which may call {_name(found)}; that itself knows no model", path)
    return found  # type: ignore[no-any-return]


def _name(function: Callable[..., Any]) -> str:
    return dotted(function) if hasattr(function, "__qualname__") else shown(function)


def makes(target: Any, base: type) -> bool:
    """Whether it is a subclass of ``base``, or a function annotated to return one."""
    if inspect.isclass(target):
        return issubclass(target, base)
    if not inspect.isfunction(target):
        return False
    try:
        made = inspect.signature(target).return_annotation
        if isinstance(made, str):  # by itself: the types of the arguments may be imported for a type checker only
            made = eval(made, inspect.unwrap(target).__globals__)
    except Exception:  # an annotation that does not resolve tells nothing
        return False
    origin = typing.get_origin(made) or made
    return inspect.isclass(origin) and issubclass(origin, base)
