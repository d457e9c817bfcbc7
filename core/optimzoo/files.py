"""Files of torch's that others have written, read without running what is in them."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from optimzoo.errors import CheckpointError

SHARED = 1_000_000
"""Values that a small file may hold by naming one at several places; what is written once takes a byte at least."""


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
        held = torch.load(path, map_location="cpu", weights_only=True)
        check_unfolded(held, os.path.getsize(path))
        return held
    except Exception as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]  # torch adds a page of advice
        raise CheckpointError(
            f"{path} cannot be read with weights_only=True, which runs no code: {type(error).__name__}: {reason}. If "
            f"you trust where it comes from, write {wanted} to a file of its own",
            key,
        ) from error


def check_unfolded(held: Any, size: int) -> None:
    """Check that what a file of ``size`` bytes holds is not much more, which whoever goes through it would notice.

    Raises:
        ValueError: Lists or dicts hold each other, or tensors show few numbers as many, over and over.
    """
    if _unfolded(held, {}) > max(size, SHARED):
        raise ValueError("lists or dicts hold each other, or tensors few numbers as many, over and over")


def _unfolded(value: Any, known: dict[int, float]) -> float:
    """Return how many values there are, those that stand at several places counted at each: infinite in a circle."""
    if isinstance(value, Tensor):
        if value.is_nested:
            raise ValueError("it has a nested tensor, which no state has")
        size = value.numel() * value.element_size() if value.layout is torch.strided else 0
        return value.numel() if size and size > value.untyped_storage().nbytes() else 1
    if not isinstance(value, (dict, list, tuple)):
        return 1
    if id(value) not in known:
        known[id(value)] = math.inf
        items = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_unfolded(item, known) for item in items)
    return known[id(value)]
