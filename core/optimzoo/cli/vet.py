"""The command that measures an optimizer."""

from __future__ import annotations

import ast
import contextlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from optimzoo.console import out

if TYPE_CHECKING:
    from optimzoo.vetting import Fact, Report

STYLES = {"fine": "green", "note": "cyan", "fault": "bold red", "unmeasured": "yellow"}

Name = Annotated[str, typer.Argument(help="A name that `optimzoo list` prints, or package.module:Class.")]
With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="KEY=VALUE", help="An argument, such as lr=1e-3. May be repeated."),
]


def vet(
    name: Name,
    settings: With = None,
    only: Annotated[str, typer.Option(metavar="FACT,FACT", help="Facts to measure, such as resume,decay.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    seconds: Annotated[float, typer.Option(min=1, help="When to stop measuring.")] = 120,
) -> None:
    """Measure what the optimizer NAME really does; exit with 1 if it has a fault."""
    from optimzoo.vetting import vet as measure

    words = [word for word in map(str.strip, only.split(",")) if word]
    with measuring(settings) as kwargs:
        report = measure(name, only=words, seconds=seconds, **kwargs)
    if as_json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        _print(report)
    if report.faults:
        raise typer.Exit(1)


def names_beside_the_shell() -> None:
    """Let a module beside the shell be named, as with ``python -m``."""
    if "" not in sys.path:
        sys.path.append("")


@contextlib.contextmanager
def measuring(settings: list[str] | None) -> Iterator[dict[str, Any]]:
    """Yield the arguments of ``--with`` to measure with; what a library prints is not what is asked for."""
    names_beside_the_shell()
    kwargs = dict(map(_setting, settings or ()))
    with contextlib.redirect_stdout(sys.stderr):
        yield kwargs


def _setting(text: str) -> tuple[str, Any]:
    """Return the argument that ``KEY=VALUE`` gives, and its value."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise typer.BadParameter(f"KEY=VALUE is wanted, got {text!r}", param_hint="--with")
    try:
        return key, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return key, {"true": True, "false": False}.get(value, value)


def _print(report: Report) -> None:
    cls = f" ({report.cls})" if report.cls != report.name else ""
    library = f", {report.library} {report.version or 'without a version'}" if report.library != "torch" else ""
    out.print(f"{report.name}{cls}{library}, torch {report.torch}", soft_wrap=True, highlight=False)
    out.print(fact_table(report.facts))
    for fact in report.faults:
        out.print(Text.assemble("\n", (f"{fact.fact}: ", "bold red"), f"{fact.why}."), soft_wrap=True)
        out.print(f"optimzoo {fact.optimzoo}.", soft_wrap=True, highlight=False)
        out.print("To see it:\n", highlight=False)
        out.print(Text(fact.reproduction), soft_wrap=True)
    for fact in report.facts:
        if fact.optimzoo and fact.verdict == "note":
            out.print(f"{fact.fact}: optimzoo {fact.optimzoo}.", soft_wrap=True, highlight=False)
    verdicts = [fact.verdict for fact in report.facts]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in STYLES if verdict in verdicts)
    faults = {0: "No fault", 1: "One fault"}.get(len(report.faults), f"{len(report.faults)} faults")
    out.print(
        f"\n{faults}. {len(verdicts)} fact{'s' * (len(verdicts) > 1)}: {counts}.", soft_wrap=True, highlight=False
    )


def fact_table(facts: tuple[Fact, ...]) -> Table:
    """Return a table of facts: name, verdict, value, and what there is to say."""
    table = Table()
    for heading in ("fact", "verdict", "value"):
        table.add_column(heading, no_wrap=heading != "value")
    table.add_column("why")
    for fact in facts:
        value = "" if fact.value is None else str(fact.value)
        table.add_row(fact.fact, Text(fact.verdict, STYLES[fact.verdict]), Text(value), Text(fact.why))
    return table
