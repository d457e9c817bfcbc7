"""The schedule of one hyperparameter: a window of steps, and a recursion on the groups' current values.

Each step computes the new value from the current one, so schedules on the same key compose: a warm-up multiplies what a
cosine has set. The numbers are those of mmengine.optim 0.10.7.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.checks import one_of, whole_number
from optimzoo.errors import ConfigError
from optimzoo.schedulers.hyperparam import HyperParam
from optimzoo.wrappers import BaseOptimWrapper

logger = logging.getLogger("optimzoo")

INF = int(1e9)
"""The ``end`` of a schedule that never stops."""

UNITS = ("epoch", "iter", "update")
Self = TypeVar("Self", bound="ParamScheduler")


class ParamScheduler:
    """Base of every schedule. A subclass gives the curve by overriding ``multiplier`` or ``_get_value``.

    Args:
        optimizer: The optimizer, or the wrapper around it.
        param_name: The key of the parameter groups to schedule, such as ``lr``, or an element, such as ``betas[0]``.
        begin: The step at which the schedule begins to act.
        end: The step before which it last acts.
        last_step: The index of the last step, to resume without a state dict; -1 to start.
        by_epoch: Whether a step is an epoch; else it is an iteration.
        verbose: Whether to log each new value.
        by: What a step is, ``"epoch"``, ``"iter"`` or ``"update"`` (of the parameters, so that accumulation and skipped
            steps do not count); overrides ``by_epoch``.

    Raises:
        ConfigError: An argument is wrong, or the groups have no such key.
    """

    step_args: ClassVar[tuple[str, ...]] = ("begin", "end")
    """Arguments counted in steps, multiplied by the epoch's length when epochs are turned into iterations."""

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
        if not isinstance(optimizer, (Optimizer, BaseOptimWrapper)):
            raise ConfigError(f"an optimizer or optimizer wrapper is wanted, got {optimizer!r}", "optimizer")
        whole_number(begin, "begin", 0)
        whole_number(last_step, "last_step", -1)
        if whole_number(end, "end") <= begin:
            raise ConfigError(f"it must be larger than begin, which is {begin}; got {end}", "end")
        one_of(by, (None, *UNITS), "by")
        self.optimizer = optimizer
        self.param_name = param_name
        self.begin = begin
        self.end = end
        self.by = by or ("epoch" if by_epoch else "iter")
        self.verbose = verbose
        self.last_step = last_step
        self._global_step = -1
        self.hyperparam = HyperParam.parse(param_name)
        self._initial = f"initial_{param_name}"
        for number, group in enumerate(optimizer.param_groups):
            current = self.hyperparam.get(group)
            if last_step == -1:
                group.setdefault(self._initial, current)
            elif self._initial not in group:
                raise ConfigError(
                    f"group {number} has no {self._initial!r} to resume from at last_step={last_step}; load the "
                    "optimizer's state first, or start with last_step=-1",
                    "last_step",
                )
        self._last_value: list[float] = self._current()
        self._start()

    def _start(self) -> None:
        """Take the first step, which sets the values that training starts with."""
        self.step()

    @property
    def by_epoch(self) -> bool:
        """Whether a step is an epoch."""
        return self.by == "epoch"

    @property
    def base_values(self) -> list[float]:
        """The value of each group before any schedule touched it."""
        return [group[self._initial] for group in self.optimizer.param_groups]

    def get_last_value(self) -> list[float]:
        """Return the value of each group after the last step."""
        return self._last_value

    def step(self) -> None:
        """Advance by one step; inside the window, set the groups' values."""
        self._global_step += 1
        if self.begin <= self._global_step < self.end:
            self.last_step += 1
            self._write(self._get_value())
        self._last_value = self._current()

    def multiplier(self, step: int) -> float:
        """Return what the value, less its floor, is multiplied by on step ``step`` of the window, counted from 0."""
        raise NotImplementedError(f"{type(self).__name__} must override multiplier() or _get_value()")

    def floor(self, base: float) -> float:
        """Return the value that the multiplier does not touch, given the group's initial value."""
        return 0.0

    def _get_value(self) -> list[float]:
        """Return the new value of each group, computed from the current one."""
        factor = self.multiplier(self.last_step)
        current = self._current()
        if factor == 1:
            return current
        floors = map(self.floor, self.base_values)
        return [(value - floor) * factor + floor for value, floor in zip(current, floors)]

    def _current(self) -> list[float]:
        return [self.hyperparam.get(group) for group in self.optimizer.param_groups]

    def _write(self, values: list[float]) -> None:
        for number, (group, value) in enumerate(zip(self.optimizer.param_groups, values)):
            self.hyperparam.set(group, value)
            if self.verbose:
                logger.info("%s of group %d is now %.4e", self.param_name, number, value)

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's arguments and counters, all of them plain numbers, strings and lists."""
        return {
            key: value
            for key, value in vars(self).items()
            if key != "optimizer" and isinstance(value, (int, float, str, list, tuple, dict, type(None)))
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; the groups' values come with the optimizer's state."""
        vars(self).update(state_dict)

    @classmethod
    def build_iter_from_epoch(cls: type[Self], *args: Any, epoch_length: int, **kwargs: Any) -> Self:
        """Build the schedule that steps by iteration from arguments that count epochs.

        Args:
            *args: Positional arguments of the class: the optimizer.
            epoch_length: Iterations in an epoch.
            **kwargs: Keyword arguments of the class.

        Raises:
            ConfigError: The arguments do not count epochs.
        """
        whole_number(epoch_length, "epoch_length", 1)
        if not kwargs.pop("by_epoch", True) or kwargs.pop("by", "epoch") != "epoch":
            raise ConfigError("only a schedule by epoch can be converted", "convert_to_iter_based")
        for key in cls.step_args:
            kwargs[key] = _in_iterations(kwargs.get(key), epoch_length)
        kwargs = {key: value for key, value in kwargs.items() if value is not None}
        built: Self = calls.call(
            cls, {**dict(zip(inspect.signature(cls).parameters, args)), **kwargs, "by_epoch": False}
        )
        return built

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.param_name}, begin={self.begin}, end={self.end}, by={self.by!r})"


def _in_iterations(steps: Any, epoch_length: int) -> Any:
    if steps is None or steps == INF:
        return steps
    if isinstance(steps, (list, tuple)):
        return [_in_iterations(s, epoch_length) for s in steps]
    if isinstance(steps, float):
        return int(steps * epoch_length)
    return steps * epoch_length
