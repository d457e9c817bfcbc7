"""The schedule of one hyperparameter: a window of steps, and a curve over it.

Each step computes the new value from the current one, so schedules on the same key compose: a warm-up multiplies what a
cosine has set. The numbers are those of mmengine.optim 0.10.7. Curves are dataclasses: a curve names its arguments as
fields, checks them in ``_check``, and gives its shape as ``height``.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import repeat
from typing import Any, ClassVar, Self

from torch.optim import Optimizer

from optimzoo.calls import raise_for_exit
from optimzoo.errors import ConfigError, OptimzooWarning, shown
from optimzoo.schedules import before
from optimzoo.schedules.order import WATCHED, FirstStep
from optimzoo.schedules.state import ScheduleState, unit_of
from optimzoo.schedules.targets import HyperParam, StandIn, Subset, own
from optimzoo.schedules.windows import INF, each_step, in_iterations, step_count
from optimzoo.values import is_number, whole_number
from optimzoo.wrappers import BaseOptimWrapper

logger = logging.getLogger("optimzoo")


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

    least = 0
    """How many steps the curve takes at least, however short its window: to its first change, or to its height."""

    gives_back: ClassVar[bool] = False
    """Whether the curve's last value is due after a window of a single step, which had the first."""

    _floored = False

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
        vars(self).update({name: value for name, value in locals().items() if name != "self"})
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the arguments, note the groups' initial values, and take the first step."""
        self._note_arguments()
        target, begin = self.optimizer, step_count(self.begin, "begin", 0)
        if not isinstance(target, (Optimizer, BaseOptimWrapper)):
            raise ConfigError(f"an optimizer or optimizer wrapper is wanted, got {shown(target)}", "optimizer")
        self.begin, self.end = begin, step_count(self.end, "end")
        if self.end <= begin:
            raise ConfigError(f"it must be larger than begin, which is {begin}; got {self.end}", "end")
        self._span = max(self.end - begin - 1, 1)
        self._stop = self.end + (self.gives_back and self.end - begin == 1)
        self.last_step = whole_number(self.last_step, "last_step", -1)
        self.by = unit_of(vars(self))
        self.by_epoch = self.by == "epoch"
        self.param_name = self._scheduled()
        vars(self).setdefault("total_iters", self.end - begin - 1)
        vars(self).update(dict.fromkeys(self.per_group))
        self.hyperparam = HyperParam.parse(self.param_name)
        self._initial = f"initial_{self.param_name}"
        self._global_step = -1
        self._reached = (-1, 1.0)
        self._length: Any = None
        self._check()
        scheduled = {id(group) for group in target.param_groups if self._initial in group}
        self._attach(target)
        self.hyperparam.part(own(target))
        held: list[tuple[float, bool]] = []
        for number, group in enumerate(self.optimizer.param_groups):
            current = self.hyperparam.check(group, own(target))
            held.append((float(current), id(group) in scheduled))
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
        self._settled = self._known
        self._start()
        if isinstance(target, StandIn):
            return
        before.note(own(target), self.hyperparam, self.optimizer.param_groups, held)
        if WATCHED.get():
            self._first_step, self._settled = FirstStep(target, [self.hyperparam]), -1

    def _scheduled(self) -> str:
        """Return the key to schedule."""
        return self.param_name

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
        return self.end if self._length is None else min(self.begin + self._length, INF)

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
        self._settle()
        self._global_step = step = self._global_step + 1
        if self.begin <= step < self._stop:
            self.last_step += 1
            try:
                self._last_value = values = self._get_value()
            except SystemExit as error:
                raise_for_exit(error, type(self).__name__)
            self.hyperparam.write(self.optimizer.param_groups, values)
            if self.verbose:
                for number, value in enumerate(values):
                    logger.info("%s of group %d is now %.4e", self.param_name, number, value)
        else:
            self._last_value = self._current()

    def _settle(self) -> None:
        """See to what comes before a step: that the optimizer made one, and groups that were added."""
        if len(self._own.param_groups) == self._settled:
            return
        if self._first_step is not None:
            self._first_step.check()
            self._first_step = None
        if len(self._own.param_groups) != self._known:
            self._admit()
        self._settled = self._known

    def height(self, step: int) -> float:
        """Return the curve at step ``step`` of the window, 0 being the first, where the value at ``begin`` is 1."""
        raise NotImplementedError(f"{type(self).__name__} must override height() or _get_value()")

    def lows(self) -> Iterable[float]:
        """Return what the height of each group is measured from, if ``_floored``."""
        return repeat(0.0)

    def _get_value(self) -> list[Any]:
        """Return the new value of each group, computed from the current one."""
        current, step = self._current(), self.last_step
        reached, before = self._reached
        if reached != step - 1 or not step:
            before = self.height(step - 1) if step else 1.0
        height = self.height(step)
        self._reached = (step, height)
        if not before:  # the recursion cannot leave zero; the definition can
            return [value + (peak - low) * height for value, peak, low in zip(current, self._peaks(), self.lows())]
        if height == before:
            return current
        if not height:  # note what the values were at height 1, before the curve takes them to zero
            self._before_zero = [float(value - low) / before + low for value, low in zip(current, self.lows())]
        factor = height / before
        if self._floored:
            return [(value - low) * factor + low for value, low in zip(current, self.lows())]
        return [value * factor for value in current]

    def _peaks(self) -> list[float]:
        """Return the values at height 1, of which the curve makes what comes after zero."""
        return self.base_values if self._before_zero is None else self._before_zero

    def _current(self) -> list[Any]:
        return self.hyperparam.values(self.optimizer.param_groups)

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
            ConfigError: The arguments do not count epochs, or the window, in epochs, has no iteration.
        """
        whole_number(epoch_length, "epoch_length", 1)
        if not kwargs.pop("by_epoch", True) or kwargs.pop("by", None) not in (None, "epoch"):
            raise ConfigError("only a schedule by epoch can be converted", "convert_to_iter_based")
        steps = cls.map_steps({**kwargs, "by_epoch": False}, lambda steps: in_iterations(steps, epoch_length))
        for key in ("begin", "end"):
            if isinstance(steps.get(key), float) and math.isfinite(steps[key]):
                steps[key] = int(steps[key])
        begin, end = steps.get("begin", 0), steps.get("end", INF)
        if is_number(begin) and is_number(end) and math.isfinite(begin + end) and end <= begin:
            first, last = (f"{float(kwargs.get(key, 0)):g}" for key in ("begin", "end"))
            raise ConfigError(
                f"from epoch {first} to {last} there is no whole iteration: an epoch has {epoch_length}. Make the "
                "window longer, or leave the schedule out",
                "end",
            )
        return cls(*args, **steps)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.param_name}, begin={self.begin}, end={self.end}, by={self.by!r})"


@dataclass(init=False, repr=False, eq=False)
class LRSchedulerMixin:
    """Makes a schedule of any key one of the learning rate: ``class MineLR(LRSchedulerMixin, Mine)``."""

    param_name: str = field(default="lr", init=False)

    def __init__(self, optimizer: Optimizer | BaseOptimWrapper, *args: Any, **kwargs: Any) -> None:
        super().__init__(optimizer, "lr", *args, **kwargs)  # type: ignore[call-arg]


@dataclass(init=False, repr=False, eq=False)
class MomentumSchedulerMixin:
    """Makes a schedule of any key one of the momentum, or of the first of the betas where there is none."""

    param_name: str = field(default="momentum", init=False)

    def __init__(self, optimizer: Optimizer | BaseOptimWrapper, *args: Any, **kwargs: Any) -> None:
        super().__init__(optimizer, "momentum", *args, **kwargs)  # type: ignore[call-arg]

    def _get_value(self) -> list[Any]:
        """Return the new values, and warn of a momentum that never forgets."""
        values: list[Any] = super()._get_value()  # type: ignore[misc]
        high = [value for value in values if isinstance(value, float) and value > 1]
        if high:
            what = f"{type(self).__name__} sets the momentum to {high[0]:g}: above 1, it grows without end"
            warnings.warn(what, OptimzooWarning, stacklevel=3)
        return values

    def _scheduled(self) -> str:
        optimizer, chosen = vars(self)["optimizer"], vars(self).get("groups")
        groups = [*optimizer.param_groups, optimizer.defaults]
        if chosen is not None:
            groups = Subset(own(optimizer), chosen).param_groups
        known = {key for group in groups for key in group}
        for key, name in (("momentum", "momentum"), ("betas", "betas[0]")):
            if key in known:
                return name
        raise ConfigError(
            f"the optimizer, {type(own(optimizer)).__name__}, has neither momentum nor betas to schedule", "type"
        )
