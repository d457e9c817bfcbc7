"""The curves that are a factor of the value found at the window's beginning."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from optimzoo.errors import ConfigError
from optimzoo.schedules.base import ParamScheduler
from optimzoo.schedules.windows import INF, horizon, step_count
from optimzoo.values import number, one_of
from optimzoo.wrappers import BaseOptimWrapper


class HeightScheduler(ParamScheduler):
    """Base of the curves that are a factor of the value found at ``begin``: a function of the step alone."""

    per_group = ("_base_values", "_before_zero")
    _before_zero: list[float] | None = None
    """The values that the curve took to zero, without its factor."""

    def height(self, step: int) -> float:
        """Return what the value at ``begin`` is multiplied by at step ``step`` of the window, 0 being the first."""
        raise NotImplementedError

    def _get_value(self) -> list[Any]:
        step, current = self.last_step, self._current()
        height, before = self.height(step), self.height(step - 1) if step else 1.0
        if before == 0:  # the recursion cannot leave zero; the definition can
            return [value * height for value in self._before_zero or self.base_values]
        if height == 0:
            self._before_zero = [float(value) / before for value in current]
        factor = height / before
        return [value * factor for value in current]


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
