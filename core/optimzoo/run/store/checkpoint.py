"""Checkpoints: written whole or not at all, read without running code."""

from __future__ import annotations

import collections
import copy
import io
import re
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor, nn

from optimzoo import calls
from optimzoo.errors import CheckpointError, ConfigError, did_you_mean, near
from optimzoo.names.entry import dotted
from optimzoo.run.hooks.base import Hook
from optimzoo.run.store.atomic import replacing
from optimzoo.values import one_of, whole_number

if TYPE_CHECKING:
    from optimzoo.run.runner import Runner

FORMAT = 2
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
            torch.save(readable, file)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise CheckpointError(f"{path} cannot be written: {error}. Earlier checkpoints are untouched") from error


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
        """Save ``best.pt``, if the validation found a better value than those before it, and what the last one changed.

        Raises:
            ConfigError: The validation has no such metric.
        """
        if self.best is not None:
            self._save_if_best(runner, self.best, metrics)
        if runner.finished:
            self.on_stop(runner)

    def _save_if_best(self, runner: Runner, best: str, metrics: Mapping[str, float]) -> None:
        named = {f"val_{name}": value for name, value in metrics.items()}
        name = f"val_{best.removeprefix('val_')}"
        if name not in named:
            hint = did_you_mean(near(name, named))
            raise ConfigError(f"the validation has no {name!r}; it has {', '.join(named)}.{hint}", "checkpoint.best")
        value, before = named[name], self.best_value
        if value == value and (before is None or (value > before if self.rule == "greater" else value < before)):
            self.best_value = value
            runner.save(runner.work_dir / "best.pt")

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
        path = runner.work_dir / f"checkpoint_{runner.iter:08d}.pt"
        runner.save(path)
        runner.processes.on_first(lambda: self._remove_oldest(path))

    def _remove_oldest(self, written: Path) -> None:
        others = [path for path in checkpoints_in(written.parent) if path != written]
        for path in others[: max(0, len(others) + 1 - self.keep)]:
            path.unlink()
