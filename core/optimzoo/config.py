"""Config files: .toml, .yaml, .json and .py read into plain dicts, with bases, overrides, and a writer.

The first three are data: reading them runs no code. A Python config is a program, and is run.
"""

from __future__ import annotations

import inspect
import json
import re
import runpy
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from optimzoo.errors import ConfigError, did_you_mean, join_path, near

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Config = dict[str, Any]
BASE, DELETE = "_base_", "_delete_"


class _Yaml12Loader(yaml.SafeLoader):
    """Reads ``1e-4`` as a number, as YAML 1.2 does; PyYAML's YAML 1.1 makes a string of it."""


_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)$"),
    list("-+.0123456789"),
)


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a config file.

    Args:
        path: A .toml, .yaml, .yml, .json or .py file. Its key ``_base_`` names files, relative to it, whose contents
            it changes: dicts are merged, unless they hold ``_delete_=True``; all else is replaced.
        overrides: Assignments such as ``"optim_wrapper.optimizer.lr=1e-3"`` or ``"param_scheduler[0].end=5"``, whose
            values are TOML; a bare word counts as a string.

    Raises:
        ConfigError: A file is missing or cannot be read, or an override is malformed.
    """
    config = _load(Path(path), ())
    for override in overrides:
        config = _override(config, override)
    return config


def merge(base: Any, change: Any) -> Any:
    """Return ``base`` changed by ``change``, both left as they are."""
    if not isinstance(change, Mapping):
        return change
    if not isinstance(base, Mapping) or change.get(DELETE):
        base = {}
    changed = {key: merge(base.get(key), value) for key, value in change.items() if key != DELETE}
    return {**base, **changed}


def config_text(config: Mapping[str, Any]) -> str:
    """Return ``config`` as YAML, its values made ``plain``."""
    text: str = yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)
    return text


def plain(value: Any) -> Any:
    """Return ``value`` in dicts, lists, strings and numbers alone.

    A class or function becomes ``module:name``, another object the name of its type.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)  # of a subclass, such as numpy's float64, too
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}:{value.__qualname__}"
    return describe(value)


def describe(value: Any) -> str:
    """Return the stand-in, in a written config, for an object that no text can describe."""
    return f"<{type(value).__module__}.{type(value).__qualname__} object>"


def _load(path: Path, opened_by: tuple[Path, ...]) -> Config:
    if path.suffix not in READERS:
        raise ConfigError(f"{path} is no config file: its ending is none of {', '.join(READERS)}")
    if not path.is_file():
        siblings = [p.name for p in path.parent.iterdir() if p.suffix in READERS] if path.parent.is_dir() else []
        raise ConfigError(f"there is no file {path}.{did_you_mean(near(path.name, siblings))}")
    if path.resolve() in opened_by:
        raise ConfigError(f"{path} names itself as {BASE}, by way of {opened_by[-1]}")
    read = READERS[path.suffix](path)
    if not isinstance(read, Mapping):
        raise ConfigError(f"{path} holds {type(read).__name__}, not a table of keys")
    config = dict(read)
    _check_keys(config, path)
    bases = config.pop(BASE, [])
    merged: Config = {}
    for base in [bases] if isinstance(bases, str) else bases:
        merged = merge(merged, _load(path.parent / base, (*opened_by, path.resolve())))
    whole: Config = merge(merged, config)
    return whole


def _check_keys(value: Any, file: Path, path: str = "") -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"the key {key!r} in {file} is not a string; put it in quotes", path)
            _check_keys(item, file, join_path(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_keys(item, file, join_path(path, index))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _toml(path: Path) -> Any:
    try:
        return tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def _yaml(path: Path) -> Any:
    try:
        return yaml.load(_read(path), _Yaml12Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from error


def _python(path: Path) -> Any:
    try:
        names = runpy.run_path(str(path))
    except Exception as error:
        lines = [f.lineno for f in inspect.getinnerframes(error.__traceback__) if f.filename == str(path)]  # type: ignore[arg-type]
        line = getattr(error, "lineno", None) or (lines[-1] if lines else None)
        raise ConfigError(f"{path}{f', line {line}' if line else ''}: {type(error).__name__}: {error}") from error
    helpers = (types.ModuleType, types.FunctionType, type)
    return {
        name: value
        for name, value in names.items()
        if name in (BASE, DELETE) or not (name.startswith("_") or isinstance(value, helpers))
    }


READERS: dict[str, Callable[[Path], Any]] = {
    ".toml": _toml,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".json": _json,
    ".py": _python,
}


def _override(config: Config, assignment: str) -> Config:
    key, equals, text = assignment.partition("=")
    if not equals:
        raise ConfigError(f"an override is of the form key=value, got {assignment!r}")
    try:
        nested = tomllib.loads(re.sub(r"\[(\d+)\]", r".\1", key) + " = 0")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{key.strip()!r} is not a key such as a.b or a[0].b") from error
    keys = []
    while isinstance(nested, dict):
        ((name, nested),) = nested.items()
        keys.append(name)
    changed: Config = _assign(config, keys, _toml_value(text, key.strip()), "")
    return changed


def _toml_value(text: str, path: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if re.fullmatch(r"\s*[A-Za-z_./][\w./:@+-]*\s*", text):  # an unquoted word
            return text.strip()
        raise ConfigError(f"{text!r} is not a TOML value ({error})", path) from error


def _assign(held: Any, keys: list[str], value: Any, path: str) -> Any:
    """Return a copy of ``held`` with ``value`` under ``keys``; a number as a key goes into a list."""
    if not keys:
        return value
    key, *rest = keys
    if isinstance(held, (list, tuple)):
        if not key.isdigit() or int(key) >= len(held):
            raise ConfigError(f"the list has {len(held)} entries, counted from 0; there is no {key!r}", path)
        index = int(key)
        return [*held[:index], _assign(held[index], rest, value, join_path(path, index)), *held[index + 1 :]]
    if held is not None and not isinstance(held, Mapping):
        raise ConfigError(f"it is {held!r} and has no key {key!r} to set", path)
    below = held or {}
    return {**below, key: _assign(below.get(key), rest, value, join_path(path, key))}
