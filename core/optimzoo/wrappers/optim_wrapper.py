"""The single-precision wrapper: accumulation, clipping, the update, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from optimzoo.calls import raise_for_exit
from optimzoo.errors import ConfigError, NonFiniteError, OptimzooError, Problems, shown
from optimzoo.flat import Flat
from optimzoo.groups.table import in_short
from optimzoo.names.zoo import needs_of
from optimzoo.optimizers.fused import FUSED, is_watched, look_before_fused
from optimzoo.optimizers.parts import each_of
from optimzoo.values import one_of
from optimzoo.wrappers.base import StepOutcome
from optimzoo.wrappers.curvature import EstimatesCurvature, SampledLoss
from optimzoo.wrappers.gradients import (
    CLIP_FUNCTIONS,
    backward_with_graph,
    clip,
    clipping,
    clips_of_rules,
    first_nonfinite,
    loss_problem,
    multiply,
    total_norm,
)
from optimzoo.wrappers.ownership import (
    apart_from,
    note,
    noted,
    refuse_a_step_past_others,
    refuse_the_prepared,
    warn_of_an_early_step,
    warn_without_gradients,
    with_grad,
)
from optimzoo.wrappers.windows import Windows

NONFINITE = ("ignore", "skip", "raise")


class OptimWrapper(Windows):
    """Runs scale, backward, clip, step and zero_grad in the right order, once each.

    Args:
        optimizer: The optimizer to wrap.
        accumulative_counts: Gradients of this many iterations make one update; each loss is divided by it.
        clip_grad: Arguments of ``torch.nn.utils.clip_grad_norm_``, or of ``clip_grad_value_``; which of the two, its
            ``type``, ``"norm"`` or ``"value"``, or else its keys say. With ``error_if_nonfinite=True``, a norm that is
            not finite is a NonFiniteError. With ``parts``, only the gradients of these parts of the optimizer count.
        nonfinite: What to do about NaN or infinite gradients: ``"ignore"``, ``"skip"`` the update, or ``"raise"`` a
            NonFiniteError that names the first bad parameter. The last two make the host wait for the device once
            per update.
        flatten: Whether the small parameters of each group are joined in buffers, over which the optimizer steps: the
            same numbers, in less time. For optimizers that move each number by itself (the fact ``elementwise``).
        compile: With ``flatten``, whether what the optimizer does in a step is compiled to one function, in its third
            step or so, which takes seconds. Numbers may differ in the last digits. Fused kernels stay as they are.

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
        flatten: bool = False,
        compile: bool = False,  # noqa: A002
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ConfigError(f"the wrapper wraps a torch.optim.Optimizer, got {shown(optimizer)}", "optimizer")
        refuse_the_prepared(optimizer)
        for part in each_of(optimizer):
            look_before_fused(part)
        with Problems() as problems:
            problems.catch(super().__init__, optimizer, accumulative_counts)
            self.nonfinite = problems.catch(one_of, nonfinite, NONFINITE, "nonfinite")
            clips = problems.catch(clipping, clip_grad, getattr(optimizer, "parts", ()))
        self.clip_func, self.clip_grad_kwargs, self._clipped = clips
        self._clips_of_rules = clips_of_rules(optimizer)
        if flatten and self._clips_of_rules:
            raise ConfigError("a rule clips the gradients of some parameters, which are joined with others", "flatten")
        self._outcome: StepOutcome | None = None
        self._grad_norm: Tensor | None = None
        self._own_step = False  # whether what clips is followed by nothing but the step
        needs = needs_of(optimizer)
        self._needs_two_passes = "two_passes" in needs
        self._needs_closure = self._needs_two_passes or "closure" in needs
        self._loss: Tensor | float | None = 0.0 if "loss" in needs else None  # of the window, for such an optimizer
        self._needs_curvature = "curvature" in needs
        self._needs_graph = "graph" in needs
        if self._needs_closure:
            self._refuse_to_skip()
            if self._accumulative_counts > 1:
                raise ConfigError("one that evaluates the loss itself cannot accumulate", "accumulative_counts")
        if one_of(compile, (False, True), "compile") and not flatten:
            raise ConfigError("only a step over buffers is compiled: set flatten = true beside it", "compile")
        self._flat = Flat(optimizer, compile) if one_of(flatten, (False, True), "flatten") else None

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: Mapping[str, Any] | None = None,
        zero_kwargs: Mapping[str, Any] | None = None,
        curvature: SampledLoss | None = None,
        weight: float | Tensor | None = None,
    ) -> StepOutcome:
        """Back-propagate ``loss`` and, when enough gradients are accumulated, update the parameters.

        Gradients that are there when a window of accumulation begins are dropped, with a warning if they are not those
        of another member of an ``OptimWrapperDict``: an update uses the gradients of its own losses.

        Args:
            loss: A scalar, unscaled.
            step_kwargs: Keyword arguments of ``optimizer.step``.
            zero_kwargs: Keyword arguments of ``optimizer.zero_grad``.
            curvature: For an optimizer that squares the gradient of a sampled loss (Sophia-G): returns that loss and
                its number of samples, as ``sampled_cross_entropy`` does. Called only when an estimate is due.
            weight: The number of samples or tokens that ``loss`` is the mean over. An update is then that of the mean
                over all of those in its window, and in all processes, rather than of the mean of the losses. A tensor
                is not waited for.

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
        self.accumulate(loss, weight, curvature)
        if not self.should_update():
            return self._accumulated()
        warn_without_gradients(self.optimizer)
        return self.use(step_kwargs, zero_kwargs)

    def accumulate(
        self, loss: Tensor, weight: float | Tensor | None = None, curvature: SampledLoss | None = None
    ) -> None:
        """Do the first half of ``update_params``: back-propagate ``loss`` into the gradients of its window."""
        began = self._begin_window()
        try:
            if self._needs_curvature and self.should_sync():
                optimizer = cast(EstimatesCurvature, self.optimizer)
                if optimizer.curvature_due():
                    optimizer.update_curvature(loss, curvature)
            scaled = self.scale_loss(self._weighted(loss, weight, began))
            if self._loss is not None:
                self._loss = scaled.detach() if began else self._loss + scaled.detach()
            self.backward(scaled)
        except Exception as error:
            self._window_open = not began
            problem = loss_problem(loss, error)
            if problem:
                raise OptimzooError(problem) from error
            raise

    def use(
        self, step_kwargs: Mapping[str, Any] | None = None, zero_kwargs: Mapping[str, Any] | None = None
    ) -> StepOutcome:
        """Do the second half of ``update_params``: update the parameters, and clear the gradients."""
        self._outcome = None
        self._apply_weights()
        try:
            self.step(**(step_kwargs or {}))
        except NonFiniteError:
            self._give_up_window()
            raise
        self.zero_grad(**(zero_kwargs or {}))
        self._window_open = False
        # A subclass's own step may not say what it did.
        return self._outcome or self._record(StepOutcome.UPDATED)

    def _give_up_window(self) -> None:
        """Leave the gradients to be looked at; whoever goes on begins another window, without them."""
        self._window_open = False
        note(with_grad(self.optimizer))

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Back-propagate ``loss`` and count the iteration.

        Args:
            loss: A scalar, scaled by ``scale_loss`` if gradients are accumulated.
            **kwargs: Keyword arguments of ``Tensor.backward``.
        """
        self._begin_window()
        apart = nullcontext()
        if self._others:
            held, others = (
                [w.optimizer for w in self._others if w._window_open is is_open] for is_open in (True, False)
            )
            apart = apart_from(held, others, self._scales)  # type: ignore[assignment]
        with apart:
            (backward_with_graph if self._needs_graph else Tensor.backward)(loss, **kwargs)
        self._inner_count += 1

    def step(self, **kwargs: Any) -> StepOutcome:
        """Clip the gradients and update the parameters.

        Args:
            **kwargs: Keyword arguments of ``optimizer.step``. A ``closure`` has its gradients clipped after every
                evaluation.
        """
        self._check_step()
        closure = kwargs.get("closure")
        self._own_step = closure is None
        if closure is not None:
            self._refuse_to_skip()
            kwargs["closure"] = self._prepared_after(closure)
            if self._needs_two_passes:
                kwargs["closure"]()  # the gradients of the first point; the optimizer evaluates the second
        elif self._needs_closure:
            raise OptimzooError(
                f"{_name(self.optimizer)} evaluates the loss itself: call wrapper.step(closure=closure)"
            )
        else:
            self._refuse_what_is("scaled")
            if not self._prepare_grads():
                return self._record(StepOutcome.SKIPPED)
        return self._record(self._update(kwargs))

    def _check_step(self) -> None:
        refuse_a_step_past_others(self.optimizer, self._window_open)
        if self._accumulative_counts > 1 and not (self._window_open and self.should_update()):
            warn_of_an_early_step(self._accumulative_counts)

    def _refuse_what_is(self, *kinds: str) -> None:
        """Refuse to step by gradients that other members left, where the loss scales are not one."""
        if self._others and not self._window_open and any(noted(p) in kinds for p in with_grad(self.optimizer)):
            raise OptimzooError(
                "these gradients are those of another member's loss, not under the scale of this one's: give the loss "
                "to update_params of the OptimWrapperDict, or use dtype='bfloat16'"
            )

    def zero_grad(self, **kwargs: Any) -> None:
        """Clear the gradients; keyword arguments are those of ``optimizer.zero_grad``."""
        try:
            self.optimizer.zero_grad(**kwargs)
        except SystemExit as error:
            raise_for_exit(error, f"{_name(self.optimizer)}.zero_grad")
        self._window_open = False
        if not kwargs.get("set_to_none", True):
            note(with_grad(self.optimizer), "zeros")

    @property
    def grad_norm(self) -> float | None:
        """The norm of the gradients before the last clipping, or None. Reading it waits for the device."""
        if self._grad_norm is None:
            return None
        whole = getattr(self._grad_norm, "full_tensor", None)  # of a DTensor, the norm of sharded parameters
        return float(self._grad_norm if whole is None else whole())

    def __repr__(self) -> str:
        counts = f"_accumulative_counts: {self._accumulative_counts}"
        return f"Type: {type(self).__name__}\n{counts}\noptimizer: \n{in_short(self)}\n"

    def _prepare_grads(self) -> bool:
        """Apply the policy on non-finite gradients, then clip; return whether the update may go on."""
        if self.nonfinite != "ignore":
            bad = first_nonfinite(self.optimizer, self._with_gradients())
            if bad is not None:
                if self.nonfinite == "raise":
                    raise self._nonfinite_error(bad)
                return False
        if self.clip_grad_kwargs is not None or self._clips_of_rules:
            self._clip_grad()
        return True

    def _prepared_after(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def evaluate() -> Any:
            loss = closure()
            self._prepare_grads()
            return loss

        return evaluate

    def _clip_grad(self) -> None:
        for most, of_rule in self._clips_of_rules:
            clip(CLIP_FUNCTIONS["norm"], [p for p in of_rule if p.grad is not None], {"max_norm": most})
        if self.clip_func is None or self.clip_grad_kwargs is None:
            return
        params = self._with_gradients()
        if self._clipped is not None:
            groups = [group for group in self.optimizer.param_groups if group["part"] in self._clipped]
            params = [p for group in groups for p in group["params"] if p.grad is not None]
        if not params:
            return
        try:
            if self.clip_func is not CLIP_FUNCTIONS["norm"]:
                clip(self.clip_func, params, self.clip_grad_kwargs)
            elif not self._clip_at_once(params, **self.clip_grad_kwargs):
                params = with_grad(self.optimizer) if self._clipped is None else params
                self._grad_norm = clip(self.clip_func, params, self.clip_grad_kwargs)
        except RuntimeError as error:
            bad = self.clip_grad_kwargs.get("error_if_nonfinite") and first_nonfinite(self.optimizer, params)
            if bad:
                raise self._nonfinite_error(bad) from error
            raise

    def _clip_at_once(
        self, params: list[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False, **_: Any
    ) -> bool:
        """Clip by the norm without a look at each gradient: in the kernel of the step, or over buffers, if it can be.

        A kernel divides by a number where torch multiplies by its inverse, so the last bits may differ.
        """
        kinds = {(type(p.grad), p.grad.layout, p.grad.dtype, p.grad.device) for p in params if p.grad is not None}
        in_kernel = (
            self._own_step
            and type(self.optimizer) in FUSED
            and all(group.get("fused") for group in self.optimizer.param_groups)
            and params[0].dtype is torch.float32
            and not is_watched(self.optimizer, self._flat)
        )
        plain = len(kinds) == 1 and kinds.pop()[:2] == (Tensor, torch.strided)
        flat = self._flat if self._own_step and self._clipped is None else None
        if not plain or norm_type != 2 or (flat is None and not in_kernel):
            return False
        norm = total_norm(params) if flat is None else flat.norm()
        if error_if_nonfinite and not bool(norm.isfinite()):
            raise RuntimeError(f"the norm of the gradients is {float(norm)}")
        factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        if in_kernel:
            self.optimizer.grad_scale = factor.reciprocal()  # type: ignore[attr-defined]
        else:
            multiply(params, factor)
        self._grad_norm = norm
        return True

    def _update(self, kwargs: Mapping[str, Any]) -> StepOutcome:
        if self._loss is not None:
            kwargs = {"closure": lambda: self._loss, **kwargs}
        flat = None if kwargs.get("closure") else self._flat
        try:
            (flat or self.optimizer).step(**kwargs)
        except SystemExit as error:
            raise_for_exit(error, f"{_name(self.optimizer)}.step")
        finally:
            self._own_step = False
            vars(self.optimizer).pop("grad_scale", None)
        return StepOutcome.UPDATED

    def _with_gradients(self) -> list[Tensor]:
        if self._flat is None or not self._own_step:  # a step by a closure goes parameter by parameter
            return super()._with_gradients()
        return self._flat.gather()

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
            f"(iteration {self._inner_count}). Look at the batch, lower the rate, clip, or set nonfinite='skip'"
        )


def _name(optimizer: Optimizer) -> str:
    return type(optimizer).__name__
