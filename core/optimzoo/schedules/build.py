"""From config dicts to schedules: windows that follow the run's length, and what they say about it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning, join_path
from optimzoo.names.zoo import PARAM_SCHEDULERS
from optimzoo.schedules import INF, ParamScheduler, SchedulerGroup
from optimzoo.schedules.base import unit_of
from optimzoo.schedules.windows import is_share, share, whole_steps
from optimzoo.values import is_number
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict

FAR = 3
"""A horizon this many times the run's length is not meant for the run."""

Member = BaseOptimWrapper | Optimizer


@dataclass(frozen=True)
class RunLength:
    """How long a run is, as far as it is known.

    Args:
        epoch_length: Iterations in an epoch.
        max_epochs: Epochs.
        max_iters: Iterations; by default those of the epochs.
    """

    epoch_length: int | None = None
    max_epochs: int | None = None
    max_iters: int | None = None

    @property
    def iterations(self) -> int | None:
        """Iterations in the run."""
        if self.max_iters is None and self.epoch_length is not None and self.max_epochs is not None:
            return self.epoch_length * self.max_epochs
        return self.max_iters

    @property
    def epochs(self) -> Fraction | int | None:
        """Epochs in the run, the last of them in part where the iterations end within it."""
        if self.iterations is not None and self.epoch_length:
            return Fraction(self.iterations, self.epoch_length)
        return self.max_epochs

    def steps(self, unit: str, optim_wrapper: Member) -> int | None:
        """Return the steps in the run: epochs, iterations, or updates of ``optim_wrapper``."""
        if unit == "epoch":
            return self.epochs if self.epochs is None else math.ceil(self.epochs)
        iterations = self.iterations
        if unit == "iter" or iterations is None:
            return iterations
        return math.ceil(iterations / getattr(optim_wrapper, "_accumulative_counts", 1))


def build_param_scheduler(
    optim_wrapper: BaseOptimWrapper | OptimWrapperDict | Optimizer,
    cfg: Mapping[str, Any] | Sequence[Any] | ParamScheduler | None,
    epoch_length: int | None = None,
    max_epochs: int | None = None,
    max_iters: int | None = None,
) -> SchedulerGroup:
    """Build the schedules that ``cfg`` describes.

    Args:
        optim_wrapper: What they act on.
        cfg: A dict with ``type`` and the schedule's arguments, a list of such dicts, or None for no schedule. For an
            OptimWrapperDict, such a list for all members, or a dict of lists by their names. With
            ``convert_to_iter_based=True`` arguments in epochs are turned into iterations. Every count of steps may be a
            share of the run, such as ``"5%"``. A missing ``end`` is the end of the run, where that is known.
        epoch_length: Iterations in an epoch.
        max_epochs: Epochs in the run.
        max_iters: Iterations in the run; ``epoch_length * max_epochs`` by default.

    Raises:
        ConfigError: ``cfg`` is wrong; the error's path begins with ``param_scheduler``.
    """
    calls.raise_all(param_scheduler_problems(cfg))
    run = RunLength(epoch_length, max_epochs, max_iters)
    members: Mapping[str, Member] = (
        optim_wrapper if isinstance(optim_wrapper, OptimWrapperDict) else {"": optim_wrapper}
    )
    cfgs = by_member(cfg, members)
    built: list[ParamScheduler] = []
    for name, member in members.items():
        path = join_path("param_scheduler", name) if is_by_member(cfg) else "param_scheduler"
        schedules = [
            item if isinstance(item, ParamScheduler) else _build(item, place, member, run)
            for place, item in _schedules(cfgs[name], path)
        ]
        _warn_of_horizons(schedules, run, path)
        built += schedules
    _warn_of_floors(built)
    return SchedulerGroup(built, members.values())


def param_scheduler_problems(cfg: Any, path: str = "param_scheduler") -> Iterator[OptimzooError]:
    """Yield what is wrong with a ``param_scheduler`` config, as far as it can be told without an optimizer."""
    if is_by_member(cfg):
        for name, schedules in cfg.items():
            yield from param_scheduler_problems(schedules, join_path(path, name))
        return
    for place, item in _schedules(cfg, path):
        if isinstance(item, ParamScheduler):
            continue
        try:
            target, kwargs = PARAM_SCHEDULERS.resolve(item, place)
            convert = kwargs.pop("convert_to_iter_based", False)
            if not isinstance(convert, bool):
                yield ConfigError(f"true or false is wanted, got {convert!r}", f"{place}.convert_to_iter_based")
            whole = target.map_steps(kwargs, lambda steps: math.ceil(share(steps, "")) if is_share(steps) else steps)
        except ConfigError as error:
            yield error.under("" if error.path.startswith(place) else place)
        except OptimzooError as error:
            yield error
        else:
            yield from calls.problems(target, whole, place, given=("optimizer",))


def by_member(cfg: Any, members: Iterable[str]) -> Mapping[str, Any]:
    """Return the schedules of each of several optimizers.

    Args:
        cfg: Schedules for all of them, or a dict of schedules by the optimizers' names.
        members: The names; that of a single optimizer is empty.

    Raises:
        ConfigError: ``cfg`` gives schedules by other names.
    """
    names = list(members)
    cfgs: Mapping[str, Any] = cfg if is_by_member(cfg) else dict.fromkeys(names, cfg)
    if cfgs.keys() != set(names):
        raise ConfigError(
            "the key 'type' is missing; schedules by name are for several optimizers, and there is one"
            if names == [""]
            else f"schedules for each of {', '.join(map(repr, names))} are wanted, got {', '.join(map(repr, cfgs))}",
            "param_scheduler",
        )
    return cfgs


