"""Hooks: what happens around the training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optimzoo.wrappers import StepOutcome

if TYPE_CHECKING:
    from optimzoo.runner.runner import Runner


class Hook:
    """Base of the hooks; every method does nothing until it is overridden.

    Hooks run in the order of ``Runner.hooks``: those given by the user, the log, the schedules, the checkpoints.
    """

    def before_train(self, runner: Runner) -> None:
        """Called once everything is built or resumed."""

    def after_train(self, runner: Runner) -> None:
        """Called when training has reached its end."""

    def before_epoch(self, runner: Runner) -> None:
        """Called before each pass over the data."""

    def after_epoch(self, runner: Runner) -> None:
        """Called after each pass over the data, before its validation."""

    def after_iter(self, runner: Runner, outcome: StepOutcome, logs: Mapping[str, Any]) -> None:
        """Called after each iteration, with what it did to the parameters and what the model reported."""

    def after_val(self, runner: Runner, metrics: Mapping[str, float]) -> None:
        """Called after each validation."""

    def checkpoint_due(self, runner: Runner) -> None:
        """Called after each epoch, its validation included, or at the validation interval of a run by iteration."""

    def on_stop(self, runner: Runner) -> None:
        """Called after the step in which a signal asked the run to stop, before the exception that stops it."""

    def on_exception(self, runner: Runner, error: BaseException) -> None:
        """Called when training stops by an exception, which is then raised."""


class ParamSchedulerHook(Hook):
    """Steps the schedules: after each iteration, each epoch, and each validation."""

    def after_iter(self, runner: Runner, outcome: StepOutcome, logs: Mapping[str, Any]) -> None:
        """Step the schedules by iteration and by update."""
        runner.schedulers.step(outcome)

    def after_epoch(self, runner: Runner) -> None:
        """Step the schedules by epoch."""
        runner.schedulers.step(epoch_end=True)

    def after_val(self, runner: Runner, metrics: Mapping[str, float]) -> None:
        """Show the metrics to the schedules that watch one."""
        runner.schedulers.step(metrics=metrics)
