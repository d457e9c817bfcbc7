"""Printing for people: tables as wide as they need in a file, warnings and errors as one line each."""

from __future__ import annotations

import warnings
from typing import Any

from rich.console import Console

FILE_WIDTH = 160
"""Columns of a table that is written to a file or a pipe."""


def make_console() -> Console:
    """Return a console on the standard output: as wide as the terminal, or as a table needs."""
    console = Console()
    return console if console.is_terminal else Console(width=FILE_WIDTH)


out = make_console()
err = Console(stderr=True, soft_wrap=True)


def say(kind: str, message: object, style: str) -> None:
    """Print ``kind: message`` on the error stream; the message is no markup."""
    err.print(f"[{style}]{kind}:[/]", end=" ")
    err.print(str(message), markup=False, highlight=False)


def show_warnings() -> None:
    """Print a warning as one line, without the place in the code that it came from."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say("warning", message, "yellow")

    warnings.showwarning = show
