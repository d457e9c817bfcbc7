"""The commands about names: list and show."""

from __future__ import annotations

import fnmatch
import inspect
import json
from functools import cache
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from optimzoo import calls
from optimzoo.console import out
from optimzoo.errors import MissingDependencyError, UnknownNameError, did_you_mean, near
from optimzoo.names.entry import NEEDS, Entry, dotted, is_installed, library_version
from optimzoo.names.registry import Registry
from optimzoo.names.zoo import REGISTRIES
from optimzoo.names.zoo import plugins as plugin_manager

KINDS = {kind.split()[-1]: registry for kind, registry in REGISTRIES.items()}
"""The registries by the words of the command line: ``wrapper`` for optimizer wrappers."""


def list_names(
    pattern: Annotated[str, typer.Argument(help="A part of a name or library, or a pattern such as '*8bit'.")] = "",
    kind: Annotated[str, typer.Option(help=f"One of: {', '.join(KINDS)}.")] = "",
    where: Annotated[
        str, typer.Option(metavar="FACTS", help="Measured facts, such as 'resume=exact elementwise state<=4'.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the registered names; nothing is imported to do so."""
    if kind and kind not in KINDS:
        raise typer.BadParameter(f"one of {', '.join(KINDS)} is wanted", param_hint="--kind")
    chosen = {name: registry for name, registry in KINDS.items() if kind in ("", name)}
    found = {name: _meeting(where, _matching(registry, pattern)) for name, registry in chosen.items()}
    if as_json:
        rows = [_as_dict(name, entry) for name, entries in found.items() for entry in entries]
        print(json.dumps(rows, indent=2))
        return
    for name, entries in found.items():
        if entries:
            out.print(_table(KINDS[name], entries))
    missing = [entry for entries in found.values() for entry in entries if not _installed(entry)]
    for command in dict.fromkeys(entry.install for entry in missing if entry.install):
        out.print(f"to install what is missing: {command}", highlight=False, markup=False, soft_wrap=True)
    if not any(found.values()):
        hint = did_you_mean(near(pattern, [n for registry in chosen.values() for n in registry])) if pattern else ""
        out.print(f"no name matches {' '.join(filter(None, (pattern, where)))!r}.{hint}", highlight=False, markup=False)
        raise typer.Exit(1)


def show(name: Annotated[str, typer.Argument(help="A name that `optimzoo list` prints, or an alias.")]) -> None:
    """Show where a name comes from, what it needs and what arguments it takes."""
    found = [(registry, entry) for registry in REGISTRIES.values() for entry in registry.claimants(name)]
    if not found:
        suggestions = near(name, [n for registry in REGISTRIES.values() for n in registry])
        raise UnknownNameError(
            f"no installed plugin registers {name!r}.{did_you_mean(suggestions)}{plugin_manager.hints()}",
            "",
            suggestions,
        )
    for registry, entry in found:
        _show(registry, entry)


def _matching(registry: Registry, pattern: str) -> list[Entry]:
    wanted = pattern.lower() if any(c in pattern for c in "*?[") else f"*{pattern.lower()}*"
    entries = [
        entry
        for entry in registry.entries()
        for words in [(entry.name, *entry.aliases, entry.qualified, entry.library)]
        if any(fnmatch.fnmatchcase(word.lower(), wanted) for word in words)
    ]
    return sorted(entries, key=lambda entry: registry.display_name(entry).lower())


def _meeting(where: str, entries: list[Entry]) -> list[Entry]:
    """Return the entries whose measured facts meet all conditions in ``where``."""
    conditions = where.replace(",", " ").split()
    known = [(entry, entry.facts if conditions else None) for entry in entries]
    return [entry for entry, facts in known if not conditions or (facts and all(map(facts.meets, conditions)))]


def _as_dict(kind: str, entry: Entry) -> dict[str, object]:
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
    }


def _table(registry: Registry, entries: list[Entry]) -> Table:
    table = Table(title=f"{registry.kind}s", title_justify="left")
    for heading in ("name", "library"):
        table.add_column(heading, no_wrap=True)
    table.add_column("about", overflow="fold")
    for entry in entries:
        name = Text("\n").join(
            [Text(registry.display_name(entry), "bold"), *(Text(f"  {a}", "dim") for a in entry.aliases)]
        )
        library = Text(entry.library) if _installed(entry) else Text(f"{entry.library}\n(not installed)", "yellow")
        table.add_row(name, library, Text(entry.about))
    return table


def _show(registry: Registry, entry: Entry) -> None:
    report = next((r for r in plugin_manager.reports() if r.name == entry.plugin), None)
    version = library_version(entry.library) if entry.installed else "(not installed)"
    facts = {
        "kind": registry.kind.split()[-1],
        "qualified name": entry.qualified,
        "aliases": ", ".join(entry.aliases),
        "class": dotted(entry.target),
        "library": f"{entry.library} {version}",
        "plugin": f"{report.name} ({report.target}), from {report.distribution} {report.version}" if report else "",
        "about": entry.about,
        "paper": entry.paper,
        "licence": entry.licence,
        "needs": "; ".join(NEEDS[need] for need in entry.needs),
        "keys of its groups": ", ".join(entry.group_keys),
        "notes": "\n".join(entry.notes.values()),
        **_measured(entry),
    }
    try:
        target = entry.load()
    except MissingDependencyError as error:
        facts |= {"fails": error.problem if entry.installed else "", "install": error.install}
    else:
        facts["arguments"] = "\n".join(map(_argument, calls.parameters(target).values()))
    grid = Table.grid(padding=(0, 2))
    for label, value in facts.items():
        if value:
            grid.add_row(f"  {label}:", Text(str(value), overflow="fold"))
    out.print(registry.display_name(entry), style="bold", highlight=False)
    out.print(grid)


@cache
def _is_found(module: str) -> bool:
    return is_installed(module)


def _installed(entry: Entry) -> bool:
    """Whether the library can be found, looked up once for all its names."""
    return not isinstance(entry.target, str) or _is_found(entry.module)


def _measured(entry: Entry) -> dict[str, str]:
    """Return the measured facts for people: where they come from, what is fine, what is to be known, the faults."""
    measured = entry.facts
    if measured is None:
        return {}

    def lines(verdict: str) -> str:
        return "\n".join(f"{name}: {value} ({why})" for name, (_, value, why) in measured.of_verdict(verdict).items())

    good = ", ".join(f"{name}: {value}" for name, (_, value, _) in measured.of_verdict("fine").items())
    with_what = f"with {entry.library} {measured.version} and torch {measured.torch}, on {measured.date}"
    return {"measured": with_what, "faults": lines("fault"), "to know": lines("note"), "fine": good}


def _argument(parameter: inspect.Parameter) -> str:
    return parameter.name if parameter.default is parameter.empty else f"{parameter.name} = {parameter.default!r}"
