"""An average of the weights over the updates, which is validated beside the trained weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from optimzoo.errors import CheckpointError, ConfigError, shown
from optimzoo.optimizers.average import EMA, decay_of, weights_of
from optimzoo.run.hooks.base import Hook
from optimzoo.run.hooks.run import Run
from optimzoo.traces import describe_error
from optimzoo.values import one_of
from optimzoo.wrappers import StepOutcome
from optimzoo.wrappers.members import update_counts


class EMAHook(Hook):
    """Keeps an exponential moving average of the parameters, as ``EMA`` does, and has it validated too.

    What is measured with the average is logged as ``ema_val_accuracy``, beside the ``val_accuracy`` of the trained
    weights. Every checkpoint has the average under ``["averaged"]["ema"]``, as a state dict of the model. Of several
    averages with one name, the last is validated and saved there; all of them go on when the run is resumed.

    Args:
        decay: The share of the old average, from 0 to below 1.
        trained: Whether the trained weights are validated too; without, a validation takes half the time.
        name: What stands for ``ema`` in the log and in the checkpoint.

    Attributes:
        averaged: The ``torch.optim.swa_utils.AveragedModel``; None before training.

    Raises:
        ConfigError: ``decay`` is out of range.
    """

    needs = ("whole",)

    def __init__(self, decay: float = 0.999, trained: bool = True, name: str = "ema") -> None:
        self.decay = decay_of(decay)
        self.trained = one_of(trained, (True, False), "trained")
        if not (isinstance(name, str) and name.isidentifier()):
            raise ConfigError(f"a name of letters, digits and underscores is wanted, got {shown(name)}", "name")
        self.measures = name
        self._ema: EMA | None = None
        self._counts: dict[str, int] = {}
        self._saved: Mapping[str, Any] | None = None

    @property
    def averaged(self) -> AveragedModel | None:
        """The average; None before training."""
        return None if self._ema is None else self._ema.averaged

    def before_train(self, runner: Run) -> None:
        """Begin the average, or go on with that of the checkpoint.

        Raises:
            ConfigError: The optimizer averages the weights itself.
        """
        if runner.modes.optimizers:
            name = type(runner.modes.optimizers[0]).__name__
            raise ConfigError(f"EMAHook averages the weights, and {name} does so too: leave one out", "hooks")
        self._average_of(runner.model)
        self._counts = update_counts(runner.optim_wrapper)

    def after_iter(self, runner: Run, outcome: StepOutcome, logs: Mapping[str, Any]) -> None:
        """Take the parameters into the average, if some have changed."""
        before, self._counts = self._counts, update_counts(runner.optim_wrapper)
        if self._ema is not None and (outcome is StepOutcome.UPDATED or self._counts != before):
            self._ema.update()

    @contextlib.contextmanager
    def evaluating(self, runner: Run) -> Iterator[None]:
        """Put the average, if there is one, in the model's place, and then the trained parameters back."""
        if self._ema is None and self._saved is None:
            yield
            return
        with self._average_of(runner.model).swapped():
            yield

    def state_dict(self) -> dict[str, Any]:
        """Return the average."""
        if self._saved is not None:
            return dict(self._saved)
        return {} if self._ema is None else self._ema.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the average in ``state`` when training begins."""
        self._saved = state

    def weights(self) -> dict[str, Tensor]:
        """Return the average as a state dict of the model."""
        return weights_of(self.state_dict())

    def _average_of(self, model: nn.Module) -> EMA:
        if self._ema is None:
            self._ema = EMA(model, self.decay)
        if self._saved is not None:
            try:
                self._ema.load_state_dict(self._saved)
            except Exception as error:
                why = describe_error(error)
                raise CheckpointError(
                    f"what EMAHook kept in the checkpoint is no average of the model: {why}"
                ) from error
            self._saved = None
        return self._ema
