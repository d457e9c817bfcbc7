"""The optimizer steps first: a schedule that is stepped before it loses the values it begins with."""

from __future__ import annotations

import warnings
from contextvars import ContextVar
from typing import Any

from torch.optim import Optimizer

from optimzoo.errors import OptimzooWarning
from optimzoo.schedules.targets import own
from optimzoo.wrappers import BaseOptimWrapper

WATCHED: ContextVar[bool] = ContextVar("WATCHED", default=True)
"""Whether each schedule that is made sees to the order of the steps; one of a group leaves it to the group."""


class _Noted:
    """A hook that notes a step, of which a fused kernel may leave no other trace; copied optimizers take it along."""

    made = False

    def __call__(self, *_: Any) -> None:
        self.made = True


class FirstStep:
    """Tells whether an optimizer, or its wrapper, has done anything since a schedule was put on it."""

    def __init__(self, optimizer: Optimizer | BaseOptimWrapper) -> None:
        self._optimizer = optimizer
        self._trace = _trace(optimizer)
        self._replaced = vars(own(optimizer)).get("step")
        self._steps = _Noted()
        counts = hasattr(own(optimizer), "_optimizer_step_post_hooks")
        self._hook: Any = own(optimizer).register_step_post_hook(self._steps) if counts else None

    def forget(self) -> None:
        """Stop watching."""
        if self._hook is not None:
            self._hook.remove()

    @property
    def made(self) -> bool:
        """Whether the optimizer was stepped, or has accumulated or skipped something."""
        return self._steps.made or _trace(self._optimizer) != self._trace

    def check(self) -> None:
        """Warn if the optimizer was not stepped before the schedule is, or its ``step`` is another now."""
        self.forget()
        step = vars(own(self._optimizer)).get("step")
        if step is not self._replaced and not hasattr(step, "_wrapped_by_lr_sched"):
            warn(
                "optimizer.step was replaced after the schedule was made, so that it cannot be told whether it is "
                "called before schedule.step."
            )
        elif not self.made:
            warn("the schedule is stepped, and the optimizer has made no step yet:")


def warn(what: str) -> None:
    """Warn of a schedule that is stepped too early."""
    warnings.warn(
        f"{what} Call optimizer.step (or update_params) first and schedule.step after it, or the first values of the "
        "schedule are never used",
        OptimzooWarning,
        stacklevel=4,
    )


def update_count(optimizer: Any) -> int:
    """Return the updates that a wrapper has made; 0 for a bare optimizer, which does not count them."""
    return optimizer.update_count if isinstance(optimizer, BaseOptimWrapper) else 0


def _trace(optimizer: Any) -> tuple[int, ...]:
    """Return what changes when the optimizer, or its wrapper, does anything, or a GradScaler unscales its gradients."""
    itself = own(optimizer)
    params = [parameter for group in itself.param_groups for parameter in group.get("params", ())]
    versions = sum(tensor._version for p in params for tensor in (p, p.grad) if tensor is not None)
    return getattr(optimizer, "_inner_count", 0), update_count(optimizer), len(itself.state), versions
