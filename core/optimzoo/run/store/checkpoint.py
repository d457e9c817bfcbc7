"""Checkpoints: written whole or not at all, read without running code."""

from __future__ import annotations

import collections
import copy
import io
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from optimzoo.errors import CheckpointError
from optimzoo.files import check_unfolded
from optimzoo.names.entry import dotted
from optimzoo.run.store.atomic import replacing, unwritten
from optimzoo.run.store.sums import Summed, Sums

FORMAT = 2
MARK, OLD_MARK = b"optimzoo sum64 ", b"optimzoo crc32 "
"""What stands at the end of a checkpoint, as the comment of its archive, before the checksum of all of it."""
TOLD = (len(MARK) + 8).to_bytes(2, "little")
"""What the archive says of that: the length of its comment. Torch writes none."""

PATTERN = re.compile(r"checkpoint_(\d+)\.pt")
PLAIN = (type(None), bool, int, float, str)
"""What a checkpoint may hold besides tensors and containers, as is known without a trial."""


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write ``state`` to ``path``, whole or not at all; NumPy's scalars become Python's.

    Raises:
        CheckpointError: The file cannot be written, or could not be read; earlier checkpoints are untouched.
    """
    readable = _readable({"format": FORMAT, **state}, "state")
    try:
        with replacing(path) as file:
            summed = _Writer(file)
            torch.save(readable, summed)  # type: ignore[arg-type]  # which writes and flushes
            file.seek(-len(TOLD), os.SEEK_END)
            file.write(TOLD)
            summed.sums.add(summed.size - len(TOLD), TOLD)
            file.write(MARK + summed.sums.digest(summed.size))
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        tensors = {t.untyped_storage().data_ptr(): t for t in tree_leaves(readable) if isinstance(t, Tensor)}
        wanted = sum(tensor.untyped_storage().nbytes() for tensor in tensors.values())
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise CheckpointError(f"{unwritten(path, wanted, cause)}. Earlier checkpoints are untouched") from error


class _Writer:
    """A file, and the sums of what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sums, self.size = file, Sums(), 0
        self.flush = file.flush

    def write(self, data: bytes) -> int:
        self.sums.add(self.size, data)
        self.size += len(data)
        return self.file.write(data)


def _readable(value: Any, place: str) -> Any:
    """Return ``value`` as ``torch.load(weights_only=True)`` takes it.

    Raises:
        CheckpointError: It takes no such object.
    """
    kind = type(value)
    if kind in (*PLAIN, Tensor, nn.Parameter):
        return value
    if kind in (list, tuple):
        plain = all(type(item) in PLAIN for item in value)
        return value if plain else kind(_readable(item, f"{place}[{n}]") for n, item in enumerate(value))
    if kind in (dict, collections.OrderedDict) and all(type(key) in PLAIN for key in value):
        copied = copy.copy(value)  # the state of a module has versions beside its items
        copied.update({key: _readable(item, f"{place}[{key!r}]") for key, item in value.items()})
        return copied
    if isinstance(value, numpy.generic) and type(value.item()) in PLAIN:
        return value.item()
    try:
        trial = io.BytesIO()
        torch.save(value, trial)
        trial.seek(0)
        torch.load(trial, weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"a checkpoint cannot hold {place}, {dotted(kind)}: torch.load(weights_only=True) takes tensors, numbers, "
            "text, and lists and dicts of these. Earlier checkpoints are untouched"
        ) from error
    return value


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        CheckpointError: The file is missing, damaged, or of another format.
    """
    if not os.path.isfile(path):  # which is no error for a name that no file can have
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        with Summed(path) as file:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            _verify(file)
            check_unfolded(state, file.size)
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).partition('. ')[0]}"  # torch adds a page of advice
        raise CheckpointError(f"{path} is damaged or not a checkpoint ({reason})") from error
    if not isinstance(state, dict) or type(held := state.get("format")) is not int or held != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of this version of optimzoo (format {FORMAT})")
    return state


def _verify(file: Summed) -> None:
    """Compare the checksum of a file; of one that torch alone wrote, those of its tensors, which torch ignores."""
    size = max(0, file.size - len(MARK) - 8)
    file.seek(size)
    mark, told = file.read(len(MARK)), file.read()
    if mark in (MARK, OLD_MARK):
        crc = 0
        for data in file.blocks(0, size if mark == OLD_MARK else 0):
            crc = zlib.crc32(data, crc)
        if told != (b"%08x" % crc if mark == OLD_MARK else file.digest(size)):
            raise zipfile.BadZipFile("its checksum is wrong")
        return
    file.seek(max(0, file.size - 1000))
    end = file.read().rpartition(b"PK\5\6")[2]
    if end[16:] != bytes(2):  # torch alone writes nothing after it
        raise zipfile.BadZipFile("its checksum is gone")
    with zipfile.ZipFile(file) as archive:
        wrong = archive.testzip()
    if wrong is not None:
        raise zipfile.BadZipFile(f"the checksum of {wrong} is wrong")


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints in ``folder``, oldest first."""
    found = [(int(match[1]), path) for path in folder.glob("*.pt") if (match := PATTERN.fullmatch(path.name))]
    return [path for _, path in sorted(found)]
