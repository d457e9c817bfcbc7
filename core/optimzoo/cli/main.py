"""The application: its commands, and what a user sees of an error."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from optimzoo import __version__
from optimzoo.cli import names, plugins, runs
from optimzoo.console import out, say, show_warnings
from optimzoo.errors import OptimzooError
from optimzoo.zoo import plugins as plugin_manager

app = typer.Typer(
    name="optimzoo",
    help="Name an optimizer, a schedule and a parameter rule in a config, and train.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (runs.train, runs.check, names.list_names, names.show, plugins.plugins):
    app.command(command.__name__.partition("_")[0])(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"optimzoo {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line. An error that optimzoo raises on purpose is printed as one message, with exit code 1."""
    show_warnings()
    plugin_manager.call("optimzoo_commands", app=app)
    try:
        app()
    except OptimzooError as error:
        say("error", error, "bold red")
        sys.exit(1)
