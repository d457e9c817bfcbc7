"""The curves: what a schedule does to a value, whichever hyperparameter it is. Families derive the named classes."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from torch.optim import Optimizer

from optimzoo.checks import is_number, number, one_of
from optimzoo.errors import ConfigError
from optimzoo.schedulers.base import ParamScheduler
from optimzoo.schedulers.windows import INF, step_count
from optimzoo.wrappers import BaseOptimWrapper


class HeightScheduler(ParamScheduler):
    """Base of the curves that are a factor of the value found at ``begin``: a function of the step alone."""

    _entry: list[float] | None = None

    def height(self, step: int) -> float:
        """Return what the value at ``begin`` is multiplied by at step ``step`` of the window, 0 being the first."""
        raise NotImplementedError

    def _get_value(self) -> list[Any]:
        step, current = self.last_step, self._current()
        height, before = self.height(step), self.height(step - 1) if step else 1.0
        if step == 0:
            self._entry = [float(value) for value in current]
        if before == 0:  # the recursion cannot leave zero; the definition can
            return [value * height for value in self._entry or self.base_values]
        factor = height / before
        return [value * factor for value in current]

    def _admit(self, groups: list[dict[str, Any]]) -> ParamScheduler:
        known = self._known
        alone = super()._admit(groups)
        if self._entry is not None and isinstance(alone, HeightScheduler) and alone._entry is not None:
            self._entry[known:known] = alone._entry
        return alone


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


def horizon(begin: int, end: int, argument: str) -> int:
    """Return the steps of a window that must have an end, if it is to be the length of a curve.

    Raises:
        ConfigError: The window never ends.
    """
    if end == INF:
        raise ConfigError(
            f"the curve needs its length: give {argument}, or the run's length (max_epochs=, max_iters=) to "
            "build_param_scheduler in the unit of the schedule",
            argument.partition(" ")[0],
        )
    return step_count(end, "end") - step_count(begin, "begin")


def one_per_group(value: Any, path: str, optimizer: Optimizer | BaseOptimWrapper) -> list[float]:
    """Return a number for each group, given one for all or a list; base settings take the last of a list.

    Raises:
        ConfigError: The list is of another length.
    """
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [number(value, path)] * count
    values = [number(v, f"{path}[{index}]") for index, v in enumerate(value)]
    own = len(optimizer.optimizer.param_groups) if isinstance(optimizer, BaseOptimWrapper) else count
    if len(values) not in (own, count):
        raise ConfigError(f"a number, or a list of {own}, one per parameter group, is wanted; got {value!r}", path)
    return values + values[-1:] * (count - len(values))


class ConstantParamScheduler(HeightScheduler):
    """Multiply the value by a constant factor inside the window, and give it back on the window's last step.

    ``value[t] = value[0] * factor``  for  ``t < end - begin - 1``

    Args:
        factor: The factor, from 0 to 1.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        factor: float = 1.0 / 3,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None:
        self.factor = number(factor, "factor", 0, 1)
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    def height(self, step: int) -> float:
        """Return the constant, or 1 on the last step."""
        return 1.0 if step and step == self.total_iters else self.factor


class LinearParamScheduler(HeightScheduler):
    """Multiply the value by a factor that goes linearly from ``start_factor`` to ``end_factor`` over the window.

    ``value[t] = value[0] * (start_factor + (end_factor - start_factor) * t / (end - begin - 1))``

    Args:
        start_factor: The factor on the first step, from 0 to 1.
        end_factor: The factor on the last step, from 0 to 1.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None:
        self.start_factor = number(start_factor, "start_factor", 0, 1)
        self.end_factor = number(end_factor, "end_factor", 0, 1)
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    def height(self, step: int) -> float:
        """Return the factor on the line."""
        return self.start_factor + (self.end_factor - self.start_factor) * step / max(self.end - self.begin - 1, 1)


class QuadraticWarmupParamScheduler(HeightScheduler):
    """Raise the value along a parabola from nearly zero, and reach it on the last step of the window.

    ``value[t] = value[0] * ((t + 1) / (end - begin)) ** 2``

    The warm-up of YOLOX. The window must have an end.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None:
        horizon(begin, end, "end")
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    def height(self, step: int) -> float:
        """Return the factor on the parabola."""
        return float(((step + 1) / (self.end - self.begin)) ** 2)


class InverseSqrtParamScheduler(HeightScheduler):
    """Raise the value linearly for some steps, then let it fall with the square root of the step.

    ``value[t] = value[0] * min((t + 1) / warmup, sqrt(warmup / (t + 1)))``

    Args:
        warmup: Steps until the value is reached; at least 1.

    Reference:
        Vaswani et al., *Attention Is All You Need*, https://arxiv.org/abs/1706.03762, section 5.3; there the value
        reached is ``(d_model * warmup) ** -0.5``.
    """

    step_args = ("begin", "end", "warmup")

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        warmup: int,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None:
        self.warmup = step_count(warmup, "warmup", 1)
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    def height(self, step: int) -> float:
        """Return the smaller of the line and the inverse square root."""
        return min((step + 1) / self.warmup, math.sqrt(self.warmup / (step + 1)))


DECAYS: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
    "sqrt": lambda progress: 1 - math.sqrt(progress),
}
"""What is left of the way to the end value, at a progress from 0 to 1."""


