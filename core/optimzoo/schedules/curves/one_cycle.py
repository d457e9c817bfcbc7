"""The 1cycle policy, which sets the value whatever it was."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer

from optimzoo.errors import ConfigError
from optimzoo.schedules.base import ParamScheduler
from optimzoo.schedules.hyperparam import one_per_group
from optimzoo.schedules.mixins import LRSchedulerMixin
from optimzoo.schedules.windows import amount, horizon, step_count
from optimzoo.values import number, one_of
from optimzoo.wrappers import BaseOptimWrapper


@dataclass(repr=False, eq=False)
class OneCycleParamScheduler(ParamScheduler):
    """Up to a peak and down to nearly nothing (the 1cycle policy).

    Over ``total_steps`` steps the value goes from ``eta_max / div_factor`` to ``eta_max``, and on to
    ``eta_max / div_factor / final_div_factor``. It sets the value, whatever other schedules of the key do.

    Args:
        eta_max: The peak, for all groups or one for each (the last is for groups that are added later too); by default
            each group's own value.
        total_steps: The length; the window's by default.
        pct_start: The fraction of the steps, from 0 to 1, in which the value rises.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        div_factor: What the peak is divided by at the beginning.
        final_div_factor: What the first value is divided by at the end.
        three_phase: Whether the value falls to where it began in as many steps as it rose, before it falls further.

    Reference:
        Smith and Topin, *Super-Convergence*, https://arxiv.org/abs/1708.07120.
    """

    eta_max: float | Sequence[float] | None = None
    total_steps: int | None = None
    pct_start: float = 0.3
    anneal_strategy: str = "cos"
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False

    step_args = ("begin", "end", "total_steps")
    per_group = ("_base_values", "_tops")

    def _check(self) -> None:
        self._tops: list[float] | None = None
        if self.total_steps is None:
            self._length = horizon(self.begin, self.end, "total_steps or end")
        else:
            self._length = step_count(self.total_steps, "total_steps", 1)
        self.total_steps = self._length
        rising = number(self.pct_start, "pct_start", 0, 1) * self._length - 1
        one_of(self.anneal_strategy, ("cos", "linear"), "anneal_strategy")
        for name in ("div_factor", "final_div_factor"):
            if amount(getattr(self, name), name) == 0:
                raise ConfigError(f"a number above 0 is wanted, got {getattr(self, name)!r}", name)
        low, last, end = 1 / self.div_factor, 1 / self.div_factor / self.final_div_factor, self._length - 1.0
        down = [(2 * rising, 1.0, low), (end, low, last)] if self.three_phase else [(end, 1.0, last)]
        self._phases = [(rising, low, 1.0), *down]

    def _attach(self, optimizer: Optimizer | BaseOptimWrapper) -> None:
        super()._attach(optimizer)
        if self.eta_max is not None and self._tops is None:
            self._tops = [amount(top, "eta_max") for top in one_per_group(self.eta_max, "eta_max", self.optimizer)]
            for group, peak in zip(self.optimizer.param_groups if self.last_step == -1 else (), self._tops):
                group[f"initial_{self.param_name}"] = peak / self.div_factor

    @property
    def reach(self) -> float:
        """The step up to which the curve changes the value."""
        return self.begin + self._length

    def height(self, step: int) -> float:
        """Return the value as a fraction of the peak; past the last step it stays."""
        step = min(step, self._length - 1)
        index = next(i for i, (end, _, _) in enumerate(self._phases) if step <= end)
        begin = self._phases[index - 1][0] if index else 0.0
        end, start, stop = self._phases[index]
        progress = (step - begin) / (end - begin) if end > begin else 1.0
        if self.anneal_strategy == "linear":
            return start + (stop - start) * progress
        return stop + (start - stop) * (1 + math.cos(math.pi * progress)) / 2

    def _get_value(self) -> list[Any]:
        height = self.height(self.last_step)
        return [peak * height for peak in (self.base_values if self._tops is None else self._tops)]


@dataclass(repr=False, eq=False)
class OneCycleLR(LRSchedulerMixin, OneCycleParamScheduler):
    """Up to a peak of the learning rate and down to nearly nothing."""
