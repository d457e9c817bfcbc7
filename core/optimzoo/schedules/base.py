"""The schedule of one hyperparameter: a window of steps, and a recursion on the groups' current values.

Each step computes the new value from the current one, so schedules on the same key compose: a warm-up multiplies what a
cosine has set. The numbers are those of mmengine.optim 0.10.7.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import ConfigError
from optimzoo.schedules.hyperparam import HyperParam
from optimzoo.schedules.state import ScheduleState, StandIn, own
from optimzoo.schedules.windows import INF, each_step, in_iterations, step_count
from optimzoo.values import one_of, whole_number
from optimzoo.wrappers import BaseOptimWrapper

logger = logging.getLogger("optimzoo")

UNITS = ("epoch", "iter", "update")
Self = TypeVar("Self", bound="ParamScheduler")


class ParamScheduler(ScheduleState):
    """Base of every schedule. A subclass gives the curve by overriding ``multiplier`` or ``_get_value``.

    Args:
        optimizer: The optimizer, or the wrapper around it. A group that is added to it later joins the schedule at the
            next step: what it was added with is its initial value.
        param_name: The key of the parameter groups to schedule, such as ``lr``, or an element, such as ``betas[0]``.
        begin: The step at which the schedule begins to act.
        end: The step before which it last acts.
        last_step: The index of the last step, to resume without a state dict; -1 to start. The window is counted from
            there, as in mmengine; a state dict resumes in the middle of any window.
        by_epoch: Whether a step is an epoch; else it is an iteration.
        verbose: Whether to log each new value.
        by: What a step is, ``"epoch"``, ``"iter"`` or ``"update"`` (of the parameters, so that accumulation and skipped
            steps do not count); overrides ``by_epoch``.

    Raises:
        ConfigError: An argument is wrong, or the groups have no such key.
    """

    step_args: ClassVar[tuple[str, ...]] = ("begin", "end")
    """Arguments counted in steps: those that follow when epochs are turned into iterations, or may be ``"5%"``."""

    _base_values: list[float] | None = None

    need_val_args: ClassVar[bool] = False
    """Whether ``step`` takes the metrics of a validation too."""

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
        self.begin = step_count(begin, "begin", 0)
        self.end = step_count(end, "end")
        if self.end <= self.begin:
            raise ConfigError(f"it must be larger than begin, which is {begin}; got {end}", "end")
        one_of(by, (None, *UNITS), "by")
        self.optimizer = optimizer
        self.param_name = param_name
        self.by = unit_of({"by": by, "by_epoch": by_epoch})
        self.verbose = verbose
        self.last_step = whole_number(last_step, "last_step", -1)
        self._global_step = -1
        for name in self.per_group:  # an attribute of the object is part of its state
            setattr(self, name, getattr(self, name))
        self.hyperparam = HyperParam.parse(param_name)
        self._initial = f"initial_{param_name}"
        for number, group in enumerate(optimizer.param_groups):
            current = self.hyperparam.check(group)
            if last_step == -1:
                group.setdefault(self._initial, current)
            elif self._initial not in group:
                raise ConfigError(
                    f"group {number} has no {self._initial!r} to resume from at last_step={last_step}; load the "
                    "optimizer's state first, or start with last_step=-1",
                    "last_step",
                )
        self._own = own(optimizer)
        self._known = len(self._own.param_groups)
        self._last_value = self._current()
        self._start()

    def _start(self) -> None:
        """Take the first step, which sets the values that training starts with."""
        self.step()

    @property
    def by_epoch(self) -> bool:
        """Whether a step is an epoch."""
        return self.by == "epoch"

    @property
    def total_iters(self) -> int:
        """Steps from the first of the window to the last."""
        return self.end - self.begin - 1

    @property
    def reach(self) -> float:
        """The step up to which the curve changes the value; INF if it has no end."""
        return self.end

    @property
    def base_values(self) -> list[float]:
        """The value of each group before any schedule touched it, unless others are set for this schedule."""
        if self._base_values is not None:
            return self._base_values
        return [group[self._initial] for group in self.optimizer.param_groups]

    @base_values.setter
    def base_values(self, values: list[float]) -> None:
        self._base_values = list(values)

    def get_last_value(self) -> list[float]:
        """Return the value of each group after the last step."""
        return [float(value) for value in self._last_value]

    def step(self) -> None:
        """Advance by one step; inside the window, set the groups' values."""
        if len(self._own.param_groups) != self._known:
            self._admit()
        self._global_step += 1
        if self.begin <= self._global_step < self.end:
            self.last_step += 1
            self._last_value = self._get_value()
            self._write(self._last_value)
        else:
            self._last_value = self._current()

    def multiplier(self, step: int) -> float:
        """Return what the value is multiplied by on step ``step`` of the window, counted from 0."""
        raise NotImplementedError(f"{type(self).__name__} must override multiplier() or _get_value()")

    def _get_value(self) -> list[Any]:
        """Return the new value of each group, computed from the current one."""
        factor = self.multiplier(self.last_step)
        return [value * factor for value in self._current()]

    def _current(self) -> list[Any]:
        return self.hyperparam.values(self.optimizer.param_groups)

    def _write(self, values: list[Any]) -> None:
        self.hyperparam.write(self.optimizer.param_groups, values)
        if self.verbose:
            for number, value in enumerate(values):
                logger.info("%s of group %d is now %.4e", self.param_name, number, value)

    def move_to(self, optimizer: Optimizer | BaseOptimWrapper) -> None:
        """Act on ``optimizer`` from now on; its groups keep their values."""
        for group in optimizer.param_groups:
            group.setdefault(self._initial, self.hyperparam.check(group))
        self.optimizer = optimizer
        self._own = own(optimizer)

    def _admit(self) -> None:
        """Bring the groups that were added since the last step to where they would be had they been there."""
        added = range(self._known, len(self._own.param_groups))
        self._make_room()
        for index in added:
            group = self._own.param_groups[index]
            initial = group.setdefault(self._initial, self.hyperparam.check(group))
            if self._base_values is not None:
                self._base_values[index] = initial
        self._catch_up(added)

    def _catch_up(self, indices: Sequence[int]) -> None:
        """Take the groups at ``indices`` from their initial values through the steps so far."""
        groups = self.optimizer.param_groups
        alone = copy.copy(self)
        alone.move_to(StandIn([groups[index] for index in indices], self.optimizer.defaults))
        for name, values in self._values_per_group():
            setattr(alone, name, [values[index] for index in indices])
        for alone.last_step in range(0 if self.need_val_args else self.last_step + 1):
            alone._write(alone._get_value())
        for name, values in self._values_per_group():
            for index, value in zip(indices, getattr(alone, name)):
                values[index] = value

    @classmethod
    def map_steps(cls, kwargs: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
        """Return keyword arguments of the class with ``change`` applied to every count of steps among them."""
        return {k: each_step(v, change) if k in cls.step_args else v for k, v in kwargs.items()}

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
        if not kwargs.pop("by_epoch", True) or kwargs.pop("by", None) not in (None, "epoch"):
            raise ConfigError("only a schedule by epoch can be converted", "convert_to_iter_based")
        kwargs = cls.map_steps(kwargs, lambda steps: in_iterations(steps, epoch_length))
        for key in ("begin", "end"):
            if isinstance(kwargs.get(key), float):
                kwargs[key] = int(kwargs[key])
        built: Self = calls.call(
            cls, {**dict(zip(inspect.signature(cls).parameters, args)), **kwargs, "by_epoch": False}
        )
        return built

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.param_name}, begin={self.begin}, end={self.end}, by={self.by!r})"


def unit_of(arguments: Mapping[str, Any]) -> str:
    """Return what a step is to a schedule with these keyword arguments."""
    by: str = arguments.get("by") or ("epoch" if arguments.get("by_epoch", True) else "iter")
    return by
