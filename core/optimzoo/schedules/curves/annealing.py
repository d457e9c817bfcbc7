"""The curves that go down to a minimum, the same for all groups or a fraction of each group's value; and 1cycle."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from torch.optim import Optimizer

from optimzoo.errors import ConfigError, shown
from optimzoo.schedules.base import LRSchedulerMixin, MomentumSchedulerMixin, ParamScheduler
from optimzoo.schedules.targets import one_per_group
from optimzoo.schedules.windows import amount, horizon, listed, step_count
from optimzoo.values import number, one_of
from optimzoo.wrappers import BaseOptimWrapper


class FlooredScheduler(ParamScheduler):
    """Base of the curves whose height is above a floor."""

    eta_min: float | None
    eta_min_ratio: float | None

    def _check(self) -> None:
        if self.eta_min is not None and self.eta_min_ratio is not None:
            raise ConfigError("give eta_min or eta_min_ratio, not both", "eta_min_ratio")
        self.eta_min = self._low = 0.0 if self.eta_min is None else amount(self.eta_min, "eta_min")
        if self.eta_min_ratio is not None:
            amount(self.eta_min_ratio, "eta_min_ratio")
        self._floored = bool(self._low or self.eta_min_ratio)

    def floor(self, base: float) -> float:
        """Return the minimum for a group."""
        return self._low if self.eta_min_ratio is None else base * self.eta_min_ratio

    def lows(self) -> Iterable[float]:
        """Return the minimum of each group."""
        return [self.floor(base) for base in self.base_values]


@dataclass(repr=False, eq=False)
class CosineAnnealingParamScheduler(FlooredScheduler):
    """Half a cosine down to a minimum, and back again if the window is longer than ``T_max``.

    ``value[t] = minimum + (value[0] - minimum) * (1 + cos(pi * t / T_max)) / 2``

    Args:
        T_max: Steps to the minimum; the window's length by default.
        eta_min: The minimum, 0 by default.
        eta_min_ratio: The minimum as a fraction of each group's initial value, instead of ``eta_min``.

    Reference:
        Loshchilov and Hutter, *SGDR*, https://arxiv.org/abs/1608.03983; the annealing, without the restarts.
    """

    T_max: int | None = None
    eta_min: float | None = None
    eta_min_ratio: float | None = field(default=None, kw_only=True)

    step_args = ("begin", "end", "T_max")

    def _check(self) -> None:
        super()._check()
        self._length = horizon(self.begin, self.end, "T_max or end") if self.T_max is None else self.T_max
        if amount(self._length, "T_max") < 1e-100:  # with which a step is too many half-waves to be counted
            raise ConfigError(f"a number of steps above 0 is wanted, got {self.T_max!r}", "T_max")
        self.T_max = self._length

    def height(self, step: int) -> float:
        """Return the cosine, from 1 to 0 and back."""
        return (1 + math.cos(math.pi * step / self._length)) / 2

    def _peaks(self) -> list[float]:
        return self.base_values  # as in mmengine, whatever other schedules made of them before the minimum


@dataclass(repr=False, eq=False)
class CosineAnnealingLR(LRSchedulerMixin, CosineAnnealingParamScheduler):
    """Half a cosine of the learning rate down to a minimum."""


@dataclass(repr=False, eq=False)
class CosineAnnealingMomentum(MomentumSchedulerMixin, CosineAnnealingParamScheduler):
    """Half a cosine of the momentum down to a minimum."""


@dataclass(repr=False, eq=False)
class CosineRestartParamScheduler(FlooredScheduler):
    """Half a cosine per period, each beginning anew from the initial value.

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

    periods: Sequence[int]
    restart_weights: Sequence[float] | None = None
    eta_min: float | None = None
    eta_min_ratio: float | None = None

    step_args = ("begin", "end", "periods")

    def _check(self) -> None:
        super()._check()
        periods = listed(self.periods, "periods", "of steps such as [100, 200]", least=1)
        weights = [1.0] * len(periods) if self.restart_weights is None else self.restart_weights
        if not isinstance(weights, (list, tuple)) or len(weights) != len(periods):
            raise ConfigError(
                f"a list of {len(periods)} numbers, one per period, is wanted, got {shown(weights)}", "restart_weights"
            )
        self.periods = [step_count(p, f"periods[{i}]", 1) for i, p in enumerate(periods)]
        self.restart_weights = [amount(w, f"restart_weights[{i}]") for i, w in enumerate(weights)]
        self._starts = [0, *accumulate(self.periods)]
        self._length = self._starts[-1]
        self._weights = dict(zip(self._starts, self.restart_weights))

    def height(self, step: int) -> float:
        """Return the cosine of the period; past the last one it stays."""
        step = min(step, self._length - 1)
        index = bisect_right(self._starts, step) - 1
        return (1 + math.cos(math.pi * (step - self._starts[index]) / self.periods[index])) / 2

    def _get_value(self) -> list[Any]:
        if self.last_step in self._weights:
            return [base * self._weights[self.last_step] for base in self.base_values]
        return super()._get_value()


@dataclass(repr=False, eq=False)
class CosineRestartLR(LRSchedulerMixin, CosineRestartParamScheduler):
    """Half a cosine of the learning rate per period, each beginning anew."""


@dataclass(repr=False, eq=False)
class CosineRestartMomentum(MomentumSchedulerMixin, CosineRestartParamScheduler):
    """Half a cosine of the momentum per period, each beginning anew."""


@dataclass(repr=False, eq=False)
class PolyParamScheduler(FlooredScheduler):
    """A power of the steps that are left, down to a minimum.

    ``value[t] = minimum + (value[0] - minimum) * (1 - t / (end - begin - 1)) ** power``

    Args:
        eta_min: The minimum, 0 by default, reached on the last step of the window, which must have an end.
        power: The power.
        eta_min_ratio: The minimum as a fraction of each group's initial value, instead of ``eta_min``.
    """

    eta_min: float | None = None
    power: float = 1.0
    eta_min_ratio: float | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        super()._check()
        horizon(self.begin, self.end, "end")
        self.power = amount(self.power, "power")

    def height(self, step: int) -> float:
        """Return the power of the share that is left."""
        return float((max(self._span - step, 0) / self._span) ** self.power)


@dataclass(repr=False, eq=False)
class PolyLR(LRSchedulerMixin, PolyParamScheduler):
    """A power of the steps that are left, of the learning rate."""


@dataclass(repr=False, eq=False)
class PolyMomentum(MomentumSchedulerMixin, PolyParamScheduler):
    """A power of the steps that are left, of the momentum."""


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
            self.total_steps = horizon(self.begin, self.end, "total_steps or end")
        self._length = self.total_steps = step_count(self.total_steps, "total_steps", 1)
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
            self._tops = one_per_group(self.eta_max, "eta_max", self.optimizer)
            for group, peak in zip(self.optimizer.param_groups if self.last_step == -1 else (), self._tops):
                group[f"initial_{self.param_name}"] = peak / self.div_factor

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
