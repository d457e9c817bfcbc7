"""The command about plugins."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from optimzoo.console import out
from optimzoo.names.doors import PluginReport
from optimzoo.names.zoo import REGISTRIES
from optimzoo.names.zoo import plugins as manager

STYLES = {"loaded": "green", "disabled": "yellow", "broken": "bold red"}
SHOWN = 6


def plugins(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the plugins: where each comes from, what it registered, and what is wrong with it."""
    reports = manager.reports()
    if as_json:
        print(json.dumps([_as_dict(report) for report in reports], indent=2))
        return
    for report in reports:
        names = _names(report)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        notes = [", ".join(names[:SHOWN]) + more, report.reason, *_losses(report)]
        origin = f"{report.distribution} {report.version}".strip() or "added by the program"
        status = (report.status, STYLES[report.status])
        out.print(Text.assemble((report.name, "bold"), ": ", status, f", {report.target} ({origin})"))
        out.print(Padding(Text("\n".join(note for note in notes if note)), (0, 0, 0, 2)))


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
