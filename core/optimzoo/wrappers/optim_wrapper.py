"""The single-precision wrapper: accumulation, clipping, the update, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from torch import Tensor, nn
from torch.optim import Optimizer

from optimzoo.errors import ConfigError, NonFiniteError, OptimzooError
from optimzoo.names.zoo import needs_of
from optimzoo.values import one_of, whole_number
from optimzoo.wrappers.base import BaseOptimWrapper, StepOutcome
from optimzoo.wrappers.curvature import EstimatesCurvature, SampledLoss
from optimzoo.wrappers.gradients import clip, clipping, first_nonfinite

logger = logging.getLogger("optimzoo")

NONFINITE = ("ignore", "skip", "raise")


class OptimWrapper(BaseOptimWrapper):
    """Runs scale, backward, clip, step and zero_grad in the right order, once each.

    Args:
        optimizer: The optimizer to wrap.
        accumulative_counts: Gradients of this many iterations make one update; each loss is divided by it.
        clip_grad: Arguments of ``torch.nn.utils.clip_grad_norm_``, or of ``clip_grad_value_``; which of the two, its
            ``type``, ``"norm"`` or ``"value"``, or else its keys say. With ``error_if_nonfinite=True``, a norm that is
            not finite is a NonFiniteError.
        nonfinite: What to do about NaN or infinite gradients: ``"ignore"``, ``"skip"`` the update, or ``"raise"`` a
            NonFiniteError that names the first bad parameter. The last two make the host wait for the device once
            per update.

    Raises:
        ConfigError: An argument is wrong, or the optimizer cannot honour it.

    Examples:
        >>> import torch
        >>> from optimzoo import OptimWrapper
        >>> model = torch.nn.Linear(1, 1)
        >>> wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=2)
        >>> for x in torch.ones(4, 1):
        ...     with wrapper.optim_context(model):
        ...         loss = model(x).square().mean()
        ...     print(wrapper.update_params(loss).value)
        accumulating
        updated
        accumulating
        updated
    """

    def __init__(
        self,
        optimizer: Optimizer,
        accumulative_counts: int = 1,
        clip_grad: Mapping[str, Any] | None = None,
        nonfinite: str = "ignore",
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ConfigError(f"the wrapper wraps a torch.optim.Optimizer, got {optimizer!r}", "optimizer")
        self._accumulative_counts = whole_number(accumulative_counts, "accumulative_counts", 1)
        self.nonfinite = one_of(nonfinite, NONFINITE, "nonfinite")
        super().__init__(optimizer)
        self.clip_func, self.clip_grad_kwargs = clipping(clip_grad)
        self._inner_count = 0
        self._max_counts = -1
        self._remainder_counts = -1
        self._outcome: StepOutcome | None = None
        self._grad_norm: Tensor | None = None
        needs = needs_of(optimizer)
        self._needs_closure = "closure" in needs
        self._needs_curvature = "curvature" in needs
        if self._needs_closure and accumulative_counts > 1:
            raise ConfigError(
                f"{_name(optimizer)} evaluates the loss itself and cannot accumulate", "accumulative_counts"
            )
        if self._needs_closure:
            self._refuse_to_skip()

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: Mapping[str, Any] | None = None,
        zero_kwargs: Mapping[str, Any] | None = None,
        curvature: SampledLoss | None = None,
    ) -> StepOutcome:
        """Back-propagate ``loss`` and, when enough gradients are accumulated, update the parameters.

        Args:
            loss: A scalar, unscaled.
            step_kwargs: Keyword arguments of ``optimizer.step``.
            zero_kwargs: Keyword arguments of ``optimizer.zero_grad``.
            curvature: For an optimizer that squares the gradient of a sampled loss (Sophia-G): returns that loss and
                its number of samples, as ``sampled_cross_entropy`` does. Called only when an estimate is due.

        Returns:
            What happened to the parameters.

        Raises:
            OptimzooError: ``loss`` cannot be back-propagated, or the optimizer wants a closure.
            NonFiniteError: A gradient is not finite, and ``nonfinite`` or ``error_if_nonfinite`` makes that an error.
        """
        if self._needs_closure:
            raise OptimzooError(
                f"{_name(self.optimizer)} evaluates the loss several times per step: instead of update_params(loss), "
                "call wrapper.step(closure=closure), where closure() clears the gradients, computes the loss, calls "
                "loss.backward() and returns the loss"
            )
        try:
            if self._needs_curvature and self.should_sync():
                optimizer = cast(EstimatesCurvature, self.optimizer)
                if optimizer.curvature_due():
                    optimizer.update_curvature(loss, curvature)
            self.backward(self.scale_loss(loss))
        except Exception as error:
            problem = _loss_problem(loss)
            if problem:
                raise OptimzooError(problem) from error
            raise
        if not self.should_update():
            return StepOutcome.ACCUMULATING
        self._outcome = None
        self.step(**(step_kwargs or {}))
        self.zero_grad(**(zero_kwargs or {}))
        # A subclass's own step may not say what it did.
        return self._outcome or self._record(StepOutcome.UPDATED)

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Back-propagate ``loss`` and count the iteration.

        Args:
            loss: A scalar, scaled by ``scale_loss`` if gradients are accumulated.
            **kwargs: Keyword arguments of ``Tensor.backward``.
        """
        loss.backward(**kwargs)  # type: ignore[no-untyped-call]
        self._inner_count += 1

    def step(self, **kwargs: Any) -> StepOutcome:
        """Clip the gradients and update the parameters.

        Args:
            **kwargs: Keyword arguments of ``optimizer.step``. A ``closure`` has its gradients clipped after every
                evaluation.
        """
        closure = kwargs.get("closure")
        if closure is not None:
            self._refuse_to_skip()
            kwargs["closure"] = self._prepared_after(closure)
        elif self._needs_closure:
            raise OptimzooError(
                f"{_name(self.optimizer)} evaluates the loss itself: call wrapper.step(closure=closure)"
            )
        elif not self._prepare_grads():
            return self._record(StepOutcome.SKIPPED)
        return self._record(self._update(kwargs))

    def zero_grad(self, **kwargs: Any) -> None:
        """Clear the gradients; keyword arguments are those of ``optimizer.zero_grad``."""
        self.optimizer.zero_grad(**kwargs)

    def optim_context(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Return the context for the forward pass; processes do not exchange gradients until these are used.

        Args:
            model: The model, or DistributedDataParallel around it, or the root of FSDP2's ``fully_shard``, which is
                told whether the coming backward pass exchanges gradients.
        """
        sync = self.should_sync()
        if self._accumulative_counts > 1 and hasattr(model, "set_requires_gradient_sync"):
            model.set_requires_gradient_sync(sync)  # type: ignore[operator]
        elif not sync and hasattr(model, "no_sync"):
            return model.no_sync()  # type: ignore[operator, no-any-return]
        return nullcontext()

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Tell the wrapper how long the run is, so that a last, smaller window of gradients is used and weighted right.

        Args:
            model: The model in training.
            init_counts: Iterations already done.
            max_counts: Iterations in the whole run; -1 if unknown.
        """
        self._inner_count = init_counts
        self._max_counts = max_counts
        self._remainder_counts = max_counts % self._accumulative_counts
        if self._accumulative_counts > 1:
            lost = all(p.grad is None for group in self.optimizer.param_groups for p in group["params"])
            if init_counts % self._accumulative_counts != 0 and lost:
                logger.warning("resumed inside an accumulation window; its first gradients are lost")
            if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
                logger.warning("the model has batch norm, which sees one iteration at a time, not the whole update")

    def should_update(self) -> bool:
        """Whether the gradients accumulated so far make an update. Asked after the backward pass."""
        return self._inner_count % self._accumulative_counts == 0 or self._inner_count == self._max_counts

    def should_sync(self) -> bool:
        """Whether the coming backward pass completes an update. Asked before the forward pass."""
        count = self._inner_count + 1
        return count % self._accumulative_counts == 0 or count == self._max_counts

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Divide ``loss`` by the number of iterations whose gradients make the current update."""
        factor = self._accumulative_counts
        if factor == 1:
            return loss
        if self._max_counts != -1 and self._inner_count >= self._max_counts - self._remainder_counts:
            factor = self._remainder_counts
            if factor <= 0:
                raise OptimzooError(
                    f"iteration {self._inner_count + 1} is past the end, {self._max_counts}, that was given to "
                    "initialize_count_status"
                )
        return loss / factor

    @property
    def inner_count(self) -> int:
        """Iterations done, that is, backward passes."""
        return self._inner_count

    @property
    def grad_norm(self) -> float | None:
        """The norm of the gradients before the last clipping, or None. Reading it waits for the device."""
        if self._grad_norm is None:
            return None
        whole = getattr(self._grad_norm, "full_tensor", None)  # of a DTensor, the norm of sharded parameters
        return float(self._grad_norm if whole is None else whole())

    def __repr__(self) -> str:
        counts = f"_accumulative_counts: {self._accumulative_counts}"
        return f"Type: {type(self).__name__}\n{counts}\noptimizer: \n{self.optimizer!r}\n"

    def _prepare_grads(self) -> bool:
        """Apply the policy on non-finite gradients, then clip; return whether the update may go on."""
        if self.nonfinite != "ignore":
            bad = first_nonfinite(self.optimizer)
            if bad is not None:
                if self.nonfinite == "raise":
                    raise self._nonfinite_error(bad)
                return False
        if self.clip_grad_kwargs is not None:
            self._clip_grad()
        return True

    def _prepared_after(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def evaluate() -> Any:
            loss = closure()
            self._prepare_grads()
            return loss

        return evaluate

    def _clip_grad(self) -> None:
        with_grad = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not with_grad or self.clip_func is None or self.clip_grad_kwargs is None:
            return
        try:
            self._grad_norm = clip(self.clip_func, with_grad, self.clip_grad_kwargs)
        except RuntimeError as error:
            bad = self.clip_grad_kwargs.get("error_if_nonfinite") and first_nonfinite(self.optimizer)
            if bad:
                raise self._nonfinite_error(bad) from error
            raise

    def _update(self, kwargs: Mapping[str, Any]) -> StepOutcome:
        self.optimizer.step(**kwargs)
        return StepOutcome.UPDATED

    def _record(self, outcome: StepOutcome) -> StepOutcome:
        self._outcome = outcome
        if outcome is StepOutcome.UPDATED:
            self.update_count += 1
        else:
            self.skipped_count += 1
        return outcome

    def _refuse_to_skip(self) -> None:
        if self.nonfinite == "skip":
            raise ConfigError("a step that evaluates the loss itself cannot be skipped", "nonfinite")

    def _nonfinite_error(self, name: str) -> NonFiniteError:
        return NonFiniteError(
            f"the gradient of {name!r} is not finite in update {self.update_count + self.skipped_count + 1} "
            f"(iteration {self._inner_count}). Lower the learning rate, clip, or set nonfinite='skip'"
        )


def _loss_problem(loss: Any) -> str:
    """Return why ``loss`` cannot be back-propagated, or nothing."""
    if not isinstance(loss, Tensor):
        return f"the loss is a tensor that the model computed, got {loss!r}"
    if loss.numel() != 1:
        return f"the loss is a scalar, got the shape {tuple(loss.shape)}; take its mean or sum"
    if not loss.requires_grad:
        return "the loss does not depend on a parameter that requires a gradient, or was computed under torch.no_grad()"
    return ""


def _name(optimizer: Optimizer) -> str:
    return type(optimizer).__name__
