"""The schedule of one hyperparameter: a window of steps, and a curve over it.

Each step computes the new value from the current one, so schedules on the same key compose: a warm-up multiplies what a
cosine has set. The numbers are those of mmengine.optim 0.10.7. Curves are dataclasses: a curve names its arguments as
fields, checks them in ``_check``, and gives its shape as ``height``.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Self

from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import ConfigError
from optimzoo.schedules.hyperparam import HyperParam
from optimzoo.schedules.order import FirstStep
from optimzoo.schedules.state import ScheduleState, StandIn, own
from optimzoo.schedules.subset import Subset
from optimzoo.schedules.windows import INF, each_step, in_iterations, refuse_empty, step_count
from optimzoo.values import one_of, whole_number
from optimzoo.wrappers import BaseOptimWrapper

logger = logging.getLogger("optimzoo")

UNITS = ("epoch", "iter", "update")


@dataclass(init=False, repr=False, eq=False)
class ParamScheduler(ScheduleState):
    """Base of every schedule. A subclass gives the curve by overriding ``height``, or ``_get_value`` as in mmengine.

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
        groups: The groups to act on: a pattern such as ``"*.bias"``, or a list of them, of their parameters' names or
            of the group's ``name`` or ``part``; all by default.

    Raises:
        ConfigError: An argument is wrong, or the groups have no such key.
    """

    optimizer: Optimizer | BaseOptimWrapper
    param_name: str
    _: KW_ONLY
    begin: int = 0
    end: int = INF
    last_step: int = -1
    by_epoch: bool = True
    verbose: bool = False
    by: str | None = None
    groups: str | Sequence[str] | None = None

    step_args: ClassVar[tuple[str, ...]] = ("begin", "end")
    """Arguments counted in steps: those that follow when epochs are turned into iterations, or may be ``"5%"``."""

    need_val_args: ClassVar[bool] = False
    """Whether ``step`` takes the metrics of a validation too."""

    gives_back: ClassVar[bool] = False
    """Whether the curve's last value is due after a window of a single step, which had the first."""

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
        groups: str | Sequence[str] | None = None,
    ) -> None:
        self.optimizer, self.param_name = optimizer, param_name
        self.begin, self.end, self.last_step, self.by_epoch, self.verbose = begin, end, last_step, by_epoch, verbose
        self.by, self.groups = by, groups
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the arguments, note the groups' initial values, and take the first step."""
        self._note_arguments()
        if not isinstance(self.optimizer, (Optimizer, BaseOptimWrapper)):
            raise ConfigError(f"an optimizer or optimizer wrapper is wanted, got {self.optimizer!r}", "optimizer")
        begin = self.begin
        self.begin = step_count(begin, "begin", 0)
        self.end = step_count(self.end, "end")
        if self.end <= self.begin:
            raise ConfigError(f"it must be larger than begin, which is {begin}; got {self.end}", "end")
        self._stop = self.end + (self.gives_back and self.end - self.begin == 1)
        self.last_step = whole_number(self.last_step, "last_step", -1)
        one_of(self.by, (None, *UNITS), "by")
        self.by = unit_of({"by": self.by, "by_epoch": self.by_epoch})
        self.by_epoch = self.by == "epoch"
        vars(self).setdefault("total_iters", self.end - self.begin - 1)
        for name in self.per_group:
            setattr(self, name, None)
        self.hyperparam = HyperParam.parse(self.param_name)
        self._initial = f"initial_{self.param_name}"
        self._global_step = -1
        self._reached = (-1, 1.0)
        self._check()
        self._attach(self.optimizer)
        for number, group in enumerate(self.optimizer.param_groups):
            current = self.hyperparam.check(group, own(self.target))
            if self.last_step == -1:
                group.setdefault(self._initial, current)
            elif self._initial not in group:
                raise ConfigError(
                    f"group {number} has no {self._initial!r} to resume from at last_step={self.last_step}; load the "
                    "optimizer's state first, or start with last_step=-1",
                    "last_step",
                )
        self._known = len(self._own.param_groups)
        self._last_value = self._current()
        self._first_step = None
        self._start()
        self._first_step = None if isinstance(self.target, StandIn) else FirstStep(self.target)

    def _check(self) -> None:
        """Check the arguments of the curve, and work out what follows from them."""

    def _attach(self, optimizer: Optimizer | BaseOptimWrapper) -> None:
        self.target = optimizer
        self.optimizer = optimizer if self.groups is None else Subset(own(optimizer), self.groups)
        self._own = own(self.optimizer)

    def _start(self) -> None:
        """Take the first step, which sets the values that training starts with."""
        self.step()

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
        """Advance by one step; inside the window, set the groups' values.

        Warns:
            OptimzooWarning: It is the first step, and the optimizer has made none yet.
        """
        if len(self._own.param_groups) != self._known:
            self._admit()
        if self._first_step is not None:
            self._first_step.check()
            self._first_step = None
        self._global_step += 1
        if self.begin <= self._global_step < self._stop:
            self.last_step += 1
            self._last_value = self._get_value()
            self._write(self._last_value)
        else:
            self._last_value = self._current()

    def height(self, step: int) -> float:
        """Return the curve at step ``step`` of the window, 0 being the first, where the value at ``begin`` is 1."""
        raise NotImplementedError(f"{type(self).__name__} must override height() or _get_value()")

    def multiplier(self, step: int) -> float:
        """Return what the height is multiplied by on step ``step``; a curve that knows it exactly may override it."""
        reached, before = self._reached if step else (-1, 1.0)
        if reached != step - 1:
            before = self.height(step - 1)
        height = self.height(step)
        self._reached = (step, height)
        return height / before

    def floors(self) -> list[float] | None:
        """Return what the height of each group is measured from; None if that is 0."""
        return None

    def _get_value(self) -> list[Any]:
        """Return the new value of each group, computed from the current one."""
        current, floors = self._current(), self.floors()
        try:
            factor = self.multiplier(self.last_step)
        except ZeroDivisionError:  # the recursion cannot leave zero; the definition can
            height = self.height(self.last_step)
            lows = floors or [0.0] * len(current)
            return [value + (peak - low) * height for value, peak, low in zip(current, self._peaks(), lows)]
        if factor == 1:
            return current
        if factor == 0 and type(self).height is not ParamScheduler.height:
            self._note_peaks(current, floors or [0.0] * len(current))
        if floors is None:
            return [value * factor for value in current]
        return [(value - low) * factor + low for value, low in zip(current, floors)]

    def _note_peaks(self, current: list[Any], floors: list[float]) -> None:
        """Note what the values were at height 1, before the curve takes them to zero."""
        height = self.height(self.last_step - 1) if self.last_step else 1.0
        self._before_zero = [float(value - low) / height + low for value, low in zip(current, floors)]

    def _peaks(self) -> list[float]:
        """Return the values at height 1, of which the curve makes what comes after zero."""
        return self.base_values if self._before_zero is None else self._before_zero

    def _current(self) -> list[Any]:
        values: list[Any] = self.hyperparam.values(self.optimizer.param_groups)
        return values

    def _write(self, values: list[Any]) -> None:
        self.hyperparam.write(self.optimizer.param_groups, values)
        if self.verbose:
            for number, value in enumerate(values):
                logger.info("%s of group %d is now %.4e", self.param_name, number, value)

    def move_to(self, optimizer: Optimizer | BaseOptimWrapper) -> None:
        """Act on ``optimizer`` from now on; its groups keep their values."""
        self._attach(optimizer)
        for group in self.optimizer.param_groups:
            group.setdefault(self._initial, self.hyperparam.check(group, own(optimizer)))

    @classmethod
    def map_steps(cls, kwargs: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
        """Return keyword arguments of the class with ``change`` applied to every count of steps among them."""
        return {k: each_step(v, change) if k in cls.step_args else v for k, v in kwargs.items()}

    @classmethod
    def build_iter_from_epoch(cls, *args: Any, epoch_length: int, **kwargs: Any) -> Self:
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
        window: dict[str, Any] = {key: kwargs[key] for key in ("begin", "end") if key in kwargs}
        kwargs = cls.map_steps(kwargs, lambda steps: in_iterations(steps, epoch_length))
        for key in window:
            if isinstance(kwargs[key], float) and math.isfinite(kwargs[key]):
                kwargs[key] = int(kwargs[key])
        refuse_empty(window, kwargs, epoch_length)
        built: Self = calls.call(cls, {**dict(zip(calls.parameters(cls), args)), **kwargs, "by_epoch": False})
        return built

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.param_name}, begin={self.begin}, end={self.end}, by={self.by!r})"


def unit_of(arguments: Mapping[str, Any]) -> str:
    """Return what a step is to a schedule with these keyword arguments."""
    by: str = arguments.get("by") or ("epoch" if arguments.get("by_epoch", True) else "iter")
    return by