def is_by_member(cfg: Any) -> bool:
    """Whether ``cfg`` gives schedules by the names of several optimizers."""
    return (
        isinstance(cfg, Mapping)
        and "type" not in cfg
        and any(isinstance(v, (list, tuple, Mapping)) for v in cfg.values())
    )


def _schedules(cfg: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield each schedule's config with its path."""
    if cfg is None:
        return
    if isinstance(cfg, (list, tuple, SchedulerGroup)):
        for index, item in enumerate(cfg):
            yield join_path(path, index), item
    else:
        yield path, cfg


def _build(cfg: Any, path: str, optim_wrapper: Member, run: RunLength) -> ParamScheduler:
    target, kwargs = PARAM_SCHEDULERS.resolve(cfg, path)
    convert = kwargs.pop("convert_to_iter_based", False)
    unit = unit_of(kwargs)
    length = run.epochs if convert else run.steps(unit, optim_wrapper)
    window: dict[str, Any] = {key: kwargs[key] for key in ("begin", "end") if key in kwargs}
    try:
        kwargs = target.map_steps(kwargs, lambda steps: _in_run(steps, length, unit, convert))
        if length is not None and "end" in calls.parameters(target):
            kwargs["end"] = _end(kwargs, window, length, unit, run.epoch_length or 1 if convert else 1)
        if convert and run.epoch_length is None:
            raise ConfigError("the length of an epoch is not known: pass epoch_length=", "convert_to_iter_based")
        built: ParamScheduler
        if convert:
            built = target.build_iter_from_epoch(optim_wrapper, epoch_length=run.epoch_length, **kwargs)
        else:
            built = calls.call(target, {"optimizer": optim_wrapper, **kwargs})
    except ConfigError as error:
        raise error.under(path) from error.__cause__
    return built


def _in_run(steps: Any, length: Fraction | int | None, unit: str, convert: bool) -> Any:
    """Return a count of steps that may be a share of the run; one to be converted stays exact until then."""
    if not is_share(steps):
        return steps
    part = share(steps, "")
    if length is None:
        needed = {"epoch": "max_epochs=", "iter": "max_iters=", "update": "max_iters="}[unit]
        raise ConfigError(f"{steps!r} is a share of the run, whose length in {unit}s is not known: pass {needed}")
    return part * length if convert else whole_steps(part * length)


def _end(kwargs: Mapping[str, Any], window: Mapping[str, Any], length: Any, unit: str, scale: int) -> Any:
    """Return the end of a window that is ``window`` in the config, in a run that ends at ``length``.

    A window that begins at a share of the run which rounds to its end is put behind it: it never acts.
    """
    begin, end = kwargs.get("begin", 0), kwargs.get("end", length)
    if not all(is_number(edge) or isinstance(edge, Fraction) for edge in (begin, end)):
        return end
    if not any(map(is_share, window.values())):
        if begin >= length and "end" not in window:
            raise ConfigError(f"it begins at {unit} {float(begin):g}, and the run ends at {float(length):g}")
        return end
    first, last = (whole_steps(edge * scale) if isinstance(edge, Fraction) else edge * scale for edge in (begin, end))
    if last > first:
        return end
    if first >= length * scale:
        return Fraction(first + 1, scale) if isinstance(length, Fraction) else first + 1
    raise ConfigError(
        f"from {window.get('begin', 0)!r} to {window.get('end', length)!r} there is no whole step of the run's "
        f"{length * scale}",
        "end",
    )


def _warn_of_floors(schedules: Sequence[ParamScheduler]) -> None:
    """Warn where the same absolute floor for all groups would end the proportions between them."""
    for schedule in schedules:
        floor = getattr(schedule, "eta_min", None)
        absolute = floor and getattr(schedule, "eta_min_ratio", None) is None
        if absolute and len(set(schedule.base_values)) > 1:
            _warn(
                f"param_scheduler: {type(schedule).__name__} goes down to eta_min={floor:g} in every group, and the "
                f"groups begin with different values of {schedule.param_name}: their proportions are lost on the way. "
                "eta_min_ratio keeps them"
            )
            return


def _warn_of_horizons(schedules: Sequence[ParamScheduler], run: RunLength, path: str) -> None:
    """Warn where a schedule counts in a unit that the run's length does not fit."""
    for schedule in schedules:
        length = run.steps(str(schedule.by), schedule.target)
        reach = schedule.reach
        last = max(other.reach for other in schedules if other.param_name == schedule.param_name)
        name = f"{path}: {type(schedule).__name__}"
        if schedule.by == "epoch" and _no_epoch_ends(run):
            _warn(
                f"{name} steps by epoch, and the run is {run.max_iters} iterations, in which no epoch is known to end: "
                "its values never move. Say by_epoch=False"
            )
        elif length is None or reach >= INF:
            continue
        elif reach >= FAR * length:
            _warn(
                f"{name} counts to {schedule.by} {reach}, and the run has {length}: are its units right? by_epoch says "
                "what it counts, and convert_to_iter_based=True turns epochs into iterations"
            )
        elif schedule.by != "epoch" and FAR * reach <= length and reach <= (run.max_epochs or 0) and reach == last:
            _warn(
                f"{name} counts to {schedule.by} {reach} of {length}: were epochs meant? by_epoch=True counts them, "
                "and convert_to_iter_based=True turns them into iterations"
            )


def _no_epoch_ends(run: RunLength) -> bool:
    if run.max_iters is None or run.max_epochs is not None:
        return False
    return run.epoch_length is None or run.max_iters < run.epoch_length


def _warn(message: str) -> None:
    warnings.warn(message, OptimzooWarning, stacklevel=4)
