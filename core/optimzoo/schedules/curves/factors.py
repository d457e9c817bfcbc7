"""The curves that multiply the value by a constant, every step or at some."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer

from optimzoo.errors import ConfigError
from optimzoo.schedules.base import ParamScheduler
from optimzoo.schedules.windows import INF, step_count
from optimzoo.values import number
from optimzoo.wrappers import BaseOptimWrapper


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
