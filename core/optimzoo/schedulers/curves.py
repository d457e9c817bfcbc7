"""The curves: what a schedule does to a value, whichever hyperparameter it is. Families derive the named classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch.optim import Optimizer

from optimzoo.checks import number
from optimzoo.errors import ConfigError
from optimzoo.schedulers.base import INF, ParamScheduler
from optimzoo.wrappers import BaseOptimWrapper


class FactorScheduler(ParamScheduler):
    """Base of the curves that are a factor of the value found at ``begin``: a function of the step alone."""

    _entry: list[float]

    def factor(self, step: int) -> float:
        """Return what the value at ``begin`` is multiplied by at step ``step`` of the window, 0 being the first."""
        raise NotImplementedError

    def multiplier(self, step: int) -> float:
        """Return the ratio of two successive factors."""
        return self.factor(step) / self.factor(step - 1) if step else self.factor(0)

    def _get_value(self) -> list[float]:
        step = self.last_step
        if step == 0:
            self._entry = self._current()
        if step and self.factor(step - 1) == 0:  # the recursion cannot leave zero; the definition can
            return [value * self.factor(step) for value in self._entry]
        return super()._get_value()


class ConstantParamScheduler(FactorScheduler):
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
        self.constant = number(factor, "factor", 0, 1)
        self.total_iters = end - begin - 1
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    def factor(self, step: int) -> float:
        """Return the constant, or 1 on the last step."""
        return 1.0 if step and step == self.total_iters else self.constant


class LinearParamScheduler(FactorScheduler):
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
        self.total_iters = end - begin - 1
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    def factor(self, step: int) -> float:
        """Return the factor on the line."""
        return self.start_factor + (self.end_factor - self.start_factor) * step / max(self.total_iters, 1)


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
        if not isinstance(milestones, (list, tuple)) or not all(isinstance(m, int) for m in milestones):
            raise ConfigError(f"a list of steps such as [8, 11] is wanted, got {milestones!r}", "milestones")
        self.milestones = list(milestones)
        self.gamma = gamma
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    def multiplier(self, step: int) -> float:
        """Return gamma for each milestone at this step."""
        return float(self.gamma ** self.milestones.count(step))


class CosineAnnealingParamScheduler(ParamScheduler):
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
        if eta_min is not None and eta_min_ratio is not None:
            raise ConfigError("give eta_min or eta_min_ratio, not both", "eta_min_ratio")
        self.T_max = T_max or (end - begin)
        self.eta_min = eta_min or 0.0
        self.eta_min_ratio = eta_min_ratio
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose, by)

    def floor(self, base: float) -> float:
        """Return the minimum for a group."""
        return self.eta_min if self.eta_min_ratio is None else base * self.eta_min_ratio

    def multiplier(self, step: int) -> float:
        """Return the ratio of two successive heights of the cosine."""
        if step == 0:
            return 1.0
        return (1 + math.cos(math.pi * step / self.T_max)) / (1 + math.cos(math.pi * (step - 1) / self.T_max))

    def _get_value(self) -> list[float]:
        if self.last_step and (self.last_step - 1 - self.T_max) % (2 * self.T_max) == 0:
            # The step out of a minimum: the ratio would divide by zero, so rise by the definition's difference.
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            bases = self.base_values
            return [value + (base - self.floor(base)) * rise for value, base in zip(self._current(), bases)]
        return super()._get_value()
