"""One training iteration: from a batch to what it did to the parameters and what to log of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from optimzoo.errors import ConfigError, OptimzooWarning
from optimzoo.names.zoo import needs_of
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict, StepOutcome
from optimzoo.wrappers.members import by_prefix, update_counts

Logs = Mapping[str, Any]
LossFunction = Callable[[nn.Module, Any], Any]

PATIENCE = 50
"""Iterations, or two windows of accumulation if these are longer, that a model may go without an update unwarned."""


class TrainStep:
    """Runs an iteration by the model's own ``train_step``, or by a loss function.

    Args:
        model: The model.
        optim_wrapper: The wrapper that updates it.
        loss: A function of the model and a batch; without it the model drives itself.
        curvature: A function of the model and a batch that returns a loss on sampled labels and their number.

    Raises:
        ConfigError: There is neither a loss nor a ``train_step``, or several optimizers cannot share the loss.
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
        self._members = by_prefix(optim_wrapper)
        self._loss = loss
        self._curvature = curvature
        self._iterations = self._steps = 0
        if loss is None:
            if not hasattr(model, "train_step"):
                raise ConfigError(
                    f"{type(model).__name__} has no train_step(data, optim_wrapper), so a function of the model and a "
                    "batch that returns the loss is needed",
                    "loss",
                )
            for member in self._members.values():
                member.optimizer.register_step_post_hook(self._count_step)
            self._run = self._let_the_model_drive
        elif isinstance(optim_wrapper, OptimWrapperDict):
            problem = optim_wrapper.why_not_together()
            if problem:
                raise ConfigError(
                    f"the optimizers {', '.join(optim_wrapper)} cannot share it, for they {problem}: leave it out, "
                    "and give the model a method train_step(data, optim_wrapper) that updates each",
                    "loss",
                )
            self._run = self._with_loss_for_all
        elif not needs_of(optim_wrapper.optimizer).isdisjoint(("closure", "two_passes")):
            self._run = self._with_closure
        else:
            self._run = self._with_loss

    def __call__(self, batch: Any) -> tuple[StepOutcome, Logs]:
        """Run one iteration.

        Among the logged values are the loss as ``loss``, where it is known, after an update the norm of the gradients
        that were clipped as ``grad_norm``, and once updates were skipped, their number as ``skipped``.
        """
        before = update_counts(self.optim_wrapper)
        outcome, logs = self._run(batch)
        return outcome, logs if outcome is StepOutcome.ACCUMULATING else {**logs, **self._of_update(before), **logs}

    def _of_update(self, before: Mapping[str, int]) -> Logs:
        found: dict[str, float | Tensor] = {}
        for prefix, member in self._members.items():
            norm = getattr(member, "_grad_norm", None)
            if norm is not None and member.update_count > before[prefix]:  # in several processes, perhaps of a share
                found[f"{prefix}grad_norm"] = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
            if member.skipped_count:
                found[f"{prefix}skipped"] = member.skipped_count
        return found

    def begin(self, done: int, length: int) -> None:
        """Tell the wrappers how many iterations are done and how many there will be (-1 if unknown)."""
        together = [self.optim_wrapper] if self._loss is None else self._members.values()
        for wrapper in together:
            wrapper.initialize_count_status(self.model, done, length)

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Return the loss of ``model`` on a batch."""
        return self._evaluate(model, batch)[0]

    def _evaluate(self, model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Any]]:
        return parse_loss(self._loss(model, batch), name_of(self._loss))  # type: ignore[misc]

    def _let_the_model_drive(self, batch: Any) -> tuple[StepOutcome, Logs]:
        steps, skipped = self._steps, self._skipped()
        returned = self.model.train_step(batch, self.optim_wrapper)  # type: ignore[operator]
        logs = scalars({} if returned is None else returned, f"{type(self.model).__name__}.train_step", "model")
        self._iterations += 1
        if self._skipped() > skipped:
            return StepOutcome.SKIPPED, logs
        if not self._steps:
            self._warn_of_no_update()
        return StepOutcome.UPDATED if self._steps > steps else StepOutcome.ACCUMULATING, logs

    def _with_loss(self, batch: Any) -> tuple[StepOutcome, Logs]:
        with self.optim_wrapper.optim_context(self.model):
            loss, logs = self._evaluate(self.model, batch)
        more: dict[str, Any] = {}
        if self._curvature is not None:
            more["curvature"] = partial(self._curvature, self.model, batch)
        outcome = self.optim_wrapper.update_params(loss, **more)
        # A wrapper written for mmengine returns nothing.
        return outcome if isinstance(outcome, StepOutcome) else StepOutcome.UPDATED, logs

    def _with_loss_for_all(self, batch: Any) -> tuple[StepOutcome, Logs]:
        with self.optim_wrapper.optim_context(self.model):
            loss, logs = self._evaluate(self.model, batch)
        outcomes = self.optim_wrapper.update_params(loss).values()
        worst = StepOutcome.SKIPPED if StepOutcome.SKIPPED in outcomes else next(iter(outcomes))
        return worst, logs

    def _with_closure(self, batch: Any) -> tuple[StepOutcome, Logs]:
        first: dict[str, Any] = {}

        def closure() -> Tensor:
            self.optim_wrapper.zero_grad()
            with self.optim_wrapper.optim_context(self.model):
                loss, logs = self._evaluate(self.model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            if not first:
                first.update(logs)
            return loss

        self.optim_wrapper.step(closure=closure)
        return StepOutcome.UPDATED, first

    def _count_step(self, *_: Any) -> None:
        self._steps += 1

    def _skipped(self) -> int:
        return sum(member.skipped_count for member in self._members.values())

    def _warn_of_no_update(self) -> None:
        windows = [getattr(member, "_accumulative_counts", 1) for member in self._members.values()]
        if self._iterations == max(PATIENCE, 2 * max(windows)):
            warnings.warn(
                f"{type(self.model).__name__}.train_step has not updated a parameter in {self._iterations} iterations; "
                "it is to call optim_wrapper.update_params(loss)",
                OptimzooWarning,
                stacklevel=2,
            )


def parse_loss(result: Any, source: str) -> tuple[Tensor, dict[str, Any]]:
    """Return the scalar to back-propagate, and the values to log.

    Args:
        result: A scalar tensor, or a dict as mmengine's models return: the entries with ``loss`` in their names, each a
            tensor or a list of tensors, are summed; the others are logged.
        source: The function that returned it, for the message.

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(result, Tensor):
        if result.numel() != 1:
            raise ConfigError(
                f"{source} must return a scalar, got the shape {tuple(result.shape)}; take its mean", "loss"
            )
        return result.reshape(()), {"loss": result.detach().reshape(())}
    if not isinstance(result, Mapping):
        raise ConfigError(
            f"{source} must return a scalar tensor or a dict of them, got {type(result).__name__}", "loss"
        )
    logs: dict[str, Any] = {}
    for name, value in result.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        if any(isinstance(v, Tensor) and v.numel() == 0 for v in values):
            raise ConfigError(f"{source} returned an empty tensor as {name!r}, which has no mean", "loss")
        tensors = values and all(isinstance(v, Tensor) for v in values)
        logs[name] = torch.stack([v.mean(dtype=_floating(v)) for v in values]).sum() if tensors else value
    parts = [value for name, value in logs.items() if "loss" in name and isinstance(value, Tensor)]
    if not parts:
        raise ConfigError(
            f"the dict that {source} returned has no tensor with 'loss' in its name: {list(logs)}", "loss"
        )
    loss = torch.stack(parts).sum()
    return loss, scalars({**logs, "loss": loss}, source, "loss")


def _floating(value: Tensor) -> torch.dtype:
    return value.dtype if value.is_floating_point() else torch.get_default_dtype()


def scalars(values: Any, source: str, path: str, strict: bool = False) -> dict[str, Any]:
    """Return a dict of values to log, its tensors as scalars without their graphs.

    Args:
        values: What a function of the user's returned.
        source: That function, for the message.
        path: Where in the config it stands.
        strict: Whether anything but numbers is an error, rather than not for the log.

    Raises:
        ConfigError: It is not a dict, or holds a tensor that is not one number.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source} must return a dict of values, got {type(values).__name__}", path)
    for name, value in values.items():
        if isinstance(value, Tensor) and value.numel() != 1:
            raise ConfigError(f"{source} returned {name!r} with the shape {tuple(value.shape)}, not one number", path)
        if strict and not isinstance(value, (Tensor, Real)):
            raise ConfigError(f"{source} returned {name!r} as {type(value).__name__}, not a number", path)
    # A graph would keep every activation alive until its value is logged.
    return {k: v.detach().reshape(()) if isinstance(v, Tensor) else v for k, v in values.items()}


def name_of(function: Any) -> str:
    """Return what a message calls a function of the user's."""
    return getattr(function, "__qualname__", repr(function))
