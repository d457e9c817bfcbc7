"""The 1cycle policy, which sets the value whatever it was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from optimzoo.errors import ConfigError
from optimzoo.schedules.base import ParamScheduler
from optimzoo.schedules.hyperparam import one_per_group
from optimzoo.schedules.windows import INF, horizon, step_count
from optimzoo.values import number, one_of
from optimzoo.wrappers import BaseOptimWrapper


class OneCycleParamScheduler(ParamScheduler):
    """Raise the value to a peak and let it fall far below where it began (the 1cycle policy).

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

    step_args = ("begin", "end", "total_steps")
    per_group = ("_base_values", "_peaks")
    _peaks: list[float] | None = None

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        eta_max: float | Sequence[float] | None = None,
        total_steps: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None:
        if total_steps is None:
            self.total_steps = horizon(begin, end, "total_steps or end")
        else:
            self.total_steps = step_count(total_steps, "total_steps", 1)
        self.pct_start = number(pct_start, "pct_start", 0, 1)
        self.anneal_strategy = one_of(anneal_strategy, ("cos", "linear"), "anneal_strategy")
        self.div_factor = number(div_factor, "div_factor")
        self.final_div_factor = number(final_div_factor, "final_div_factor")
        for name in ("div_factor", "final_div_factor"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"a number above 0 is wanted, got {getattr(self, name)!r}", name)
        self.eta_max = eta_max
        if eta_max is not None and isinstance(optimizer, (Optimizer, BaseOptimWrapper)):
            self._peaks = one_per_group(eta_max, "eta_max", optimizer)
            for group, peak in zip(optimizer.param_groups if last_step == -1 else (), self._peaks):
                group[f"initial_{param_name}"] = peak / self.div_factor
        rise = self.pct_start * self.total_steps - 1
        low, last = 1 / self.div_factor, 1 / self.div_factor / self.final_div_factor
        if three_phase:
            self._phases = [(rise, low, 1.0), (2 * rise, 1.0, low), (self.total_steps - 1.0, low, last)]
        else:
            self._phases = [(rise, low, 1.0), (self.total_steps - 1.0, 1.0, last)]
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    @property
    def reach(self) -> float:
        """The step up to which the curve changes the value."""
        return self.begin + self.total_steps

    def height(self, step: int) -> float:
        """Return the value as a fraction of the peak; past the last step it stays."""
        step = min(step, self.total_steps - 1)
        index = next(i for i, (end, _, _) in enumerate(self._phases) if step <= end)
        begin = self._phases[index - 1][0] if index else 0.0
        end, start, stop = self._phases[index]
        progress = (step - begin) / (end - begin) if end > begin else 1.0
        if self.anneal_strategy == "linear":
            return start + (stop - start) * progress
        return stop + (start - stop) * (1 + math.cos(math.pi * progress)) / 2

    def _get_value(self) -> list[Any]:
        height = self.height(self.last_step)
        return [peak * height for peak in (self.base_values if self._peaks is None else self._peaks)]
