"""The schedule that watches a metric instead of counting steps."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from optimzoo.errors import ConfigError, OptimzooWarning, did_you_mean, near
from optimzoo.schedules.base import ParamScheduler
from optimzoo.schedules.hyperparam import one_per_group
from optimzoo.schedules.mixins import LRSchedulerMixin, MomentumSchedulerMixin
from optimzoo.schedules.windows import INF, amount
from optimzoo.values import one_of, whole_number


@dataclass(repr=False, eq=False)
class ReduceOnPlateauParamScheduler(ParamScheduler):
    """A factor when a metric stops improving: when it has not improved for more than ``patience`` validations.

    Args:
        monitor: The name of the metric.
        rule: ``"less"`` if a smaller metric is better, ``"greater"`` if a larger one is.
        factor: The factor, from 0 to below 1.
        patience: Validations without improvement that are let pass.
        threshold: By how much a metric must be better than the best to count as an improvement.
        threshold_rule: ``"rel"`` for a threshold that is a fraction of the best, ``"abs"`` for the difference. A metric
            below 0 wants ``"abs"``: a share of it lies on the wrong side, so that values near the best all count as
            improvements (with torch's scheduler and mmengine's too); the schedule warns of it.
        cooldown: Validations after a reduction that are not counted.
        min_value: The least value, for all groups or one for each (the last is for groups that are added later too).
        eps: A change of at most this is not made.
        begin: The step from which on validations count.
        end: The step from which on they no longer do.
    """

    monitor: str = "loss"
    rule: str = "less"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_rule: str = "rel"
    cooldown: int = 0
    min_value: float | Sequence[float] = 0.0
    eps: float = 1e-8

    need_val_args = True
    per_group = ("_base_values", "min_values")

    def _check(self) -> None:
        one_of(self.rule, ("less", "greater"), "rule")
        one_of(self.threshold_rule, ("rel", "abs"), "threshold_rule")
        if amount(self.factor, "factor") >= 1:
            raise ConfigError(f"a number below 1 is wanted, got {self.factor!r}", "factor")
        whole_number(self.patience, "patience", 0)
        whole_number(self.cooldown, "cooldown", 0)
        amount(self.threshold, "threshold")
        amount(self.eps, "eps")
        self.rule_worse = math.inf if self.rule == "less" else -math.inf
        self.best: float | None = None
        self.num_bad_epochs = 0
        self.cooldown_counter = 0

    @property
    def reach(self) -> float:
        """INF: the metric decides."""
        return INF

    def _start(self) -> None:
        """Change nothing: training starts with the values as they are."""
        self._global_step = 0
        lows = one_per_group(self.min_value, "min_value", self.optimizer)
        self.min_values = [amount(low, "min_value") for low in lows]

    def step(self, metrics: Mapping[str, Any] | None = None) -> None:
        """Count a step, or look at the metrics of a validation.

        Args:
            metrics: The metrics by name; None to count a step.

        Raises:
            ConfigError: The monitored metric is not among them.
        """
        if len(self._own.param_groups) != self._known:
            self._admit()
        self._watch_no_more()
        if metrics is None:
            self._global_step += 1
        elif self.begin <= self._global_step < self.end:
            self.last_step += 1
            self._observe(self._metric(metrics))
        self._last_value = self._current()

    def _metric(self, metrics: Mapping[str, Any]) -> float:
        if self.monitor not in metrics:
            hint = did_you_mean(near(self.monitor, metrics))
            raise ConfigError(
                f"the validation has no metric {self.monitor!r}; it has {', '.join(metrics) or 'none'}.{hint}",
                "monitor",
            )
        metric = metrics[self.monitor]
        return float(metric.item() if isinstance(metric, Tensor) else metric)

    def _observe(self, metric: float) -> None:
        if self._is_better(metric, self.best):
            self._question(metric)
            self.best = metric
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._write(self._get_value())
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def _question(self, metric: float) -> None:
        """Warn of an improvement that is none: a share of a negative best lies on its far side."""
        if self.best is None or self.best >= 0:
            return
        if metric >= self.best if self.rule == "less" else metric <= self.best:
            warnings.warn(
                f"{self.monitor} of {metric:g} counts as better than {self.best:g}: below 0, a relative threshold lies "
                "on the wrong side, and the value may never be reduced; set threshold_rule='abs'",
                OptimzooWarning,
                stacklevel=4,
            )

    def _get_value(self) -> list[Any]:
        current = [float(value) for value in self._current()]
        reduced = [max(value * self.factor, low) for value, low in zip(current, self.min_values)]
        return [new if value - new > self.eps else value for value, new in zip(current, reduced)]

    def _is_better(self, metric: float, best: float | None) -> bool:
        if best is None:
            return metric == metric  # NaN is no improvement on anything
        if self.rule == "less":
            return metric < (best * (1 - self.threshold) if self.threshold_rule == "rel" else best - self.threshold)
        return metric > (best * (1 + self.threshold) if self.threshold_rule == "rel" else best + self.threshold)


@dataclass(repr=False, eq=False)
class ReduceOnPlateauLR(LRSchedulerMixin, ReduceOnPlateauParamScheduler):
    """A factor of the learning rate when a metric stops improving."""


@dataclass(repr=False, eq=False)
class ReduceOnPlateauMomentum(MomentumSchedulerMixin, ReduceOnPlateauParamScheduler):
    """A factor of the momentum when a metric stops improving."""
