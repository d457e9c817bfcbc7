"""The schedule that is made of other curves, one after another."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import ConfigError, join_path, shown
from optimzoo.names.zoo import PARAM_SCHEDULERS
from optimzoo.schedules.base import LRSchedulerMixin, MomentumSchedulerMixin, ParamScheduler
from optimzoo.schedules.state import check_head
from optimzoo.schedules.windows import is_share, listed, share, step_count
from optimzoo.values import few
from optimzoo.wrappers import BaseOptimWrapper


@dataclass(repr=False, eq=False)
class SequenceParamScheduler(ParamScheduler):
    """Other curves, one after another; each begins with the value that the one before it left.

    Args:
        curves: For each, a dict with ``type``, the name of a curve such as ``"Linear"``, its length as ``steps``, and
            its arguments. The last may leave out ``steps``: it goes on to ``end``.

    Examples:
        >>> import torch
        >>> from optimzoo.schedules import SequenceLR
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> schedule = SequenceLR(
        ...     optimizer, [dict(type="Linear", start_factor=0.5, steps=3), dict(type="Exponential", gamma=0.5)])
        >>> for _ in range(6):
        ...     print(optimizer.param_groups[0]["lr"])
        ...     optimizer.step(), schedule.step()  # doctest: +ELLIPSIS
        0.5
        ...
    """

    curves: Sequence[Mapping[str, Any]]

    step_args = ("begin", "end", "steps")

    def _check(self) -> None:
        few(listed(self.curves, "curves", "of dicts with the key 'type'", least=1), "curves")
        if self.last_step != -1:
            raise ConfigError("a sequence resumes from its state dict", "last_step")

    def _start(self) -> None:
        """Build the curves; each sets the values it starts with."""
        self.schedules = list(self._build())
        for schedule in self.schedules:
            schedule._watch_no_more()
        self._global_step = 0

    def _build(self) -> Iterator[ParamScheduler]:
        begin = self.begin
        for index, curve in enumerate(self.curves):
            path = f"curves[{index}]"
            target, kwargs = _resolve(curve, path)
            self._check_curve(kwargs, path)
            if "steps" in kwargs:
                end = begin + step_count(kwargs.pop("steps"), f"{path}.steps", 1)
            elif index == len(self.curves) - 1:
                end = self.end
            else:
                raise ConfigError("all but the last need their length", f"{path}.steps")
            if begin < min(end, self.end):
                window = {"begin": begin, "end": min(end, self.end), "by": self.by, "verbose": self.verbose}
                yield calls.call(
                    target, {"optimizer": self.optimizer, "param_name": self.param_name, **window, **kwargs}, path
                )
            begin = end

    def _check_curve(self, kwargs: Mapping[str, Any], path: str) -> None:
        """Look whether a curve has no window and no unit of its own."""
        for key in ("begin", "end", "last_step", "param_name"):
            if key in kwargs:
                raise ConfigError(
                    "it is the sequence's: a curve begins where the one before it ends, and has its length, steps",
                    f"{path}.{key}",
                )
        for key, ours in {"by": self.by, "by_epoch": self.by == "epoch"}.items():
            if kwargs.get(key) not in (None, ours):
                raise ConfigError(
                    f"the sequence steps by {self.by}, and so do its curves: leave it out", f"{path}.{key}"
                )

    def step(self) -> None:
        """Step every curve; the one whose window it is acts."""
        self._settle()
        for schedule in self.schedules:
            schedule.step()
        self._global_step += 1
        self._last_value = self._current()

    def move_to(self, optimizer: Optimizer | BaseOptimWrapper) -> None:
        """Act on ``optimizer`` from now on, with every curve."""
        super().move_to(optimizer)
        for schedule in self.schedules:
            schedule.move_to(self.optimizer)

    def _admit(self) -> None:
        self._make_room()  # every curve admits them itself

    def _catch_up(self, indices: Sequence[int]) -> None:
        for schedule in self.schedules:
            schedule._catch_up(indices)

    @classmethod
    def map_steps(cls, kwargs: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
        """Return keyword arguments with ``change`` applied to every count of steps, those of the curves included.

        Shares of the run are added up before they are rounded, so that the curves end where their sum does; a curve
        that is left without a step is left out.
        """
        mapped = super().map_steps(kwargs, change)
        if isinstance(kwargs.get("curves"), (list, tuple)):
            mapped["curves"], total, end = [], Fraction(0), 0
            for index, curve in enumerate(kwargs["curves"]):
                target, own = _resolve(curve, f"curves[{index}]")
                given = own.pop("steps", None)
                own = {"type": curve["type"], **target.map_steps(own, change)}
                if isinstance(given, Fraction) or is_share(given):
                    total = total + given if isinstance(given, Fraction) else min(total + share(given), Fraction(1))
                    before, end = end, change(total if isinstance(given, Fraction) else _in_percent(total))
                    own["steps"] = end - before
                elif given is not None:
                    own["steps"] = change(given)
                if own.get("steps") != 0 or given == 0:
                    mapped["curves"].append(own)
        return mapped

    def check_state(self, state: Mapping[str, Any], path: str = "") -> None:
        """Look at the states of the curves too."""
        super().check_state({key: value for key, value in state.items() if key != "schedules"}, path)
        states, listed_at = state.get("schedules"), join_path(path, "schedules")
        if not isinstance(states, (list, tuple)) or len(states) != len(self.schedules):
            raise ConfigError(f"a list of {len(self.schedules)} states is wanted, got {shown(states)}", listed_at)
        for index, (schedule, own) in enumerate(zip(self.schedules, states)):
            check_head(own, join_path(listed_at, index))
            schedule.check_state(own, join_path(listed_at, index))

    def _counters(self) -> dict[str, Any]:
        return {**super()._counters(), "schedules": [schedule.state_dict() for schedule in self.schedules]}

    def _continue(self, state_dict: Mapping[str, Any]) -> None:
        super()._continue({key: value for key, value in state_dict.items() if key != "schedules"})
        for schedule, state in zip(self.schedules, state_dict["schedules"]):
            schedule._continue(state)


@dataclass(repr=False, eq=False)
class SequenceLR(LRSchedulerMixin, SequenceParamScheduler):
    """Other curves of the learning rate, one after another."""


@dataclass(repr=False, eq=False)
class SequenceMomentum(MomentumSchedulerMixin, SequenceParamScheduler):
    """Other curves of the momentum, one after another."""


def _resolve(curve: Any, path: str) -> tuple[Any, dict[str, Any]]:
    if isinstance(curve, Mapping) and isinstance(curve.get("type"), str) and ":" not in curve["type"]:
        curve = {**curve, "type": re.sub("(LR|Momentum)?$", "ParamScheduler", curve["type"], count=1)}
    return PARAM_SCHEDULERS.resolve(curve, path)


def _in_percent(part: Fraction) -> str:
    return f"{100 * part.numerator / Decimal(part.denominator):f}%"
