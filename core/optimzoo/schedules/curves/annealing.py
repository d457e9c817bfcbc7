"""The curves that go down to a minimum."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from torch.optim import Optimizer

from optimzoo.errors import ConfigError
from optimzoo.schedules.base import ParamScheduler
from optimzoo.schedules.windows import INF, horizon, step_count
from optimzoo.values import number
from optimzoo.wrappers import BaseOptimWrapper


class FlooredScheduler(ParamScheduler):
    """Base of the curves that go down to a minimum, the same for all groups or a fraction of each group's value."""

    eta_min: float
    eta_min_ratio: float | None

    def _set_floor(self, eta_min: float | None, eta_min_ratio: float | None) -> None:
        if eta_min and eta_min_ratio is not None:
            raise ConfigError("give eta_min or eta_min_ratio, not both", "eta_min_ratio")
        self.eta_min = 0.0 if eta_min is None else number(eta_min, "eta_min")
        self.eta_min_ratio = None if eta_min_ratio is None else number(eta_min_ratio, "eta_min_ratio")

    def floor(self, base: float) -> float:
        """Return the minimum for a group."""
        return self.eta_min if self.eta_min_ratio is None else base * self.eta_min_ratio

    def _get_value(self) -> list[Any]:
        factor, current = self.multiplier(self.last_step), self._current()
        if factor == 1:
            return current
        if self.eta_min_ratio is None:
            low = self.eta_min
            return [(value - low) * factor + low for value in current]
        return [(value - low) * factor + low for value, low in zip(current, map(self.floor, self.base_values))]


class CosineAnnealingParamScheduler(FlooredScheduler):
    """Anneal the value to a minimum along half a cosine, and back again if the window is longer than ``T_max``.

    ``value[t] = minimum + (value[0] - minimum) * (1 + cos(pi * t / T_max)) / 2``

    Args:
        T_max: Steps to the minimum; the window's length by default.
        eta_min: The minimum, 0 by default.
        eta_min_ratio: The minimum as a fraction of each group's initial value, instead of ``eta_min``.

    Reference:
        Loshchilov and Hutter, *SGDR*, https://arxiv.org/abs/1608.03983; the annealing, without the restarts.
    """

    step_args = ("begin", "end", "T_max")

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        T_max: int | None = None,  # noqa: N803
        eta_min: float | None = None,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        eta_min_ratio: float | None = None,
        by: str | None = None,
    ) -> None:
        self.T_max = horizon(begin, end, "T_max or end") if T_max is None else number(T_max, "T_max")
        if self.T_max <= 0:
            raise ConfigError(f"a number of steps above 0 is wanted, got {T_max!r}", "T_max")
        self._set_floor(eta_min, eta_min_ratio)
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    @property
    def reach(self) -> float:
        """The step up to which the curve changes the value."""
        return self.begin + self.T_max

    def multiplier(self, step: int) -> float:
        """Return the ratio of two successive heights of the cosine."""
        if step == 0:
            return 1.0
        return (1 + math.cos(math.pi * step / self.T_max)) / (1 + math.cos(math.pi * (step - 1) / self.T_max))

    def _get_value(self) -> list[Any]:
        if self.last_step and (self.last_step - 1 - self.T_max) % (2 * self.T_max) == 0:
            # The step out of a minimum: the ratio would divide by zero, so rise by the definition's difference.
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            bases = self.base_values
            return [value + (base - self.floor(base)) * rise for value, base in zip(self._current(), bases)]
        return super()._get_value()


class CosineRestartParamScheduler(FlooredScheduler):
    """Anneal each group's initial value along half a cosine, once per period, each beginning anew.

    ``value[t] = minimum + (weight * initial - minimum) * (1 + cos(pi * t / period)) / 2``  with ``t`` counted from the
    begin of the period; after the last period the value stays.

    Args:
        periods: Steps of each period.
        restart_weights: The factor of the initial value at the begin of each period; 1 by default.
        eta_min: The minimum, 0 by default.
        eta_min_ratio: The minimum as a fraction of each group's initial value, instead of ``eta_min``.

    Reference:
        Loshchilov and Hutter, *SGDR*, https://arxiv.org/abs/1608.03983.
    """

    step_args = ("begin", "end", "periods")

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        periods: Sequence[int],
        restart_weights: Sequence[float] | None = None,
        eta_min: float | None = None,
        eta_min_ratio: float | None = None,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None:
        if not isinstance(periods, (list, tuple)) or not periods:
            raise ConfigError(f"a list of steps such as [100, 200] is wanted, got {periods!r}", "periods")
        weights = [1.0] * len(periods) if restart_weights is None else restart_weights
        if not isinstance(weights, (list, tuple)) or len(weights) != len(periods):
            raise ConfigError(
                f"a list of {len(periods)} numbers, one per period, is wanted, got {weights!r}", "restart_weights"
            )
        self.periods = [step_count(p, f"periods[{i}]", 1) for i, p in enumerate(periods)]
        self.restart_weights = [number(w, f"restart_weights[{i}]") for i, w in enumerate(weights)]
        self._starts = [0, *accumulate(self.periods)]
        self._set_floor(eta_min, eta_min_ratio)
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    @property
    def reach(self) -> float:
        """The step up to which the curve changes the value."""
        return self.begin + self._starts[-1]

    def multiplier(self, step: int) -> float:
        """Return the ratio of two successive heights of the cosine."""
        index = bisect_right(self._starts, step) - 1
        if index == len(self.periods):
            return 1.0
        angle = math.pi / self.periods[index]
        step -= self._starts[index]
        return (1 + math.cos(angle * step)) / (1 + math.cos(angle * (step - 1)))

    def _get_value(self) -> list[Any]:
        if self.last_step in self._starts[:-1]:
            weight = self.restart_weights[self._starts.index(self.last_step)]
            return [base * weight for base in self.base_values]
        return super()._get_value()


class PolyParamScheduler(FlooredScheduler):
    """Let the value fall to a minimum as a power of the steps that are left.

    ``value[t] = minimum + (value[0] - minimum) * (1 - t / (end - begin - 1)) ** power``

    Args:
        eta_min: The minimum, reached on the last step of the window, which must have an end.
        power: The power.
        eta_min_ratio: The minimum as a fraction of each group's initial value, instead of ``eta_min``.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        eta_min: float = 0,
        power: float = 1.0,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        eta_min_ratio: float | None = None,
        by: str | None = None,
    ) -> None:
        horizon(begin, end, "end")
        self.power = number(power, "power", 0)
        self._set_floor(eta_min, eta_min_ratio)
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    def multiplier(self, step: int) -> float:
        """Return the ratio of two successive powers; 1 once the minimum is reached."""
        left = self.total_iters - step + 1
        return float((1 - 1 / left) ** self.power) if step and left > 0 else 1.0
