"""An average of the weights over the updates, which is what gets validated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from optimzoo.errors import ConfigError
from optimzoo.run.hooks.base import Hook
from optimzoo.run.hooks.run import Run
from optimzoo.values import number
from optimzoo.wrappers import StepOutcome


class EMAHook(Hook):
    """Keeps an exponential moving average of the parameters, and validates with it.

    After each update, average = decay * average + (1 - decay) * parameters; the first update begins it. Parameters of
    less than 32 bits are averaged in float32, for what an update adds to the average is less than they can tell apart.
    Buffers are those of the model. The average is in every checkpoint, under ``hooks``, beside the trained weights. Of
    several averages, the last is validated.

    Args:
        decay: The share of the old average, from 0 to below 1.

    Attributes:
        averaged: The ``torch.optim.swa_utils.AveragedModel``; None before training.

    Raises:
        ConfigError: ``decay`` is out of range.
    """

    needs = ("whole",)

    def __init__(self, decay: float = 0.999) -> None:
        if number(decay, "decay", 0, 1) == 1:
            raise ConfigError("an average that keeps all of the old never changes; a number below 1 is wanted", "decay")
        self.decay = decay
        self.averaged: AveragedModel | None = None
        self._saved: Mapping[str, Any] | None = None

    def before_train(self, runner: Run) -> None:
        """Begin the average, or go on with that of the checkpoint.

        Raises:
            ConfigError: The optimizer averages the weights itself.
        """
        if runner.modes.optimizers:
            name = type(runner.modes.optimizers[0]).__name__
            raise ConfigError(f"EMAHook averages the weights, and {name} does so too: leave one out", "hooks")
        self._average_of(runner.model)

    def after_iter(self, runner: Run, outcome: StepOutcome, logs: Mapping[str, Any]) -> None:
        """Take the parameters into the average, if they have changed."""
        if self.averaged is not None and outcome is StepOutcome.UPDATED:
            self.averaged.update_parameters(_Like(runner.model, self.averaged))  # type: ignore[arg-type]

    @contextlib.contextmanager
    def evaluating(self, runner: Run) -> Iterator[None]:
        """Put the average, if there is one, in the model's place, and then the trained parameters back."""
        if self.averaged is None and self._saved is None:
            yield
            return
        trained = [p.detach().clone() for p in runner.model.parameters()]
        _put(runner.model, self._average_of(runner.model).module.parameters())
        try:
            yield
        finally:
            _put(runner.model, trained)

    def state_dict(self) -> dict[str, Any]:
        """Return the average."""
        if self._saved is not None:
            return dict(self._saved)
        return {} if self.averaged is None else self.averaged.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the average in ``state`` when training begins."""
        self._saved = state

    def _average_of(self, model: nn.Module) -> AveragedModel:
        if self.averaged is None:
            self.averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(self.decay))  # type: ignore[no-untyped-call]
            for parameter in self.averaged.parameters():
                if parameter.is_floating_point() and parameter.itemsize < 4:
                    parameter.data = parameter.data.float()
        if self._saved is not None:
            self.averaged.load_state_dict(self._saved)
            self._saved = None
        return self.averaged


class _Like:
    """The parameters of a model in the precision of its average."""

    def __init__(self, model: nn.Module, averaged: AveragedModel) -> None:
        self.buffers = model.buffers
        self._pairs = zip(model.parameters(), averaged.module.parameters())

    def parameters(self) -> Iterator[Tensor]:
        return (own.detach().to(average.dtype) for own, average in self._pairs)


@torch.no_grad()
def _put(model: nn.Module, values: Iterable[Tensor]) -> None:
    for parameter, value in zip(model.parameters(), values):
        parameter.copy_(value)
