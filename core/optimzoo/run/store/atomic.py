"""Files that are replaced whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from optimzoo.errors import WriteError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` once all of it is on the disk.

    Until then it lies beside ``path`` with the suffix ``.partial``. If the block raises, ``path`` stays as it was.
    """
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name of the file is on the disk only then
        finally:
            os.close(folder)


def write(path: Path, text: str, append: bool = False) -> None:
    """Put ``text`` in the place of what ``path`` holds, or after it: all of it or nothing.

    Raises:
        WriteError: The file cannot be written.
    """
    data = text.encode()
    with telling(path, len(data)):
        if not append:
            with replacing(path) as file:
                file.write(data)
            return
        size = path.stat().st_size
        try:
            with path.open("ab") as file:
                file.write(data)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(path, size)
            raise


@contextlib.contextmanager
def telling(path: Path, wanted: int) -> Iterator[None]:
    """Say of a failure to write which file it was, and how many bytes were wanted.

    Raises:
        WriteError: The block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise WriteError(unwritten(path, wanted, error)) from error


def unwritten(path: Path, wanted: int, error: Exception) -> str:
    """Return what to say of a file that cannot be written."""
    try:
        free = f"{shutil.disk_usage(path.parent).free:,} are free there"
    except OSError:
        free = "the folder is gone"
    return f"{path} cannot be written: {wanted:,} bytes were wanted, and {free} ({error})"
