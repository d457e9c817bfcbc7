"""Checkpoints: written whole or not at all, read without running code."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from optimzoo import calls
from optimzoo.checks import whole_number
from optimzoo.errors import CheckpointError
from optimzoo.runner.atomic import replacing
from optimzoo.runner.hooks import Hook

if TYPE_CHECKING:
    from optimzoo.runner.runner import Runner

FORMAT = 1
PATTERN = re.compile(r"checkpoint_(\d+)\.pt")


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write ``state`` to ``path``, whole or not at all.

    Raises:
        CheckpointError: The file cannot be written; earlier checkpoints are untouched.
    """
    try:
        with replacing(path) as file:
            torch.save({"format": FORMAT, **state}, file)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise CheckpointError(f"{path} cannot be written: {error}. Earlier checkpoints are untouched") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        CheckpointError: The file is missing, damaged, or of another format.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes the checksums of this format, and does not read them
            wrong = archive.testzip()
        if wrong is not None:
            raise zipfile.BadZipFile(f"the checksum of {wrong} is wrong")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).partition('. ')[0]}"  # torch adds a page of advice
        raise CheckpointError(f"{path} is damaged or not a checkpoint ({reason})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of this version of optimzoo (format {FORMAT})")
    return state


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints in ``folder``, oldest first."""
    found = [(int(match[1]), path) for path in folder.glob("*.pt") if (match := PATTERN.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


class CheckpointHook(Hook):
    """Saves a checkpoint every few epochs, or validation intervals of a run by iteration, and when it ends or stops.

    Args:
        interval: Epochs or validation intervals from one checkpoint to the next.
        keep: How many to keep; the oldest goes first.

    Raises:
        ConfigError: An argument is not a whole number of at least 1.
    """

    def __init__(self, interval: int = 1, keep: int = 2) -> None:
        settings = {"interval": interval, "keep": keep}
        calls.raise_all(p for key, value in settings.items() for p in calls.caught(whole_number, value, key, 1))
        self.interval, self.keep = interval, keep

    def checkpoint_due(self, runner: Runner) -> None:
        """Save, if the interval has passed or the run has ended, and remove the oldest."""
        plan = runner.plan
        count = runner.epoch if plan.by_epoch else runner.iter // plan.val_interval
        if count % self.interval == 0 or runner.finished:
            self.on_stop(runner)

    def on_stop(self, runner: Runner) -> None:
        """Save, and remove the oldest."""
        state = runner.state_dict()
        runner.processes.on_first(lambda: self._save(state, runner.work_dir / f"checkpoint_{runner.iter:08d}.pt"))

    def _save(self, state: Mapping[str, Any], written: Path) -> None:
        save_checkpoint(state, written)
        others = [path for path in checkpoints_in(written.parent) if path != written]
        for path in others[: max(0, len(others) + 1 - self.keep)]:
            path.unlink()
