"""Reading one config file: .toml, .yaml and .json are data, and reading them runs no code; a .py is a program."""

from __future__ import annotations

import itertools
import json
import re
import runpy
import tomllib
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from optimzoo.errors import ConfigError, OptimzooError, shown
from optimzoo.names.trust import modules_in
from optimzoo.traces import describe_error
from optimzoo.values import MAX_DEPTH, MAX_NAME, MAX_NODES

if yaml.__with_libyaml__:
    from yaml._yaml import CParser

LANGUAGES = {".toml": "TOML", ".yaml": "YAML", ".yml": "YAML", ".json": "JSON", ".py": "Python"}
CONTROL = re.compile(r"_[a-z]+_")
"""The form of a key that is addressed to the reader of a config, such as ``_base_``."""

MAX_BYTES = 1_000_000
"""How large a file may be; more is no config."""

_OPAQUE = re.compile(r"""\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}.*?'{3}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|#[^\n]*""", re.DOTALL)
"""What TOML takes as it stands: strings and comments."""
_LONG_KEY = re.compile(rf"(?<![\w-])(?:[\w-]+[ \t]*\.[ \t]*){{{MAX_DEPTH}}}")
_PYTHON_VALUE = re.compile(r"(True|False|None)\b|[-+]?\.\d[\deE+-]*|\([\w\s.,+-]*\)")


def language(path: Path) -> str:
    """Return the language of a config file, by its ending in any case.

    Raises:
        ConfigError: The ending is that of no language.
    """
    try:
        return LANGUAGES[path.suffix.lower()]
    except KeyError:
        raise ConfigError(f"{path} is no config file: its ending is none of {', '.join(LANGUAGES)}") from None


def read(path: Path) -> Any:
    """Return what ``path`` holds.

    Raises:
        ConfigError: It cannot be read, or is not valid.
    """
    kind = language(path)
    if kind == "Python":
        return _run(path)
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_BYTES:,} bytes")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    try:
        return _PARSERS[kind](text)
    except OptimzooError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:  # PyYAML's of a misfit tag
        said = " ".join(str(error).split())
        raise ConfigError(f"{path} is not valid {kind}: {said}.{_spelling_at(error, text, kind)}") from error


def toml_keys(key: str) -> list[str]:
    """Return the keys of a dotted key such as ``a."b.c"[0].d``; an index keeps its brackets.

    Raises:
        ConfigError: It is no key.
    """
    dotted = re.sub(r"""("[^"]*"|'[^']*')|(\[\d+\])""", lambda m: m[1] or f'."{m[2]}"', key)
    keys = []
    try:
        nested: Any = _toml(f"{dotted} = 0")
        while isinstance(nested, dict):
            ((name, nested),) = nested.items()
            keys.append(name)
    except ValueError as error:  # no TOML, or a comment
        if isinstance(error, ConfigError):
            raise ConfigError(f"{shown(key, 60)} is nested too deeply") from error
        raise ConfigError(f"{shown(key)} is not a key such as a.b or a[0].b") from error
    return keys


def toml_value(text: str) -> Any:
    """Return the value that ``text`` is in TOML; a bare word is a string.

    Raises:
        ConfigError: It is no value.
    """
    document = f"value = {text}"
    try:
        parsed = _toml(document)
    except ConfigError:
        raise
    except ValueError as error:  # a number of too many digits, too
        spelling = _spelling_at(error, document, "TOML")
        if not spelling and re.fullmatch(r"\s*[A-Za-z_./][\w./:@+-]*\s*", text):
            return text.strip()
        raise ConfigError(f"{shown(text)} is not a TOML value.{spelling}") from error
    if len(parsed) > 1:
        raise ConfigError(f"{shown(text)} is more than one TOML value")
    return parsed["value"]


def _run(path: Path) -> dict[str, Any]:
    """Run a Python config, with the modules beside it within reach, and return what it defines."""
    try:
        with modules_in(path.parent.resolve()):
            names = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{path} failed: {describe_error(error)}") from error
    return {
        name: value
        for name, value in names.items()
        if CONTROL.fullmatch(name) or not (name.startswith("_") or isinstance(value, types.ModuleType))
    }


_MERGE = "tag:yaml.org,2002:merge"
_BASES: Any = (Composer, CParser, SafeConstructor, Resolver) if yaml.__with_libyaml__ else (yaml.SafeLoader,)


