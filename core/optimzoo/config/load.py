"""Configs: files read into plain dicts, with bases and overrides, and configs as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any

from optimzoo import values
from optimzoo.config.readers import CONTROL, LANGUAGES, MAX_BYTES, language, read, toml_keys, toml_value, yaml_text
from optimzoo.errors import ConfigError, did_you_mean, join_path, near, shown
from optimzoo.values import one_of

Config = dict[str, Any]
BASE, DELETE = "_base_", "_delete_"
OF_MMENGINE = re.compile(r"\{\{\s*(_base_[.:]|file(Dirname|Basename|BasenameNoExtension|Extname)\s*\}|\$\w+:)[^}]*\}*")
"""What mmengine replaces in a text: something of a base, of the file's name, or of the environment."""
PATH_MAX, SETS_MAX = 4096, 1000


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
    try:
        config = _Reading().load(Path(path))
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply") from None
    assignments = list(overrides)
    if len(assignments) > SETS_MAX or sum(map(len, assignments)) > MAX_BYTES:
        raise ConfigError(f"more than {SETS_MAX} values are set, or {MAX_BYTES:,} characters: write them in a file")
    for override in assignments:
        config = _override(config, override)
    return config


def config_text(config: Mapping[str, Any]) -> str:
    """Return ``config`` as YAML, its values made ``plain``."""
    return yaml_text(plain(config))


def plain(value: Any) -> Any:
    """Return ``value`` in dicts, lists, strings and numbers alone.

    A class or function becomes ``module:name``, a dtype or a device its name, a date its ISO form, another object the
    name of its type.
    """
    value = values.scalar(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)  # of a subclass, such as numpy's float64, too
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    cls = type(value)
    if cls.__module__ == "torch" and cls.__name__ in ("dtype", "device"):
        return str(value).removeprefix("torch.")
    name = getattr(value, "__qualname__", "<")
    if "<" in name or value.__module__ == "<run_path>":  # a lambda, or what a Python config defines: not importable
        return describe(value)
    return f"{value.__module__}:{name}"


def describe(value: Any) -> str:
    """Return the stand-in, in a written config, for an object that no text can describe."""
    return f"<{type(value).__module__}.{type(value).__qualname__} object>"


class _Reading:
    """The reading of a config and its bases: each file once, in no more steps than the largest config needs."""

    def __init__(self) -> None:
        self._loaded: dict[Path, Config] = {}
        self._steps = 0

    def load(self, path: Path, opened_by: tuple[Path, ...] = ()) -> Config:
        """Return what a file and its bases hold."""
        if len(opened_by) > 4 * values.MAX_DEPTH:
            raise ConfigError(f"the bases of {opened_by[0]} go on and on", BASE)
        try:
            if len(str(path)) > PATH_MAX:
                raise ValueError("the name is too long")
            resolved, is_folder = path.resolve(), path.is_dir()
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(f"{shown(str(path))} names no file: {error}") from error
        if resolved in self._loaded:
            return self._loaded[resolved]
        kind = language(path)
        if is_folder:
            raise ConfigError(f"{path} is a folder; a file is wanted")
        if not path.is_file():
            beside = path.parent.iterdir() if path.parent.is_dir() else ()
            siblings = [p.name for p in beside if p.suffix in LANGUAGES and p.is_file()]
            raise ConfigError(f"there is no file {path}.{did_you_mean(near(path.name, siblings))}")
        if resolved in opened_by:
            raise ConfigError(f"{path} names itself as {BASE}, by way of {opened_by[-1]}")
        if kind == "Python" and opened_by and language(opened_by[-1]) != "Python":
            raise ConfigError(
                f"{opened_by[-1]} names {path}, but reading {language(opened_by[-1])} runs no code. "
                "Write the base as data, or this config in Python", BASE,
            )  # fmt: skip
        content = read(path)
        if not isinstance(content, Mapping):
            raise ConfigError(f"{path} holds {type(content).__name__}, not a table of keys")
        try:
            config = dict(content) if kind == "Python" else values.plain(content)
        except ConfigError as error:  # it is larger or deeper than a config can be
            raise ConfigError(f"{path}: {error.problem}", error.path) from None
        _check_keys(config, path)
        bases = config.pop(BASE, [])
        if isinstance(bases, (str, Path)):
            bases = [bases]
        if not isinstance(bases, (list, tuple)) or not all(isinstance(base, (str, Path)) for base in bases):
            raise ConfigError(f"the name of a file, or a list of names, is wanted in {path}, got {shown(bases)}", BASE)
        merged: Config = {}
        for base in bases:
            merged = self.merge(merged, self.load(path.parent / base, (*opened_by, resolved)))
        for key in config:
            if CONTROL.fullmatch(key) and key not in (DELETE, "_scope_"):
                raise ConfigError(f"there is no such key, in {path}.{did_you_mean(near(key, (BASE, DELETE)))}", key)
        self._loaded[resolved] = self.merge(merged, config)
        return self._loaded[resolved]

    def merge(self, base: Any, change: Any) -> Any:
        """Return ``base`` changed by ``change``, both left as they are."""
        if not isinstance(change, Mapping):
            return change
        if not isinstance(base, Mapping) or one_of(change.get(DELETE, False), (True, False), DELETE):
            base = {}
        self._steps += 1 + len(base) + len(change)
        if self._steps > 5 * values.MAX_NODES:
            raise ConfigError("the bases together are larger than a config can be", BASE)
        changed = {key: self.merge(base.get(key), value) for key, value in change.items() if key != DELETE}
        return {**base, **changed}


