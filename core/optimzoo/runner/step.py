"""One training iteration: from a batch to what it did to the parameters and what to log of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from optimzoo.errors import ConfigError
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict, StepOutcome
from optimzoo.wrappers.curvature import SampledLoss
from optimzoo.zoo import needs_of

Logs = Mapping[str, Any]
LossFunction = Callable[[nn.Module, Any], Any]


class TrainStep:
    """Runs an iteration by the model's own ``train_step``, or by a loss function.

    Args:
        model: The model.
        optim_wrapper: The wrapper that updates it.
        loss: A function of the model and a batch; without it the model drives itself.
        curvature: A function of the model and a batch that returns a loss on sampled labels and their number.

    Raises:
        ConfigError: There is neither a loss nor a ``train_step``.
    """

    def __init__(
        self,
        model: nn.Module,
        optim_wrapper: BaseOptimWrapper | OptimWrapperDict,
        loss: LossFunction | None,
        curvature: Callable[[nn.Module, Any], tuple[Tensor, int]] | None,
    ) -> None:
        self.model = model
        self.optim_wrapper = optim_wrapper
        self._loss = loss
        self._curvature = curvature
        if loss is None:
            if not hasattr(model, "train_step"):
                raise ConfigError(
                    f"{type(model).__name__} has no train_step(data, optim_wrapper), so a function of the model and a "
                    "batch that returns the loss is needed",
                    "loss",
                )
            self._run = self._let_the_model_drive
        elif "closure" in needs_of(optim_wrapper.optimizer):
            self._run = self._with_closure
        else:
            self._run = self._with_loss

    def __call__(self, batch: Any) -> tuple[StepOutcome, Logs]:
        """Run one iteration; the loss is among the logged values as ``loss``, where it is known."""
        before = self._counts()
        logs = self._run(batch)
        updated, skipped = (now > then for now, then in zip(self._counts(), before))
        if skipped:
            return StepOutcome.SKIPPED, logs
        return StepOutcome.UPDATED if updated else StepOutcome.ACCUMULATING, logs

    def loss(self, batch: Any) -> Tensor:
        """Return the loss of a batch."""
        return parse_loss(self._loss(self.model, batch))[0]  # type: ignore[misc]

    def _counts(self) -> tuple[int, int]:
        return getattr(self.optim_wrapper, "update_count", 0), getattr(self.optim_wrapper, "skipped_count", 0)

    def _let_the_model_drive(self, batch: Any) -> Logs:
        return _detached(self.model.train_step(batch, self.optim_wrapper) or {})  # type: ignore[operator]

    def _with_loss(self, batch: Any) -> Logs:
        with self.optim_wrapper.optim_context(self.model):
            loss, logs = parse_loss(self._loss(self.model, batch))  # type: ignore[misc]
        if self._curvature is None:
            self.optim_wrapper.update_params(loss)
        else:
            self.optim_wrapper.update_params(loss, curvature=self._sampled(batch))  # type: ignore[call-arg]
        return logs

    def _sampled(self, batch: Any) -> SampledLoss:
        return lambda: self._curvature(self.model, batch)  # type: ignore[misc]

    def _with_closure(self, batch: Any) -> Logs:
        first: dict[str, Any] = {}

        def closure() -> Tensor:
            self.optim_wrapper.zero_grad()
            loss, logs = parse_loss(self._loss(self.model, batch))  # type: ignore[misc]
            loss.backward()  # type: ignore[no-untyped-call]
            if not first:
                first.update(logs)
            return loss

        self.optim_wrapper.step(closure=closure)
        return first


def parse_loss(result: Any) -> tuple[Tensor, dict[str, Any]]:
    """Return the scalar to back-propagate, and the values to log.

    Args:
        result: A scalar tensor, or a dict as mmengine's models return: the entries with ``loss`` in their names, each a
            tensor or a list of tensors, are summed; the others are logged.

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(result, Tensor):
        if result.numel() != 1:
            raise ConfigError(f"it must return a scalar, got the shape {tuple(result.shape)}; take its mean", "loss")
        return result, {"loss": result.detach()}
    if not isinstance(result, Mapping):
        raise ConfigError(f"it must return a scalar tensor or a dict of them, got {type(result).__name__}", "loss")
    logs: dict[str, Any] = {}
    for name, value in result.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        tensors = all(isinstance(v, Tensor) for v in values)
        logs[name] = torch.stack([v.mean() for v in values]).sum() if tensors else value
    parts = [value for name, value in logs.items() if "loss" in name and isinstance(value, Tensor)]
    if not parts:
        raise ConfigError(f"the dict it returned has no tensor with 'loss' in its name: {', '.join(logs)}", "loss")
    loss = torch.stack(parts).sum()
    return loss, _detached({**logs, "loss": loss})


def _detached(logs: Logs) -> dict[str, Any]:
    """Return the values without their graphs, which would keep every activation alive until they are logged."""
    return {name: value.detach() if isinstance(value, Tensor) else value for name, value in logs.items()}
