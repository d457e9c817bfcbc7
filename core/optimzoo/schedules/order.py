"""The optimizer steps first: a schedule that is stepped before it loses the values it begins with."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

from torch.optim import Optimizer

from optimzoo.errors import OptimzooWarning
from optimzoo.schedules.targets import HyperParam, own
from optimzoo.wrappers import BaseOptimWrapper

WATCHED: ContextVar[bool] = ContextVar("WATCHED", default=True)
"""Whether each schedule that is made sees to the order of the steps; one of a group leaves it to the group."""


class _Noted:
    """A hook that notes a step, of which a fused kernel may leave no other trace; copied optimizers take it along."""

    made = False

    def __call__(self, *_: Any) -> None:
        self.made = True


class FirstStep:
    """Tells what an optimizer, or its wrapper, has done since schedules were put on it.

    Args:
        optimizer: The optimizer or wrapper.
        params: What is scheduled.
    """

    def __init__(self, optimizer: Optimizer | BaseOptimWrapper, params: Iterable[HyperParam]) -> None:
        self._optimizer = optimizer
        self._groups = own(optimizer).param_groups
        self._held = {param: self._values(param) for param in params}
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

    def _values(self, param: HyperParam) -> list[float]:
        return [float(param.get(group)) for group in own(self._optimizer).param_groups if param.key in group]

    def check_state(self) -> None:
        """Warn if the optimizer's state was loaded; that of the schedules was not, where this is called."""
        if own(self._optimizer).param_groups is self._groups:  # loading puts another list in place
            return
        for param, held in self._held.items():
            pairs = [pair for pair in zip(self._values(param), held) if pair[0] != pair[1]]
            if pairs:
                now, then = pairs[0]
                warnings.warn(
                    "the optimizer's state was loaded after the schedule was built, and the schedule's was not: it "
                    f"begins anew, from a {param} of {now:g} instead of {then:g}. Load the schedule's state too, "
                    f"or set {param} in the groups and build the schedule then",
                    OptimzooWarning,
                    stacklevel=4,
                )

    def check(self) -> None:
        """Warn if the optimizer was not stepped before the schedule is, or its ``step`` is another now."""
        self.forget()
        self.check_state()
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
    """Return the updates that a wrapper has made itself; 0 for a bare optimizer, which does not count them."""
    return optimizer.update_count - optimizer._updates_loaded if isinstance(optimizer, BaseOptimWrapper) else 0


def _trace(optimizer: Any) -> tuple[int, ...]:
    """Return what changes when the optimizer, or its wrapper, does anything, or a GradScaler unscales its gradients."""
    itself = own(optimizer)
    params = [parameter for group in itself.param_groups for parameter in group.get("params", ())]
    versions = sum(tensor._version for p in params for tensor in (p, p.grad) if tensor is not None)
    return getattr(optimizer, "_inner_count", 0), update_count(optimizer), len(itself.state), versions
