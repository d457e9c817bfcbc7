"""The command that finds the settings under which one optimizer steps as another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from optimzoo.cli.vet import Name, With, measuring
from optimzoo.console import out

if TYPE_CHECKING:
    from optimzoo.vetting import Translation


def translate(
    source: Name,
    target: Name,
    settings: With = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    seconds: Annotated[float, typer.Option(min=1, help="When to give up.")] = 300,
) -> None:
    """Find the settings with which TARGET steps as SOURCE does with its own; exit with 1 if there are none."""
    from optimzoo.vetting import translate as search

    with measuring(settings) as kwargs:
        found = search(source, target, seconds=seconds, **kwargs)
    if as_json:
        print(json.dumps(found.as_dict(), indent=2, default=str))
    else:
        _print(found)
    if not found.agrees:
        raise typer.Exit(1)


def _print(found: Translation) -> None:
    given = f"{found.source}({', '.join(f'{key}={value!r}' for key, value in found.given.items())})"
    lines = [f"The steps of {given} are those of", f"    {found.line}"]
    if not found.agrees:
        lines = [f"No settings of {found.target} give the steps of {given}:", f"{found.difference}. The nearest are"]
        lines.append(f"    {found.line}")
    if found.groups:
        lines.append(f"where each group says {', '.join(f'{key}={value!r}' for key, value in found.groups.items())}")
    for line in (*lines, *(f"Note: {note}." for note in found.notes)):
        out.print(line, highlight=False, soft_wrap=True)
    table = Table()
    for heading in ("shape", f"size / {found.source}", "cosine"):
        table.add_column(heading, justify="left" if heading == "shape" else "right")
    for shape, (ratio, cosine) in found.shapes.items():
        table.add_row(" x ".join(map(str, shape)), f"{ratio:.4f}", f"{cosine:.5f}")
    out.print(table)
