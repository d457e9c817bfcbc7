"""The application: its commands, and what a user sees of an error."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, cast

import typer
from typer.core import TyperGroup

from optimzoo import __version__
from optimzoo.cli import convert_state, groups, names, plot, plugins, runs, show, translate, vet
from optimzoo.console import out, prepare_streams, say
from optimzoo.errors import OptimzooError, PluginError
from optimzoo.names.zoo import plugins as plugin_manager
from optimzoo.traces import TRACEBACK, user_frames

app = typer.Typer(
    name="optimzoo",
    help="Name an optimizer, a schedule and a parameter rule in a config, and train.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    runs.train,
    runs.check,
    plot.plot,
    groups.groups,
    convert_state.convert_state,
    names.list_names,
    show.show,
    vet.vet,
    translate.translate,
    plugins.plugins,
):
    app.command("list" if command is names.list_names else command.__name__.replace("_", "-"))(command)


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
    try:
        command_line = cast(TyperGroup, typer.main.get_command(app))
        plugin_manager.each("optimzoo_commands", lambda hook: _add_commands(command_line, hook))
        command_line()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        say("error", error if isinstance(error, OptimzooError) else _with_lines(error), "bold red")
        sys.exit(1)


def _add_commands(command_line: TyperGroup, hook: Callable[..., None]) -> None:
    """Add the commands that a plugin's hook brings: all of them, or none."""
    own = typer.Typer()
    hook(app=own)
    if own.registered_callback:
        raise PluginError("the options of optimzoo itself are not a plugin's to set: app.callback() is refused")
    added = typer.main.get_group(own).commands
    for name in sorted(added.keys() & command_line.commands.keys()):
        raise PluginError(f"there is a command {name!r} already")
    command_line.commands.update(added)


def _with_lines(error: Exception) -> str:
    frames = user_frames(error) or traceback.extract_tb(error.__traceback__)[-1:]
    lines = [f"  {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}" for frame in frames]
    return "\n".join([f"{type(error).__name__}: {error}", *lines, f"({TRACEBACK}=1 shows the whole traceback)"])
