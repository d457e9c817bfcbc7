"""Whose line an error comes from: the user's own, or one of Python, of an installed library or of optimzoo."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

TRACEBACK = "OPTIMZOO_TRACEBACK"
"""The variable that asks for whole tracebacks."""
FAULTS = (Exception, SystemExit, GeneratorExit)
"""What is a fault of somebody else's code wherever it is called; an interrupt is the user's."""


class Stopped(SystemExit):
    """The end of the program that a signal asked for; no other SystemExit is meant."""


LIBRARY_FOLDERS = {"site-packages", "dist-packages", "optimzoo_plugins"}
LIBRARIES = (Path(sysconfig.get_path("stdlib")), Path(__file__).parent)


def user_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the lines of the user's own files that led to ``error``, the outermost first."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]


def describe_error(error: BaseException) -> str:
    """Return the type and the text of ``error``, after the user's line that it comes from if there is one.

    Examples:
        >>> describe_error(KeyError("image"))
        "KeyError: 'image'"
    """
    kind = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {kind}: {error.msg}"
    frames = user_frames(error)
    if not frames and isinstance(error, SystemExit):  # of a library, which says no more
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    where = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    try:
        text = str(error)
    except Exception as fault:  # of the error's own __str__
        text = f"it has no text ({type(fault).__name__})"
    if not text and isinstance(error, AssertionError):
        text = traceback.extract_tb(error.__traceback__)[-1].line or ""
    return f"{where}{kind}{f': {text}' if text else ''}"


def is_users(file: str) -> bool:
    """Whether a file is the user's own."""
    path = Path(file)
    inside_a_library = any(path.is_relative_to(library) for library in LIBRARIES)
    return not (file.startswith("<frozen") or inside_a_library or LIBRARY_FOLDERS.intersection(path.parts))