def _check_keys(value: Any, file: Path, path: str = "") -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"the key {key!r} in {file} is not a string; put it in quotes", path)
            _check_keys(item, file, join_path(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_keys(item, file, join_path(path, index))
    elif isinstance(value, str) and (found := OF_MMENGINE.search(value)):
        raise ConfigError(f"mmengine puts something in the place of {found[0]!r}, in {file}; here, write it out", path)


def _override(config: Config, assignment: str) -> Config:
    key, equals, text = (part.strip() for part in assignment.partition("="))
    if not equals:
        raise ConfigError(f"an override is of the form key=value, got {shown(assignment)}")
    if len(key) > values.MAX_NAME * 10:
        raise ConfigError(f"{shown(key, 60)} is longer than a key can be")
    if not text:
        raise ConfigError("a value is missing after the '='; '\"\"' is an empty string", key)
    try:
        value = toml_value(text)
    except ConfigError as error:
        raise error.under(key) from error.__cause__
    keys = toml_keys(key)
    if DELETE in keys:
        raise ConfigError("it has a meaning in files alone; to replace a dict, set the whole of it: key = {...}", key)
    changed: Config = _assign(config, keys, value, "")
    return changed


def _assign(held: Any, keys: list[str], value: Any, path: str) -> Any:
    """Return a copy of ``held`` with ``value`` under ``keys``; a number as a key goes into a list."""
    if not keys:
        return value
    key, *rest = keys
    if isinstance(held, (list, tuple)):
        number = key.strip("[]")
        if not number.isdecimal() or int(number) >= len(held):
            entries = "1 entry" if len(held) == 1 else f"{len(held)} entries"
            raise ConfigError(f"the list has {entries}, counted from 0; there is no {number!r}", path)
        index = int(number)
        return [*held[:index], _assign(held[index], rest, value, join_path(path, index)), *held[index + 1 :]]
    if key.startswith("["):
        raise ConfigError(f"there is no list to set the entry {key} of; it is {shown(held)}", path)
    if held is not None and not isinstance(held, Mapping):
        raise ConfigError(f"it is {shown(held)} and has no key {key!r} to set", path)
    below = held or {}
    return {**below, key: _assign(below.get(key), rest, value, join_path(path, key))}
