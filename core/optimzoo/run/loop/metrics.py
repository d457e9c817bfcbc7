"""The metrics of a run: functions of the model and a batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from optimzoo.errors import ConfigError, Problems
from optimzoo.run.loop.step import name_of, scalars
from optimzoo.run.objects import find_function
from optimzoo.run.spread.processes import OneProcess
from optimzoo.schedules import ParamScheduler
from optimzoo.schedules.build import ScheduleRecord
from optimzoo.values import few, plain

Metric = Callable[[nn.Module, Any], dict[str, Any]]


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch a model to evaluation, and then every module back to the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def find_metrics(metrics: Any) -> tuple[Metric, ...]:
    """Return the functions that a config's ``metrics`` names, each made to check what it returns.

    Raises:
        ConfigError: One is no function of a model and a batch.
    """
    metrics = plain(metrics, "metrics")
    listed = [] if metrics is None else metrics if isinstance(metrics, (list, tuple)) else [metrics]
    with Problems() as problems:
        found = [problems.catch(_checked, metric, index) for index, metric in enumerate(few(listed, "metrics"))]
    return tuple(found)


def measured(metrics: Iterable[Metric], model: nn.Module, batch: Any) -> dict[str, Any]:
    """Return the values of all the metrics on a batch.

    Raises:
        ConfigError: Two have one name.
    """
    found: dict[str, Any] = {}
    for metric in metrics:
        for name, value in metric(model, batch).items():
            if name in found:
                raise ConfigError(f"two of them measure {name!r}, or it is the loss function's; rename one", "metrics")
            found[name] = value
    return found


class Means:
    """Means over samples; of a value that some batches lack, over the samples of the others.

    Args:
        device: Where the values are; sums there wait for nothing.
    """

    def __init__(self, device: torch.device) -> None:
        self._dtype = torch.float32 if device.type == "mps" else torch.float64
        self._sums: dict[str, Any] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Any], count: int) -> None:
        """Add the means over ``count`` samples."""
        for name, value in values.items():
            value = value.to(self._dtype) if isinstance(value, Tensor) else value
            self._sums[name] = self._sums.get(name, 0.0) + value * count
            self._counts[name] = self._counts.get(name, 0) + count

    def over(self, processes: OneProcess) -> dict[str, float]:
        """Return the means over the samples of all processes."""
        sums, counts = processes.total(self._sums), processes.total(self._counts)
        return {name: total / counts[name] for name, total in sums.items()}


def unmeasured(
    why: str, best: str | None, schedules: Iterable[ScheduleRecord | ParamScheduler]
) -> Iterator[ConfigError]:
    """Yield what watches a metric, for a run that measures none, and why it does not."""
    why = f"it watches a metric, and {why}"
    if best is not None:
        yield ConfigError(why, "checkpoint.best")
    for index, schedule in enumerate(schedules):
        path = f"param_scheduler[{index}]"
        made, path = (schedule.target, schedule.path) if isinstance(schedule, ScheduleRecord) else (schedule, path)
        if made.need_val_args:
            yield ConfigError(why, path)


def _checked(metric: Any, index: int) -> Metric:
    function = find_function(metric, ("model", "batch"), f"metrics[{index}]")

    def measure(model: nn.Module, batch: Any) -> dict[str, Any]:
        return scalars(function(model, batch), name_of(function), f"metrics[{index}]", strict=True)

    return measure
