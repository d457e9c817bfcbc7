"""The application: its commands, and what a user sees of an error."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from optimzoo import __version__
from optimzoo.cli import names, plot, plugins, runs
from optimzoo.console import out, prepare_streams, say
from optimzoo.errors import OptimzooError
from optimzoo.traces import user_frames
from optimzoo.zoo import plugins as plugin_manager

TRACEBACK = "OPTIMZOO_TRACEBACK"

app = typer.Typer(
    name="optimzoo",
    help="Name an optimizer, a schedule and a parameter rule in a config, and train.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (runs.train, runs.check, plot.plot, names.list_names, names.show, plugins.plugins):
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
    """Run the command line.

    An error that optimzoo raises on purpose is printed as one message, any other with the lines of the user's code that
    it passed through; the exit code is 1. ``OPTIMZOO_TRACEBACK=1`` shows the whole traceback instead.
    """
    prepare_streams()
    plugin_manager.call("optimzoo_commands", app=app)
    try:
        app()
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        say("error", error if isinstance(error, OptimzooError) else _with_lines(error), "bold red")
        sys.exit(1)


def _with_lines(error: Exception) -> str:
    frames = user_frames(error) or traceback.extract_tb(error.__traceback__)[-1:]
    lines = [f"  {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}" for frame in frames]
    return "\n".join([f"{type(error).__name__}: {error}", *lines, f"({TRACEBACK}=1 shows the whole traceback)"])
