"""Hooks: what happens around the training step."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from optimzoo.run.hooks.run import Run
from optimzoo.wrappers import StepOutcome


class Hook:
    """Base of the hooks; every method does nothing until it is overridden.

    Hooks run in the order of ``Runner.hooks``: those given by the user, the logs, the schedules, the checkpoints.

    Attributes:
        needs: What it needs beyond being called, in the words of ``optimzoo.names.entry.NEEDS``; ``"whole"`` for one
            that copies the model or works on whole parameters. A strategy that cannot give it refuses the hook.
        measures: A name for the weights that ``evaluating`` puts in. What is measured with them has it before its own
            name, ``ema_val_accuracy``, and stands beside what is measured without. Empty where ``evaluating`` is for
            every evaluation.
        trained: Whether the weights that are trained are to be measured as well.
    """

    needs: Collection[str] = ()
    measures: str = ""
    trained: bool = True

    def before_train(self, runner: Run) -> None:
        """Called once everything is built or resumed."""

    def after_train(self, runner: Run) -> None:
        """Called when training has reached its end."""

    def before_epoch(self, runner: Run) -> None:
        """Called before each pass over the data, and before the rest of one; the model is in training mode."""

    def after_epoch(self, runner: Run) -> None:
        """Called after each pass over the data, before its validation."""

    def before_iter(self, runner: Run, batch: Any) -> None:
        """Called before each iteration, with its batch on the device."""

    def after_iter(self, runner: Run, outcome: StepOutcome, logs: dict[str, Any]) -> None:
        """Called after each iteration, with what it did to the parameters and what the model reported.

        What a hook adds to ``logs``, a number or a tensor of one, is logged too.
        """

    def before_val(self, runner: Run) -> None:
        """Called before each validation of the training, and again when one that was cut short is repeated."""

    def evaluating(self, runner: Run) -> contextlib.AbstractContextManager[Any]:
        """Return the context of an evaluation, by ``Runner.val`` too: the place to swap weights and swap them back.

        A signal, or an error, may end the evaluation in the middle.
        """
        return contextlib.nullcontext()

    def after_val(self, runner: Run, metrics: Mapping[str, float]) -> None:
        """Called after each validation of the training."""

    def checkpoint_due(self, runner: Run) -> None:
        """Called after each epoch, or at the validation interval of a run by iteration, before the validation."""

    def before_checkpoint(self, runner: Run) -> None:
        """Called before the state of the run is put together for a checkpoint."""

    def after_checkpoint(self, runner: Run, path: Path) -> None:
        """Called once the checkpoint is on the disk."""

    def on_stop(self, runner: Run) -> None:
        """Called after the step, or in the validation, in which a signal asked the run to stop, to save it."""

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """Called when training stops by an exception, which is then raised."""

    def weights(self) -> Mapping[str, Any]:
        """Return the weights that ``measures`` names as a state dict of the model, for checkpoints."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return what checkpoints are to hold of this hook, as ``torch.load(weights_only=True)`` can read it."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned; called before ``before_train`` if the checkpoint has any.

        Of several hooks of one class, each has that of the one in its place among them.
        """
