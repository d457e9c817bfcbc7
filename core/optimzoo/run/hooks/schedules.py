"""The steps of the schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimzoo.run.hooks.base import Hook
from optimzoo.run.hooks.run import Run
from optimzoo.wrappers import StepOutcome


class ParamSchedulerHook(Hook):
    """Steps the schedules: after each iteration, each epoch, and each validation."""

    def after_iter(self, runner: Run, outcome: StepOutcome, logs: Mapping[str, Any]) -> None:
        """Step the schedules by iteration and by update."""
        runner.schedulers.step(outcome)

    def after_epoch(self, runner: Run) -> None:
        """Step the schedules by epoch."""
        runner.schedulers.step(epoch_end=True)

    def after_val(self, runner: Run, metrics: Mapping[str, float]) -> None:
        """Step the schedules that watch a metric."""
        runner.schedulers.step(metrics=metrics)
