"""Files that are replaced whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def replacing(path: Path, mode: str = "wb", **kwargs: Any) -> Iterator[IO[Any]]:
    """Open a file that takes the place of ``path`` once all of it is on the disk.

    Until then it lies beside ``path`` with the suffix ``.partial``. If the block raises, ``path`` stays as it was.

    Args:
        path: The file to replace or create.
        mode: As for ``open``.
        **kwargs: As for ``open``.
    """
    partial = path.with_suffix(".partial")
    try:
        with partial.open(mode, **kwargs) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name of the file is on the disk only then
        finally:
            os.close(folder)
