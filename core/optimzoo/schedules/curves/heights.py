"""The curves that are a factor of the value found at the window's beginning: a function of the step."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from optimzoo.errors import ConfigError
from optimzoo.schedules.base import LRSchedulerMixin, MomentumSchedulerMixin, ParamScheduler
from optimzoo.schedules.windows import amount, horizon, listed, step_count
from optimzoo.values import number, one_of


@dataclass(repr=False, eq=False)
class ConstantParamScheduler(ParamScheduler):
    """A constant factor inside the window, given back on the window's last step.

    ``value[t] = value[0] * factor``  for  ``t < end - begin - 1``

    Args:
        factor: The factor.
    """

    factor: float = 1.0 / 3

    gives_back = True

    def _check(self) -> None:
        self.factor = amount(self.factor, "factor")

    def height(self, step: int) -> float:
        """Return the constant, or 1 on the last step."""
        return self.factor if step < self._span else 1.0


@dataclass(repr=False, eq=False)
class ConstantLR(LRSchedulerMixin, ConstantParamScheduler):
    """A constant factor of the learning rate inside the window."""


@dataclass(repr=False, eq=False)
class ConstantMomentum(MomentumSchedulerMixin, ConstantParamScheduler):
    """A constant factor of the momentum inside the window."""


@dataclass(repr=False, eq=False)
class LinearParamScheduler(ParamScheduler):
    """A factor that goes linearly from one number to another over the window; the usual warm-up.

    ``value[t] = value[0] * (start_factor + (end_factor - start_factor) * t / (end - begin - 1))``

    A window of one step has ``start_factor``, and the step after it ``end_factor``.

    Args:
        start_factor: The factor on the first step; above 1 to come down.
        end_factor: The factor on the last step.
    """

    start_factor: float = 1.0 / 3
    end_factor: float = 1.0

    gives_back = True

    def _check(self) -> None:
        self.start_factor = amount(self.start_factor, "start_factor")
        self.end_factor = amount(self.end_factor, "end_factor")
        self._rise = self.end_factor - self.start_factor

    def height(self, step: int) -> float:
        """Return the factor on the line."""
        return self.start_factor + self._rise * step / self._span


@dataclass(repr=False, eq=False)
class LinearLR(LRSchedulerMixin, LinearParamScheduler):
    """A factor of the learning rate that goes linearly from one number to another; the usual warm-up."""


@dataclass(repr=False, eq=False)
class LinearMomentum(MomentumSchedulerMixin, LinearParamScheduler):
    """A factor of the momentum that goes linearly from one number to another."""


@dataclass(repr=False, eq=False)
class QuadraticWarmupParamScheduler(ParamScheduler):
    """A parabola up from nearly zero, to the value itself on the last step of the window; YOLOX's warm-up.

    ``value[t] = value[0] * ((t + 1) / (end - begin)) ** 2``

    The window must have an end.
    """

    def _check(self) -> None:
        horizon(self.begin, self.end, "end")

    def height(self, step: int) -> float:
        """Return the factor on the parabola."""
        return float(((step + 1) / (self.end - self.begin)) ** 2)


@dataclass(repr=False, eq=False)
class QuadraticWarmupLR(LRSchedulerMixin, QuadraticWarmupParamScheduler):
    """A parabola of the learning rate up from nearly zero."""


@dataclass(repr=False, eq=False)
class QuadraticWarmupMomentum(MomentumSchedulerMixin, QuadraticWarmupParamScheduler):
    """A parabola of the momentum up from nearly zero."""


@dataclass(repr=False, eq=False)
class InverseSqrtParamScheduler(ParamScheduler):
    """A linear warm-up, then the inverse square root of the step.

    ``value[t] = value[0] * min((t + 1) / warmup, sqrt(warmup / (t + 1)))``

    Args:
        warmup: Steps until the value is reached; at least 1.

    Reference:
        Vaswani et al., *Attention Is All You Need*, https://arxiv.org/abs/1706.03762, section 5.3; there the value
        reached is ``(d_model * warmup) ** -0.5``.
    """

    warmup: int

    step_args = ("begin", "end", "warmup")

    def _check(self) -> None:
        self.warmup = self.least = step_count(self.warmup, "warmup", 1)

    def height(self, step: int) -> float:
        """Return the smaller of the line and the inverse square root."""
        return min((step + 1) / self.warmup, math.sqrt(self.warmup / (step + 1)))


@dataclass(repr=False, eq=False)
class InverseSqrtLR(LRSchedulerMixin, InverseSqrtParamScheduler):
    """A linear warm-up of the learning rate, then the inverse square root of the step."""


@dataclass(repr=False, eq=False)
class InverseSqrtMomentum(MomentumSchedulerMixin, InverseSqrtParamScheduler):
    """A linear warm-up of the momentum, then the inverse square root of the step."""


DECAYS: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
    "sqrt": lambda progress: 1 - math.sqrt(progress),
}
"""What is left of the way to the end value, at a progress from 0 to 1."""


@dataclass(repr=False, eq=False)
class WSDParamScheduler(ParamScheduler):
    """Warm-up, stay, and decay over the last steps of the window.

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

    decay: int
    warmup: int = 0
    end_factor: float = 0.0
    shape: str = "linear"

    step_args = ("begin", "end", "decay", "warmup")

    def _check(self) -> None:
        self.decay = step_count(self.decay, "decay", 0)
        self.warmup = step_count(self.warmup, "warmup", 0)
        self.end_factor = number(self.end_factor, "end_factor", 0, 1)
        one_of(self.shape, DECAYS, "shape")
        length = horizon(self.begin, self.end, "end")
        if self.warmup + self.decay > length:
            raise ConfigError(
                f"{self.warmup} steps of warm-up and {self.decay} of decay do not fit into {length}", "decay"
            )

    def height(self, step: int) -> float:
        """Return the factor on the trapezium."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        decayed = min(step + 1 - (self.end - self.begin - self.decay), self.decay)
        if decayed <= 0:
            return 1.0
        return self.end_factor + (1 - self.end_factor) * DECAYS[self.shape](decayed / self.decay)


@dataclass(repr=False, eq=False)
class WSDLR(LRSchedulerMixin, WSDParamScheduler):
    """Warm-up, stay, and decay of the learning rate."""


@dataclass(repr=False, eq=False)
class WSDMomentum(MomentumSchedulerMixin, WSDParamScheduler):
    """Warm-up, stay, and decay of the momentum."""


@dataclass(repr=False, eq=False)
class LambdaParamScheduler(ParamScheduler):
    """A function of the step, from a Python config.

    ``value[t] = value[0] * function(t)``

    Args:
        function: Takes the step of the window, 0 being the first, and returns the factor. It is not part of the state:
            a resumed run uses the function it is given.
    """

    function: Callable[[int], float]

    def _check(self) -> None:
        if not callable(self.function):
            raise ConfigError(
                f"a function of the step is wanted, got {self.function!r}. TOML, YAML and JSON cannot hold one: write "
                "the config in Python",
                "function",
            )

    def height(self, step: int) -> float:
        """Return what the function does."""
        return amount(float(self.function(step)), f"function({step})")


@dataclass(repr=False, eq=False)
class LambdaLR(LRSchedulerMixin, LambdaParamScheduler):
    """A function of the step as a factor of the learning rate, from a Python config."""


@dataclass(repr=False, eq=False)
class LambdaMomentum(MomentumSchedulerMixin, LambdaParamScheduler):
    """A function of the step as a factor of the momentum, from a Python config."""


class GeometricScheduler(ParamScheduler):
    """Base of the curves that multiply by ``gamma``, ``times`` times on a step: exactly, and never 0 by underflow."""

    gamma: float

    def times(self, step: int) -> int:
        """Return how often the value is multiplied by gamma on step ``step``."""
        raise NotImplementedError

    def _get_value(self) -> list[Any]:
        current, times = self._current(), self.times(self.last_step)
        if not times:
            return current
        factor = self.gamma if times == 1 else self.gamma**times
        return [value * factor for value in current]


@dataclass(repr=False, eq=False)
class ExponentialParamScheduler(GeometricScheduler):
    """A factor on every step.

    ``value[t] = value[0] * gamma ** t``

    Args:
        gamma: The factor.
    """

    gamma: float

    def _check(self) -> None:
        self.gamma = amount(self.gamma, "gamma")

    def times(self, step: int) -> int:
        """Return 1, but on the first step 0."""
        return int(step > 0)


@dataclass(repr=False, eq=False)
class ExponentialLR(LRSchedulerMixin, ExponentialParamScheduler):
    """A factor of the learning rate on every step."""


@dataclass(repr=False, eq=False)
class ExponentialMomentum(MomentumSchedulerMixin, ExponentialParamScheduler):
    """A factor of the momentum on every step."""


@dataclass(repr=False, eq=False)
class StepParamScheduler(GeometricScheduler):
    """A factor every few steps.

    ``value[t] = value[0] * gamma ** (t // step_size)``

    Args:
        step_size: Steps from one change to the next; at least 1.
        gamma: The factor.
    """

    step_size: int
    gamma: float = 0.1

    step_args = ("begin", "end", "step_size")

    def _check(self) -> None:
        self.step_size = self.least = step_count(self.step_size, "step_size", 1)
        self.gamma = amount(self.gamma, "gamma")

    def times(self, step: int) -> int:
        """Return 1 on the multiples of the step size."""
        return int(step > 0 and step % self.step_size == 0)


@dataclass(repr=False, eq=False)
class StepLR(LRSchedulerMixin, StepParamScheduler):
    """A factor of the learning rate every few steps."""


@dataclass(repr=False, eq=False)
class StepMomentum(MomentumSchedulerMixin, StepParamScheduler):
    """A factor of the momentum every few steps."""


@dataclass(repr=False, eq=False)
class MultiStepParamScheduler(GeometricScheduler):
    """A factor at each milestone.

    ``value[t] = value[0] * gamma ** (number of milestones up to t)``

    Args:
        milestones: Steps of the window; one that is listed twice counts twice. The schedule holds how often it has
            each: ``milestones[step]``.
        gamma: The factor.
    """

    milestones: Sequence[int] | Counter[int]
    gamma: float = 0.1

    step_args = ("begin", "end", "milestones")

    def _check(self) -> None:
        steps = listed(self.milestones, "milestones", "of steps such as [8, 11]")
        self.milestones = Counter(step_count(step, f"milestones[{index}]", 0) for index, step in enumerate(steps))
        self._length = max(self.milestones, default=0)
        self.gamma = amount(self.gamma, "gamma")

    def times(self, step: int) -> int:
        """Return how often the step is a milestone."""
        return self.milestones[step]


@dataclass(repr=False, eq=False)
class MultiStepLR(LRSchedulerMixin, MultiStepParamScheduler):
    """A factor of the learning rate at each milestone."""


@dataclass(repr=False, eq=False)
class MultiStepMomentum(MomentumSchedulerMixin, MultiStepParamScheduler):
    """A factor of the momentum at each milestone."""
