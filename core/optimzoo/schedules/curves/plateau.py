"""The schedule that watches a metric instead of counting steps."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimzoo.errors import ConfigError, OptimzooWarning, did_you_mean, near, shown
from optimzoo.schedules.base import LRSchedulerMixin, MomentumSchedulerMixin, ParamScheduler
from optimzoo.schedules.targets import one_per_group
from optimzoo.schedules.windows import INF, amount
from optimzoo.values import is_number, one_of, whole_number


@dataclass(repr=False, eq=False)
class ReduceOnPlateauParamScheduler(ParamScheduler):
    """A factor when a metric stops improving: when it has not improved for more than ``patience`` validations.

    Args:
        monitor: The name of the metric; ``loss`` is also ``val_loss``, as the log of a run calls it.
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
        for name in ("patience", "cooldown"):
            whole_number(getattr(self, name), name, 0)
        for name in ("threshold", "eps"):
            amount(getattr(self, name), name)
        self.rule_worse = math.inf if self.rule == "less" else -math.inf
        self.best: float | None = None
        self.num_bad_epochs = self.cooldown_counter = 0
        self._length = INF  # the metric decides

    def _start(self) -> None:
        """Change nothing: training starts with the values as they are."""
        self._global_step = 0
        self.min_values = one_per_group(self.min_value, "min_value", self.optimizer)

    def step(self, metrics: Mapping[str, Any] | None = None) -> None:
        """Count a step, or look at the metrics of a validation.

        Args:
            metrics: The metrics by name; None to count a step. NaN is no improvement.

        Raises:
            ConfigError: The monitored metric is not among them, or is no number. Nothing has changed.
        """
        counts = metrics is not None and self.begin <= self._global_step < self.end
        metric = self._metric(metrics) if counts else None
        self._watch_no_more()
        self._settle()
        if metrics is None:
            self._global_step += 1
        elif metric is not None:
            self.last_step += 1
            self._observe(metric)
        self._last_value = self._current()

    def _metric(self, metrics: Any) -> float:
        if not isinstance(metrics, Mapping):
            raise ConfigError(f"metrics by name are wanted, such as {{{self.monitor!r}: 0.5}}, got {shown(metrics)}")
        name = self.monitor if self.monitor in metrics else self.monitor.removeprefix("val_")
        if name not in metrics:
            names = list(map(str, metrics))
            hint = did_you_mean(near(name, names))
            raise ConfigError(
                f"the validation has no metric {self.monitor!r}; it has {', '.join(names) or 'none'}.{hint}", "monitor"
            )
        metric = metrics[name]
        shape = getattr(metric, "shape", None)
        single = metric if shape is None or math.prod(shape) != 1 else metric.item()
        if not is_number(single):
            raise ConfigError(f"the metric {self.monitor!r} is {shown(metric)}: a number is wanted", "monitor")
        return float(single)

    def _observe(self, metric: float) -> None:
        best = self.best
        if self._is_better(metric, best):
            if best is not None and best < 0 and (metric >= best if self.rule == "less" else metric <= best):
                warnings.warn(
                    f"{self.monitor} of {metric:g} counts as better than {best:g}: below 0, a relative threshold lies "
                    "on the wrong side, and the value may never be reduced; set threshold_rule='abs'",
                    OptimzooWarning,
                    stacklevel=3,
                )
            self.best = metric
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self.hyperparam.write(self.optimizer.param_groups, self._get_value())
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def _get_value(self) -> list[Any]:
        current = [float(value) for value in self._current()]
        reduced = [max(value * self.factor, low) for value, low in zip(current, self.min_values)]
        return [new if value - new > self.eps else value for value, new in zip(current, reduced)]

    def _is_better(self, metric: float, best: float | None) -> bool:
        if best is None:
            return metric < math.inf if self.rule == "less" else metric > -math.inf  # nor is NaN an improvement
        sign = 1 if self.rule == "less" else -1
        bar = best * (1 - sign * self.threshold) if self.threshold_rule == "rel" else best - sign * self.threshold
        return metric < bar if self.rule == "less" else metric > bar


@dataclass(repr=False, eq=False)
class ReduceOnPlateauLR(LRSchedulerMixin, ReduceOnPlateauParamScheduler):
    """A factor of the learning rate when a metric stops improving."""


@dataclass(repr=False, eq=False)
class ReduceOnPlateauMomentum(MomentumSchedulerMixin, ReduceOnPlateauParamScheduler):
    """A factor of the momentum when a metric stops improving."""
