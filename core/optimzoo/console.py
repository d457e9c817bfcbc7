"""Printing for people: tables as wide as they need in a file, warnings and errors as one line each."""

from __future__ import annotations

import html
import io
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from datetime import timedelta
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from optimzoo.traces import TRACEBACK, describe_error

FILE_WIDTH = 160
"""Columns of a table that is written to a file or a pipe."""
NOTEBOOK_WIDTH = 100
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys instead of showing it, as it colours, moves or turns around what comes after."""


class _Console(Console):
    """A console that shows the control characters of a text, which may be a stranger's, by their numbers."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text), **options)

    def on_broken_pipe(self) -> None:
        """Go on without what nobody reads any more, as ``head`` does after its lines; rich ends the program."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), (sys.stderr if self.stderr else sys.stdout).fileno())


def make_console() -> Console:
    """Return a console on the standard output: as wide as the terminal or ``COLUMNS``, or as a table needs.

    It takes text as it is: brackets are no markup. In a notebook it writes plain lines, which are one output: rich
    makes an output of each line, and Jupyter's stream claims to be a terminal.
    """
    console = _Console(markup=False)
    if console.is_jupyter:
        return _Console(width=NOTEBOOK_WIDTH, markup=False, force_jupyter=False, force_terminal=False)
    return console if console.is_terminal or "COLUMNS" in os.environ else _Console(width=FILE_WIDTH, markup=False)


out = make_console()
err = _Console(stderr=True, soft_wrap=True, force_jupyter=False)


def say(kind: str, message: object, style: str) -> None:
    """Print ``kind: message`` on the error stream, unless another process of the run has; the message is no markup."""
    if not _is_first_to_say(f"{kind}: {message}"):
        return
    err.print(f"[{style}]{kind}:[/]", end=" ")
    err.print(str(message), markup=False, highlight=False)


def _is_first_to_say(text: str) -> bool:
    """Whether none of the processes that torchrun started has said it."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    import torch.distributed as dist

    address, attempt = os.environ["MASTER_ADDR"], os.environ.get("TORCHELASTIC_RESTART_COUNT")
    try:
        wait = timedelta(seconds=10)
        store = dist.TCPStore(address, int(os.environ["MASTER_PORT"]), timeout=wait, wait_for_workers=False)  # type: ignore[attr-defined]
        return store.add(f"optimzoo {attempt} {text}", 1) == 1
    except RuntimeError:  # torchrun itself is gone
        return True


def as_text(renderable: RenderableType) -> str:
    """Return what rich prints of ``renderable``, as plain text of at most 80 columns."""
    console = Console(file=io.StringIO(), width=80, force_jupyter=False)
    with console.capture() as captured:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).rstrip()


def as_html(table: Table) -> str:
    """Return a table of rich as one of HTML, as notebooks show it."""
    title = f"<caption>{html.escape(str(table.title))}</caption>" if table.title else ""
    headings = "".join(f"<th>{html.escape(str(column.header))}</th>" for column in table.columns)
    head = f"<thead><tr>{headings}</tr></thead>" if table.show_header else ""
    cells = ([html.escape(str(cell)).replace("\n", "<br>") for cell in column.cells] for column in table.columns)
    aligned = [f'<td style="text-align: {column.justify}">' for column in table.columns]
    body = "".join(f"<tr>{''.join(a + cell + '</td>' for a, cell in zip(aligned, row))}</tr>" for row in zip(*cells))
    return f"<table>{title}{head}<tbody>{body}</tbody></table>"


def prepare_streams() -> None:
    """Print warnings and the log of optimzoo as one line each, and any text on a terminal of any encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say("warning", message, "yellow")

    warnings.showwarning = show
    threading.excepthook = lambda failed: say("warning", f"a thread failed: {_told(failed)}", "yellow")
    logging.lastResort = _Lines(logging.WARNING)  # what libraries say at their import
    logger = logging.getLogger("optimzoo")
    logger.setLevel(logging.INFO)
    logger.addHandler(_Lines())
    logger.propagate = False
    logging.getLogger("optimzoo.groups").setLevel(logging.WARNING)  # a run prints the table of groups itself


def _told(failed: threading.ExceptHookArgs) -> str:
    if os.environ.get(TRACEBACK):
        return "".join(traceback.format_exception(failed.exc_value)).rstrip()
    return describe_error(failed.exc_value) if failed.exc_value else failed.exc_type.__name__


class _Lines(logging.Handler):
    """Prints each record as one line, with the library that says it."""

    def emit(self, record: logging.LogRecord) -> None:
        library = record.name.partition(".")[0]
        told = record.getMessage() if library == "optimzoo" else f"{library}: {record.getMessage()}"
        say(*("note", told, "cyan") if record.levelno < logging.WARNING else ("warning", told, "yellow"))
