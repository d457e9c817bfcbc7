"""Checkpoints: written whole or not at all, read without running code."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from optimzoo import calls
from optimzoo.checks import one_of, whole_number
from optimzoo.errors import CheckpointError, ConfigError, did_you_mean, near
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
    """Compare the checksums of a file, which torch writes and does not read."""
    with zipfile.ZipFile(path) as archive:
        wrong = archive.testzip()
    if wrong is not None:
        raise zipfile.BadZipFile(f"the checksum of {wrong} is wrong")


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints in ``folder``, oldest first."""
    found = [(int(match[1]), path) for path in folder.glob("*.pt") if (match := PATTERN.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


class CheckpointHook(Hook):
    """Saves a checkpoint every few epochs, or validation intervals of a run by iteration, and when it ends or stops.

    Args:
        interval: Epochs or validation intervals from one checkpoint to the next.
        keep: How many to keep; the oldest goes first.
        best: A metric of the validation, such as ``"val_accuracy"``; ``best.pt`` is the checkpoint of the validation
            that found the best value so far.
        rule: ``"greater"`` if a larger value is better, ``"less"`` if a smaller one is. By default ``"less"`` for a
            metric with ``loss`` or ``error`` in its name, else ``"greater"``.

    Raises:
        ConfigError: An argument is wrong.
    """

    def __init__(self, interval: int = 1, keep: int = 2, best: str | None = None, rule: str | None = None) -> None:
        settings = {"interval": interval, "keep": keep}
        found = [p for key, value in settings.items() for p in calls.caught(whole_number, value, key, 1)]
        calls.raise_all([*found, *calls.caught(one_of, rule, (None, "greater", "less"), "rule")])
        self.interval, self.keep = interval, keep
        self.best = best
        self.rule = rule or ("less" if best is not None and re.search("loss|error", best) else "greater")
        self.best_value: float | None = None

    def after_val(self, runner: Runner, metrics: Mapping[str, float]) -> None:
        """Save ``best.pt``, if the validation found a better value than those before it.

        Raises:
            ConfigError: The validation has no such metric.
        """
        if self.best is None:
            return
        named = {f"val_{name}": value for name, value in metrics.items()}
        name = f"val_{self.best.removeprefix('val_')}"
        if name not in named:
            hint = did_you_mean(near(name, named))
            raise ConfigError(f"the validation has no {name!r}; it has {', '.join(named)}.{hint}", "checkpoint.best")
        value, before = named[name], self.best_value
        if value == value and (before is None or (value > before if self.rule == "greater" else value < before)):
            self.best_value = value
            state = runner.state_dict()
            runner.processes.on_first(lambda: save_checkpoint(state, runner.work_dir / "best.pt"))

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far."""
        return {} if self.best is None else {"metric": self.best, "value": self.best_value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the best value so far, if it is of the same metric."""
        if state["metric"] == self.best:
            self.best_value = state["value"]

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
