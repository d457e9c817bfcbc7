"""OpenMMLab's schedules beyond mmengine's."""

from dataclasses import dataclass, field
from typing import Any

from optimzoo.errors import ConfigError
from optimzoo.schedules import (
    CosineAnnealingParamScheduler,
    LinearLR,
    LRSchedulerMixin,
    ParamScheduler,
    ReduceOnPlateauLR,
)
from optimzoo.schedules.windows import amount, horizon
from optimzoo.values import number, one_of, whole_number


@dataclass(repr=False, eq=False)
class LinearLrInterval(LinearLR):
    """A line of the learning rate itself, the same for all groups, in stairs: mmagic's for CycleGAN.

    ``value[t] = start_factor + (end_factor - start_factor) * ((t - 1) // interval) / ((end - begin) // interval)``

    As in mmagic the two ends are learning rates, not factors, and on the first step of the window the value is
    multiplied by ``start_factor``.

    Args:
        start_factor: The learning rate from the second step on.
        end_factor: The learning rate at the end.
        interval: Steps of a stair.
    """

    interval: int = 1

    def _check(self) -> None:
        super()._check()
        whole_number(self.interval, "interval", 1)
        self._stairs = horizon(self.begin, self.end, "end") // self.interval
        if self._stairs == 0:
            raise ConfigError(f"it is longer than the window, {self.end - self.begin} steps", "interval")

    def _get_value(self) -> list[Any]:
        current = self._current()
        if self.last_step == 0:
            return [value * self.start_factor for value in current]
        done = (self.last_step - 1) // self.interval / self._stairs
        return [self.start_factor + (self.end_factor - self.start_factor) * done] * len(current)


@dataclass(repr=False, eq=False)
class ReduceLR(ReduceOnPlateauLR):
    """A factor of the learning rate when a metric of the validation stops improving, under mmagic's names.

    Args:
        mode: ``"min"`` if a smaller metric is better, ``"max"`` if a larger one is.
        threshold_mode: ``"rel"`` or ``"abs"``, as ``threshold_rule``.
        min_lr: The least learning rate.
    """

    mode: str = "min"
    threshold_mode: str = "rel"
    min_lr: float = 0.0

    def _check(self) -> None:
        one_of(self.mode, ("min", "max"), "mode")
        one_of(self.threshold_mode, ("rel", "abs"), "threshold_mode")
        self.rule, self.threshold_rule = "less" if self.mode == "min" else "greater", self.threshold_mode
        self.min_value = amount(self.min_lr, "min_lr")
        super()._check()


@dataclass(repr=False, eq=False)
class CosineAnnealingWeightDecay(CosineAnnealingParamScheduler):
    """Half a cosine of the weight decay, down or up to ``eta_min``; groups without weight decay stay so. mmpretrain's.

    Args:
        T_max: Steps to the end value; the window's length by default.
        eta_min: The end value, 0 by default.
        eta_min_ratio: The end value as a fraction of each group's, instead of ``eta_min``.
    """

    param_name: str = field(default="weight_decay", init=False)

    def floor(self, base: float) -> float:
        """Return the end value for a group."""
        return super().floor(base) if base else 0.0


@dataclass(repr=False, eq=False)
class SiamRPNExpLR(LRSchedulerMixin, ParamScheduler):
    """A factor of the learning rate that goes from one number to another by equal ratios: mmtracking's for SiameseRPN.

    ``value[t] = value[0] * start_factor * (end_factor / start_factor) ** (t / length)``

    Args:
        start_factor: The factor on the first step, above 0 and at most 1.
        end_factor: The factor at the end, from 0 to 1.
        endpoint: Whether the last step has ``end_factor``, so that ``length`` is ``end - begin - 1``, or the step after
            it would, so that it is ``end - begin``. The window must have an end.
    """

    start_factor: float = 0.1
    end_factor: float = 1.0
    endpoint: bool = field(default=True, kw_only=True)

    def _check(self) -> None:
        self.start_factor = number(self.start_factor, "start_factor", 0, 1)
        self.end_factor = number(self.end_factor, "end_factor", 0, 1)
        if self.start_factor == 0:
            raise ConfigError("a number above 0 is wanted", "start_factor")
        self._length = max(horizon(self.begin, self.end, "end") - bool(self.endpoint), 1)

    def height(self, step: int) -> float:
        """Return the factor."""
        return float(self.start_factor * (self.end_factor / self.start_factor) ** (step / self._length))