class WSDParamScheduler(HeightScheduler):
    """Warm up linearly, stay, and decay over the last steps of the window (warm-up, stable, decay).

    ``value[t] = value[0] * (t + 1) / warmup``  for  ``t < warmup``, and, with
    ``p = (t + 1 - (end - begin - decay)) / decay``,
    ``value[t] = value[0] * (end_factor + (1 - end_factor) * shape(p))``  for  ``0 < p <= 1``

    Args:
        decay: Steps of the decay, the last of the window, which must have an end.
        warmup: Steps of the warm-up; 0 for none.
        end_factor: The factor on the last step, from 0 to 1.
        shape: ``"linear"`` is ``1 - p``, ``"cosine"`` is ``(1 + cos(pi * p)) / 2``, ``"sqrt"`` is ``1 - sqrt(p)``.

    Reference:
        Hu et al., *MiniCPM*, https://arxiv.org/abs/2404.06395; Haegele et al., *Scaling Laws and Compute-Optimal
        Training Beyond Fixed Training Durations*, https://arxiv.org/abs/2405.18392, for the square root.
    """

    step_args = ("begin", "end", "decay", "warmup")

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        decay: int,
        warmup: int = 0,
        end_factor: float = 0.0,
        shape: str = "linear",
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None:
        self.decay = step_count(decay, "decay", 0)
        self.warmup = step_count(warmup, "warmup", 0)
        self.end_factor = number(end_factor, "end_factor", 0, 1)
        self.shape = one_of(shape, DECAYS, "shape")
        if self.warmup + self.decay > horizon(begin, end, "end"):
            raise ConfigError(f"{warmup} steps of warm-up and {decay} of decay do not fit into {end - begin}", "decay")
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    def height(self, step: int) -> float:
        """Return the factor on the trapezium."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        decayed = min(step + 1 - (self.end - self.begin - self.decay), self.decay)
        if decayed <= 0:
            return 1.0
        return self.end_factor + (1 - self.end_factor) * DECAYS[self.shape](decayed / self.decay)


class LambdaParamScheduler(HeightScheduler):
    """Multiply the value by a function of the step.

    ``value[t] = value[0] * function(t)``

    Args:
        function: Takes the step of the window, 0 being the first, and returns the factor. It is not part of the state:
            a resumed run uses the function it is given.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        function: Callable[[int], float],
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None:
        if not callable(function):
            raise ConfigError(
                f"a function of the step is wanted, got {function!r}. TOML, YAML and JSON cannot hold one: write the "
                "config in Python",
                "function",
            )
        self.height = function  # type: ignore[method-assign, assignment]
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)


class ExponentialParamScheduler(ParamScheduler):
    """Multiply the value by ``gamma`` on every step.

    ``value[t] = value[0] * gamma ** t``

    Args:
        gamma: The factor.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        gamma: float,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None:
        self.gamma = number(gamma, "gamma", 0)
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    def multiplier(self, step: int) -> float:
        """Return gamma after the first step."""
        return self.gamma if step else 1.0


class StepParamScheduler(ParamScheduler):
    """Multiply the value by ``gamma`` every ``step_size`` steps.

    ``value[t] = value[0] * gamma ** (t // step_size)``

    Args:
        step_size: Steps from one change to the next; at least 1.
        gamma: The factor.
    """

    step_args = ("begin", "end", "step_size")

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        step_size: int,
        gamma: float = 0.1,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None:
        self.step_size = step_count(step_size, "step_size", 1)
        self.gamma = number(gamma, "gamma", 0)
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    def multiplier(self, step: int) -> float:
        """Return gamma on every multiple of the step size."""
        return self.gamma if step and step % self.step_size == 0 else 1.0


class MultiStepParamScheduler(ParamScheduler):
    """Multiply the value by ``gamma`` at each milestone.

    ``value[t] = value[0] * gamma ** (number of milestones up to t)``

    Args:
        milestones: Steps of the window; one that is listed twice counts twice.
        gamma: The factor.
    """

    step_args = ("begin", "end", "milestones")

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        milestones: Sequence[int],
        gamma: float = 0.1,
        last_step: int = -1,
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None:
        if not isinstance(milestones, (list, tuple)):
            raise ConfigError(f"a list of steps such as [8, 11] is wanted, got {milestones!r}", "milestones")
        self.milestones = [step_count(m, f"milestones[{index}]", 0) for index, m in enumerate(milestones)]
        self.gamma = number(gamma, "gamma", 0)
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    @property
    def reach(self) -> float:
        """The step up to which the curve changes the value."""
        return self.begin + max(self.milestones, default=0)

    def multiplier(self, step: int) -> float:
        """Return gamma for each milestone at this step."""
        return float(self.gamma ** self.milestones.count(step))


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


class OneCycleParamScheduler(ParamScheduler):
    """Raise the value to a peak and let it fall far below where it began (the 1cycle policy).

    Over ``total_steps`` steps the value goes from ``eta_max / div_factor`` to ``eta_max``, and on to
    ``eta_max / div_factor / final_div_factor``. It sets the value, whatever other schedules of the key do.

    Args:
        eta_max: The peak, for all groups or one for each; by default each group's own value.
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
        self._max = f"max_{param_name}"
        if last_step == -1 and eta_max is not None and isinstance(optimizer, (Optimizer, BaseOptimWrapper)):
            for group, peak in zip(optimizer.param_groups, one_per_group(eta_max, "eta_max", optimizer)):
                group[self._max] = peak
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
        return [
            group.get(self._max, base) * height for group, base in zip(self.optimizer.param_groups, self.base_values)
        ]

    def _admit(self, groups: list[dict[str, Any]]) -> ParamScheduler:
        for group in groups if is_number(self.eta_max) else ():
            group[self._max] = self.eta_max
        return super()._admit(groups)
