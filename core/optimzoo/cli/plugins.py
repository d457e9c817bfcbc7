"""The command about plugins."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from optimzoo.console import out
from optimzoo.errors import MissingDependencyError, OptimzooError
from optimzoo.names.doors import PluginReport
from optimzoo.names.zoo import REGISTRIES
from optimzoo.names.zoo import plugins as manager

STYLES = {"loaded": "green", "disabled": "yellow", "broken": "bold red"}
SHOWN = 6


def plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    load: Annotated[bool, typer.Option("--load", help="Import every target, and say which are not there.")] = False,
) -> None:
    """List the plugins: where each comes from, what it registered, and what is wrong with it."""
    reports = manager.reports()
    faults = {report.name: _faults(report) if load else [] for report in reports}
    if as_json:
        print(json.dumps([{**_as_dict(report), "faults": faults[report.name]} for report in reports], indent=2))
    for report in [] if as_json else reports:
        names = _names(report)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        notes = [", ".join(names[:SHOWN]) + more, report.reason, *_losses(report), *faults[report.name]]
        origin = f"{report.distribution} {report.version}".strip() or "added by the program"
        status = (report.status, STYLES[report.status])
        out.print(Text.assemble((report.name, "bold"), ": ", status, f", {report.target} ({origin})"))
        out.print(Padding(Text("\n".join(note for note in notes if note)), (0, 0, 0, 2)))

    if any(faults.values()):
        raise typer.Exit(1)


def _faults(report: PluginReport) -> list[str]:
    """Import what the plugin names, and return a line for each target that is not there or of another kind.

    A library that is not installed is no fault of the plugin, which says what installs it or why nothing does.
    """
    lines = []
    for kind, entry in report.entries:
        try:
            REGISTRIES[kind].get(entry.key)
        except MissingDependencyError as error:
            lines += [] if error.install or entry.hint else [error.problem]
        except OptimzooError as error:
            lines.append(error.problem)
    return lines


def _names(report: PluginReport) -> list[str]:
    return [REGISTRIES[kind].display_name(entry) for kind, entry in report.entries]


def _losses(report: PluginReport) -> list[str]:
    """Return a line for each bare name that the plugin claims and does not get."""
    lines = []
    for kind, entry in report.entries:
        for name in entry.claims:
            owner = REGISTRIES[kind].owner(name)
            if owner is None:
                lines.append(f"{name} is claimed by several plugins: only {entry.qualified} leads here")
            elif owner is not entry:
                lines.append(f"{name} is {owner.qualified}: only {entry.qualified} leads here")
    return lines


def _as_dict(report: PluginReport) -> dict[str, object]:
    return {
        "name": report.name,
        "module": report.target,
        "distribution": report.distribution,
        "version": report.version,
        "status": report.status,
        "reason": report.reason,
        "registered": _names(report),
        "notes": _losses(report),
    }
