"""The command that lists the names."""

from __future__ import annotations

import fnmatch
import json
import shlex
import textwrap
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import zip_longest
from typing import Annotated

import typer
from rich.box import HEAVY_HEAD
from rich.cells import cell_len, set_cell_size

from optimzoo.console import out
from optimzoo.errors import ConfigError, did_you_mean, near
from optimzoo.names.entry import Entry, check_length, is_installed
from optimzoo.names.facts import check_condition
from optimzoo.names.registry import Registry
from optimzoo.names.zoo import REGISTRIES

KINDS = {kind.split()[-1]: registry for kind, registry in REGISTRIES.items()}
"""The registries by the words of the command line: ``wrapper`` for optimizer wrappers."""
PATTERN = "a part of a name or library, or the whole of one with *, ? or [] in it, such as '*8bit'"


def list_names(
    pattern: Annotated[str, typer.Argument(help=f"{PATTERN.capitalize()}.")] = "",
    kind: Annotated[str, typer.Option(help=f"One of: {', '.join(KINDS)}.")] = "",
    where: Annotated[
        str, typer.Option(metavar="FACTS", help="Measured facts, such as 'resume=exact elementwise state<=4'.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the registered names; nothing is imported to do so.

    Any other class goes by its path, package.module:Class: `optimzoo show` tells of one.
    """
    if kind and kind not in KINDS:
        hint = did_you_mean(near(kind, KINDS))
        raise typer.BadParameter(f"one of {', '.join(KINDS)} is wanted.{hint}", param_hint="--kind")
    check_length(pattern, "PATTERN")
    chosen = {name: registry for name, registry in KINDS.items() if kind in ("", name)}
    found = {name: _matching(registry, pattern) for name, registry in chosen.items()}
    if where:
        found = _meeting(where, found)
    if as_json:
        rows = [_as_dict(name, entry) for name, entries in found.items() for entry in entries]
        print("[" + ",\n".join(map(json.dumps, rows)) + "]")
        return
    for name, entries in found.items():
        if entries:
            print(_table(KINDS[name], entries), file=out.file)
    missing = [entry for entries in found.values() for entry in entries if not _installed(entry)]
    for command in dict.fromkeys(entry.install for entry in missing if entry.install):
        command, _, condition = command.partition("  # ")
        out.print(f"to install what is missing: {command}", highlight=False, markup=False, soft_wrap=True)
        out.print(f"  {condition}", highlight=False, markup=False) if condition else None
    if not any(found.values()):
        hint = f" A pattern is {PATTERN}." if pattern else ""
        if pattern and not where:
            hint = did_you_mean(near(pattern, [n for registry in chosen.values() for n in registry])) + hint
        out.print(f"no name matches {' '.join(filter(None, (pattern, where)))!r}.{hint}", highlight=False, markup=False)
        raise typer.Exit(1)


def _matching(registry: Registry, pattern: str) -> list[Entry]:
    wanted = pattern.lower() if any(c in pattern for c in "*?[") else f"*{pattern.lower()}*"
    entries = [
        entry
        for entry in registry.entries()
        for words in [(entry.name, *entry.aliases, entry.qualified, entry.library)]
        if any(fnmatch.fnmatchcase(word.lower(), wanted) for word in words)
    ]
    return sorted(entries, key=lambda entry: registry.display_name(entry).lower())


def _meeting(where: str, found: Mapping[str, list[Entry]]) -> dict[str, list[Entry]]:
    """Return the entries whose measured facts meet all conditions in ``where``, which speak of what is measured."""
    words = shlex.shlex(where, posix=True)
    words.whitespace, words.whitespace_split, words.commenters = f"{words.whitespace},", True, ""
    try:
        conditions = [*words]
    except ValueError as error:
        raise ConfigError(f"{where!r} cannot be read: {error}") from error
    everything = [facts for registry in KINDS.values() for entry in registry.entries() if (facts := entry.facts)]
    for condition in conditions:
        check_condition(condition, everything)
    return {
        kind: [entry for entry in entries if (facts := entry.facts) and all(map(facts.meets, conditions))]
        for kind, entries in found.items()
    }


def _as_dict(kind: str, entry: Entry) -> dict[str, object]:
    facts = entry.facts
    return {
        "kind": kind,
        "name": KINDS[kind].display_name(entry),
        "qualified": entry.qualified,
        "aliases": list(entry.aliases),
        "library": entry.library,
        "installed": _installed(entry),
        "install": entry.install,
        "about": entry.about,
        "paper": entry.paper,
        "needs": list(entry.needs),
        "licence": entry.licence,
        "group_keys": list(entry.group_keys),
        "plugin": entry.plugin,
        "distribution": entry.distribution,
        **({"measured": entry.measured} if kind == "optimizer" else {}),
        **({"version": facts.version, "facts": {k: row[:2] for k, row in facts.rows.items()}} if facts else {}),
    }


def _table(registry: Registry, entries: list[Entry]) -> str:
    """Return a table of the entries, as rich would draw it, which takes many seconds for thousands of rows."""
    rows = [
        (
            (name := registry.display_name(entry), *(f"  {alias}" for alias in entry.aliases if alias != name)),
            (entry.library,) if _installed(entry) else (entry.library, "(not installed)"),
            entry.about,
        )
        for entry in entries
    ]
    width = max(_width(name) for names, *_ in rows for name in names)
    library_width = max(_width(part) for _, libraries, _ in rows for part in ("library", *libraries))
    about_width = min(max(9, out.width - width - library_width - 10), max(_width(about) for *_, about in rows))
    widths = (width, library_width, max(about_width, len("about")))
    box, edges = HEAVY_HEAD.substitute(out.options), [each + 2 for each in widths]
    head_style, alias_style = ("\x1b[1m", "\x1b[2m") if out.color_system else ("", "")
    plain = "\x1b[0m" if out.color_system else ""

    def line(left: str, between: str, right: str, texts: Iterable[str], style: str) -> str:
        name, library, about = (set_cell_size(text, each) for text, each in zip(texts, widths))
        return f"{left} {style}{name}{plain} {between} {library} {between} {about} {right}"

    lines = [f"{registry.kind}s".replace("ys", "ies"), box.get_top(edges)]
    lines.append(line(box.head_left, box.head_vertical, box.head_right, ("name", "library", "about"), head_style))
    lines.append(box.get_row(edges, "head"))
    for names, libraries, about in rows:
        told = (about,) if _width(about) <= about_width else textwrap.wrap(about, about_width)
        for texts in zip_longest(names, libraries, told, fillvalue=""):
            style = head_style if texts[0] == names[0] else alias_style
            lines.append(line(box.mid_left, box.mid_vertical, box.mid_right, texts, style))
    return "\n".join((*lines, box.get_bottom(edges)))


def _width(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


_is_found = cache(is_installed)


def _installed(entry: Entry) -> bool:
    """Whether the library can be found, looked up once for all its names."""
    return not isinstance(entry.target, str) or _is_found(entry.module)
