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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from optimzoo.errors import CheckpointError
from optimzoo.names.entry import dotted
from optimzoo.run.store.atomic import replacing, unwritten

FORMAT = 2
MARK = b"optimzoo crc32 "
"""What stands after the archive of a checkpoint, where torch does not look, before the checksum of all of it."""

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
        with replacing(path) as file, ThreadPoolExecutor(1) as beside:
            summed = _Summed(file, beside)
            torch.save(readable, summed)  # type: ignore[arg-type]  # which writes and flushes
            file.write(MARK + f"{summed.crc:08x}".encode())
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        tensors = {t.untyped_storage().data_ptr(): t for t in tree_leaves(readable) if isinstance(t, Tensor)}
        wanted = sum(tensor.untyped_storage().nbytes() for tensor in tensors.values())
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise CheckpointError(f"{unwritten(path, wanted, cause)}. Earlier checkpoints are untouched") from error


class _Summed:
    """A file, and the checksum of what is written to it, taken while the system writes."""

    def __init__(self, file: BinaryIO, beside: ThreadPoolExecutor) -> None:
        self.file, self.beside, self.crc = file, beside, 0
        self.flush = file.flush

    def write(self, data: bytes) -> int:
        crc = self.beside.submit(zlib.crc32, data, self.crc)
        written = self.file.write(data)
        self.crc = crc.result()
        return written


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
        with ThreadPoolExecutor(1) as beside:
            verified = beside.submit(_verify, path)
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            verified.result()
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).partition('. ')[0]}"  # torch adds a page of advice
        raise CheckpointError(f"{path} is damaged or not a checkpoint ({reason})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of this version of optimzoo (format {FORMAT})")
    return state


def _verify(path: Path) -> None:
    """Compare the checksum of the file; of one without, those of the tensors, which torch writes and does not read."""
    with path.open("rb", buffering=0) as file:
        left = max(0, path.stat().st_size - len(MARK) - 8)
        file.seek(left)
        mark, told = file.read(len(MARK)), file.read()
        if mark == MARK:
            file.seek(0)
            crc, block = 0, memoryview(bytearray(1 << 20))
            while left > 0 and (count := file.readinto(block[: min(left, len(block))])):
                crc, left = zlib.crc32(block[:count], crc), left - count
            if told != f"{crc:08x}".encode():
                raise zipfile.BadZipFile("its checksum is wrong")
            return
    with zipfile.ZipFile(path) as archive:
        wrong = archive.testzip()
    if wrong is not None:
        raise zipfile.BadZipFile(f"the checksum of {wrong} is wrong")


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints in ``folder``, oldest first."""
    found = [(int(match[1]), path) for path in folder.glob("*.pt") if (match := PATTERN.fullmatch(path.name))]
    return [path for _, path in sorted(found)]
