"""When a checkpoint is saved, and which ones are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optimzoo.errors import ConfigError, Problems, did_you_mean, near
from optimzoo.run.hooks.base import Hook
from optimzoo.run.hooks.run import Run
from optimzoo.run.store.checkpoint import checkpoints_in
from optimzoo.run.store.history import column_of
from optimzoo.values import one_of, whole_number


class CheckpointHook(Hook):
    """Saves a checkpoint every few epochs, or validation intervals of a run by iteration, and when it ends or stops.

    Args:
        interval: Epochs or validation intervals from one checkpoint to the next.
        keep: How many to keep; the oldest goes first.
        best: A metric of the validation, such as ``"val_accuracy"``; ``best.pt`` is the checkpoint of the validation
            that found the best value so far.
        rule: ``"greater"`` if a larger value is better, ``"less"`` if a smaller one is. By default ``"less"`` for a
            metric with ``loss`` or ``error`` in its name, else ``"greater"``.
        usr1: What SIGUSR1 does: ``"save"`` a checkpoint and go on, or save one and end with the code 75, for a batch
            system to ``"requeue"`` the run.

    Raises:
        ConfigError: An argument is wrong.
    """

    def __init__(
        self,
        interval: int = 1,
        keep: int = 2,
        best: str | None = None,
        rule: str | None = None,
        usr1: str = "save",
    ) -> None:
        with Problems() as problems:
            problems.catch(whole_number, interval, "interval", 1)
            problems.catch(whole_number, keep, "keep", 1)
            problems.catch(one_of, rule, (None, "greater", "less"), "rule")
            problems.catch(one_of, usr1, ("save", "requeue"), "usr1")
        self.interval, self.keep = interval, keep
        self.best = best
        self.usr1 = usr1
        self.rule = rule or ("less" if best is not None and re.search("loss|error", best) else "greater")
        self.best_value: float | None = None

    def after_val(self, runner: Run, metrics: Mapping[str, float]) -> None:
        """Save ``best.pt``, if the validation found a better value than those before it, and what the last one changed.

        Raises:
            ConfigError: The validation has no such metric.
        """
        if self.best is not None:
            self._save_if_best(runner, self.best, metrics)
        if runner.finished:
            self.on_stop(runner)

    def _save_if_best(self, runner: Run, best: str, metrics: Mapping[str, float]) -> None:
        named = {column_of(name): value for name, value in metrics.items()}
        name = column_of(best)
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

    def checkpoint_due(self, runner: Run) -> None:
        """Save, if the interval has passed or the run has ended, and remove the oldest."""
        plan = runner.plan
        count = runner.epoch if plan.by_epoch else runner.iter // plan.interval_at(runner.iter)
        if count % self.interval == 0 or runner.finished:
            self.on_stop(runner)

    def on_stop(self, runner: Run) -> None:
        """Save, and remove the oldest."""
        path = runner.work_dir / f"checkpoint_{runner.iter:08d}.pt"
        runner.save(path)
        runner.processes.on_first(lambda: self._remove_oldest(path))

    def _remove_oldest(self, written: Path) -> None:
        others = [path for path in checkpoints_in(written.parent) if path != written]
        for path in others[: max(0, len(others) + 1 - self.keep)]:
            path.unlink(missing_ok=True)
