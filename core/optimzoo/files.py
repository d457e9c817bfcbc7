"""Files of torch's that others have written, read without running what is in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from optimzoo.errors import CheckpointError


def read_plain(path: Path, wanted: str, key: str = "") -> Any:
    """Return what a file holds, on the CPU, read with ``weights_only=True``.

    Args:
        path: The file.
        wanted: What to save alone, where the file holds what cannot be read so.
        key: Where in the config it is named.

    Raises:
        CheckpointError: There is no such file, or it cannot be read so.
    """
    if not os.path.isfile(path):  # which is no error for a name that no file can have
        raise CheckpointError(f"there is no file {str(path)[:200]}", key)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]  # torch adds a page of advice
        raise CheckpointError(
            f"{path} cannot be read with weights_only=True, which runs no code: {type(error).__name__}: {reason}. If "
            f"you trust where it comes from, write {wanted} to a file of its own",
            key,
        ) from error