class _YamlLoader(*_BASES):  # type: ignore[misc]
    """Composes what is parsed, in C where that is there, in Python, where depth can be counted.

    Reads ``1e-4`` as a number, as YAML 1.2 does, and refuses a key that comes twice, and values as Python has them.

    PyYAML would make a string of the first and the last, and keep the second of two values.
    """

    depth = merged = 0

    def __init__(self, text: str) -> None:
        if yaml.__with_libyaml__:
            CParser.__init__(self, text)
            for base in (Composer, SafeConstructor, Resolver):
                base.__init__(self)
        else:
            super().__init__(text)

    def construct_scalar(self, node: Any) -> Any:
        if node.tag.endswith((":int", ":float")) and len(node.value) > MAX_NAME:
            raise ValueError(f"line {node.start_mark.line + 1}: a number has more than {MAX_NAME} digits")
        return super().construct_scalar(node)

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        merging = (held for key, held in node.value if key.tag == _MERGE)
        for table in (t for held in merging for t in (held.value if isinstance(held, yaml.SequenceNode) else [held])):
            if isinstance(table, yaml.MappingNode):
                self.flatten_mapping(table)
                self.merged += len(table.value)
            if self.merged > MAX_NODES:
                raise ValueError(f"line {node.start_mark.line + 1}: it merges more than {MAX_NODES} values")
        super().flatten_mapping(node)
        if len(node.value) > MAX_NODES // 10:  # merges of merges
            raise ValueError(f"line {node.start_mark.line + 1}: a table has more than {MAX_NODES // 10} keys")

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)  # as written: what it merges is not in it yet
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE]
        _refuse_repeated((key.value, f"line {key.start_mark.line + 1}: ") for key in keys)
        return node


def _refuse_python(loader: yaml.Loader, node: yaml.ScalarNode) -> None:
    raise ValueError(f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}")


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)$"),
    list("-+.0123456789"),
)
_YamlLoader.add_implicit_resolver("!python", re.compile(r"None$|\([\d\s.,eE+-]*\)$"), ["N", "("])
_YamlLoader.add_constructor("!python", _refuse_python)


class _YamlDumper(yaml.SafeDumper):
    """Writes what is read as it was: it puts in quotes what the loader above would take for more than a text."""

    yaml_implicit_resolvers = _YamlLoader.yaml_implicit_resolvers


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    breaks = {"\x85", "\u2028", "\u2029", "\ufeff"}.intersection(text)  # for which PyYAML would read a space
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if breaks else None)


_YamlDumper.add_representer(str, _quoted)


def yaml_text(value: Any) -> str:
    """Return dicts, lists, strings and numbers as YAML."""
    text: str = yaml.dump(value, Dumper=_YamlDumper, sort_keys=False, allow_unicode=True)
    return text


def _yaml(text: str) -> Any:
    """Parse YAML; values are counted before anything is made of them, which takes most of the time."""
    if len(text) > MAX_NODES:  # of which each takes a character at least
        values = (event for event in yaml.parse(text, _YamlLoader) if isinstance(event, yaml.NodeEvent))
        if sum(1 for _ in itertools.islice(values, MAX_NODES + 1)) > MAX_NODES:
            raise ValueError(f"it holds more than {MAX_NODES} values")
    return yaml.load(text, _YamlLoader)


def _toml(text: str) -> dict[str, Any]:
    """Parse TOML that is nested no deeper than a config can be: for the parser's time grows with the depth's square."""
    bare = _OPAQUE.sub("s", text)
    depth = itertools.accumulate((c in "[{") - (c in "]}") for c in re.findall(r"[][{}]", bare))
    if max(depth, default=0) > MAX_DEPTH or _LONG_KEY.search(bare):
        raise ConfigError("it is nested too deeply")
    if max(bare.count("="), bare.count(","), len(re.findall(r"^[ \t]*\[", bare, re.MULTILINE))) > MAX_NODES:
        raise ConfigError(f"it holds more than {MAX_NODES} values")
    return tomllib.loads(text)


def _json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_repeated((key, "") for key, _ in pairs)
    return dict(pairs)


def _refuse_repeated(keys: Iterable[tuple[str, str]]) -> None:
    """Raise if one of the keys, each with its place in words, comes twice."""
    seen: set[str] = set()
    for key, place in keys:
        if key in seen:
            raise ValueError(f"{place}the key {key!r} comes twice in one table")
        seen.add(key)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "TOML": _toml,
    "YAML": _yaml,
    "JSON": lambda text: json.loads(text, object_pairs_hook=_json_object),
}


def _spelling_at(error: Exception, text: str, kind: str) -> str:
    """Return how ``kind`` writes the Python value at which its parser stopped, as a hint, or ``""``."""
    place = re.search(r"line (\d+),? column (\d+)", str(error))
    row, column = map(int, place.groups()) if place else (0, 0)
    line = "".join(text.split("\n")[row - 1 : row])  # none where the text ends too soon
    found = _PYTHON_VALUE.match(line, column - 1)
    if not found:
        return ""
    value = found[0]
    if value == "None" and kind == "TOML":
        return " TOML has no None: leave the key out."
    if value[0] == "(":
        native = f"[{value[1:-1]}]"
    else:
        native = {"True": "true", "False": "false", "None": "null"}.get(value) or value.replace(".", "0.", 1)
    return f" {kind} writes {native} for {value}."
