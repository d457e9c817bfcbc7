"""The curves that multiply the value by a constant, every step or at some."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from optimzoo.errors import ConfigError
from optimzoo.schedules.base import ParamScheduler
from optimzoo.schedules.mixins import LRSchedulerMixin, MomentumSchedulerMixin
from optimzoo.schedules.windows import amount, step_count


class GeometricScheduler(ParamScheduler):
    """Base of the curves that are a power of ``gamma``: ``power`` says which at each step."""

    gamma: float

    def power(self, step: int) -> int:
        """Return how often the value has been multiplied by gamma at step ``step``."""
        raise NotImplementedError

    def height(self, step: int) -> float:
        """Return the power of gamma."""
        return float(self.gamma ** self.power(step))

    def multiplier(self, step: int) -> float:
        """Return gamma, to the power that this step adds: exact, and never zero by underflow."""
        return float(self.gamma ** (self.power(step) - (self.power(step - 1) if step else 0)))


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

    def power(self, step: int) -> int:
        """Return the step."""
        return step


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
        self.step_size = step_count(self.step_size, "step_size", 1)
        self.gamma = amount(self.gamma, "gamma")

    def power(self, step: int) -> int:
        """Return the multiples of the step size so far."""
        return step // self.step_size


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
        listed = self.milestones
        if not isinstance(listed, (list, tuple)):
            raise ConfigError(f"a list of steps such as [8, 11] is wanted, got {listed!r}", "milestones")
        self._sorted = sorted(step_count(m, f"milestones[{index}]", 0) for index, m in enumerate(listed))
        self.milestones = Counter(self._sorted)
        self.gamma = amount(self.gamma, "gamma")

    @property
    def reach(self) -> float:
        """The step up to which the curve changes the value."""
        return self.begin + (self._sorted[-1] if self._sorted else 0)

    def power(self, step: int) -> int:
        """Return the milestones so far."""
        return bisect_right(self._sorted, step)


@dataclass(repr=False, eq=False)
class MultiStepLR(LRSchedulerMixin, MultiStepParamScheduler):
    """A factor of the learning rate at each milestone."""


@dataclass(repr=False, eq=False)
class MultiStepMomentum(MomentumSchedulerMixin, MultiStepParamScheduler):
    """A factor of the momentum at each milestone."""
