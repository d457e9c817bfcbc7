"""From config dicts to schedules: windows that follow the run's length, and what they say about it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import ConfigError, OptimzooWarning, Problems, join_path, shown
from optimzoo.names.zoo import PARAM_SCHEDULERS
from optimzoo.optimizers.heeded import heed
from optimzoo.optimizers.parts import each_of
from optimzoo.schedules import INF, ParamScheduler, SchedulerGroup
from optimzoo.schedules.order import WATCHED
from optimzoo.schedules.state import as_python, unit_of
from optimzoo.schedules.targets import own
from optimzoo.schedules.windows import has_share, is_share, share, whole_steps
from optimzoo.values import few, is_number, number, plain
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict

FAR = 3
"""A horizon this many times the run's length is not meant for the run."""

Member = BaseOptimWrapper | Optimizer


@dataclass(frozen=True)
class RunLength:
    """How long a run is, as far as it is known; its iterations are by default those of its epochs."""

    epoch_length: int | None = None
    max_epochs: int | None = None
    max_iters: int | None = None

    def __post_init__(self) -> None:
        for name, length in vars(self).items():
            if length is not None:
                number(length, name, 0)

    @property
    def iterations(self) -> int | None:
        """Iterations in the run."""
        if self.max_iters is None and self.epoch_length is not None and self.max_epochs is not None:
            return self.epoch_length * self.max_epochs
        return self.max_iters

    @property
    def epochs(self) -> Fraction | int | None:
        """Epochs in the run, the last of them in part where the iterations end within it."""
        if self.iterations is None or not self.epoch_length:
            return self.max_epochs
        whole, rest = divmod(self.iterations, self.epoch_length)
        return Fraction(self.iterations, self.epoch_length) if rest else whole

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
    run = RunLength(epoch_length, max_epochs, max_iters)
    members = optim_wrapper if isinstance(optim_wrapper, OptimWrapperDict) else {"": optim_wrapper}
    read = read_param_scheduler(cfg)
    records = by_member(read, members)
    built: list[ParamScheduler] = []
    scheduled: dict[type, None] = {}
    for name, member in members.items():
        path = join_path("param_scheduler", name) if isinstance(read, dict) else "param_scheduler"
        edges = [edge for r in records[name] if isinstance(r, ScheduleRecord) for edge in r.edges]
        watched = WATCHED.set(False)
        try:
            schedules = [r.build(member, run, edges) if isinstance(r, ScheduleRecord) else r for r in records[name]]
        finally:
            WATCHED.reset(watched)
        warn_of_horizons(schedules, run, path)
        if any(schedule.param_name == "lr" for schedule in schedules):
            scheduled |= dict.fromkeys(map(type, each_of(own(member))))
        built += schedules
    for cls in scheduled:
        heed(cls, "schedule")
    _warn_of_floors(built)
    return SchedulerGroup(built, members.values())


@dataclass(frozen=True)
class ScheduleRecord:
    """A schedule's config that was read; it is built once the optimizer and the run's length are known.

    Args:
        target: The schedule's class.
        kwargs: Its arguments, counts of steps as they are written.
        convert: Whether they count epochs, and are to count iterations.
        path: Where in the config it stands.
    """

    target: Any
    kwargs: Mapping[str, Any]
    convert: bool
    path: str

    @property
    def edges(self) -> list[tuple[str, Any]]:
        """The ends of the window, as they are written."""
        return [(key, self.kwargs[key]) for key in ("begin", "end") if key in self.kwargs]

    def build(self, optimizer: Member, run: RunLength, edges: Sequence[tuple[str, Any]]) -> ParamScheduler:
        """Return the schedule.

        Args:
            optimizer: What it acts on.
            run: How long the run is.
            edges: The ends of the windows of all its schedules: where they meet, a run may be too short for one.

        Raises:
            ConfigError: It does not suit the optimizer or the run.
        """
        target, convert, unit = self.target, self.convert, unit_of(self.kwargs)
        with calls.placed(target.__name__, self.path):
            length = run.epochs if convert else run.steps(unit, optimizer)
            kwargs = dict(self.kwargs)
            if has_share(kwargs):
                kwargs = target.map_steps(kwargs, lambda steps: _in_run(steps, length, unit, convert))
            if length is not None and "end" in calls.parameters(target):
                kwargs |= self._window(kwargs, edges, length, unit, run.epoch_length or 1 if convert else 1)
            if not convert:
                built: ParamScheduler = target(optimizer=optimizer, **kwargs)
                return built
            if run.epoch_length is None:
                unknown = "the length of an epoch is not known: pass epoch_length="
                raise ConfigError(f"{unknown}, or updates_per_epoch= to torch_scheduler", "convert_to_iter_based")
            built = target.build_iter_from_epoch(optimizer, epoch_length=run.epoch_length, **kwargs)
            return built

    def _window(
        self, kwargs: Mapping[str, Any], edges: Sequence[tuple[str, Any]], length: Any, unit: str, scale: int
    ) -> dict[str, Any]:
        """Return the window in a run that ends at ``length``; one without a step in it is put behind it, and told."""
        window = dict(self.edges)
        begin, end = kwargs.get("begin", 0), kwargs.get("end", length)
        if not all(is_number(edge) or isinstance(edge, Fraction) for edge in (begin, end)):
            return {"end": end}
        if not any(map(is_share, window.values())):
            if begin >= length and "end" not in window:
                raise ConfigError(f"it begins at {unit} {float(begin):g}, and the run ends at {float(length):g}")
            return {"end": end}
        first, last = (whole_steps(e * scale) if isinstance(e, Fraction) else e * scale for e in (begin, end))
        if last > first:
            return {"end": end}
        said = (
            f"from {window.get('begin', 0)!r} to {window.get('end', '100%')!r} there is no whole step of the run's "
            f"{length * scale}"
        )
        meets = [("end", window.get("begin")), ("begin", window.get("end"))]
        if first < length * scale and not any(edge in edges for edge in meets):
            raise ConfigError(said, "end")
        _warn(f"{self.path}: {said}: the {self.target.__name__} does nothing in it")
        return {"begin": length, "end": 2 * length}


Records = tuple[ScheduleRecord | ParamScheduler, ...]


def read_param_scheduler(cfg: Any) -> Records | dict[str, Records]:
    """Return what ``cfg`` says: a record for each schedule; for several optimizers by name, such records for each.

    Raises:
        ConfigError: ``cfg`` is wrong; one error lists all that is.
    """
    cfg = cfg if isinstance(cfg, SchedulerGroup) else plain(cfg, "param_scheduler")
    if isinstance(cfg, Mapping) and "param_scheduler" in cfg:
        raise ConfigError("this is the config of a run: pass what it has under 'param_scheduler'", "param_scheduler")
    with Problems() as problems:
        if is_by_member(cfg):
            return {name: _read_all(own, join_path("param_scheduler", name), problems) for name, own in cfg.items()}
        return _read_all(cfg, "param_scheduler", problems)


def _read_all(cfg: Any, path: str, problems: Problems) -> Records:
    """Return the record of each schedule."""
    if isinstance(cfg, (list, tuple, SchedulerGroup)):
        return tuple(problems.catch(_read, item, join_path(path, index)) for index, item in enumerate(few(cfg, path)))
    return () if cfg is None else (problems.catch(_read, cfg, path),)


def _read(cfg: Any, path: str) -> ScheduleRecord | ParamScheduler:
    if isinstance(cfg, (ParamScheduler, ScheduleRecord)):
        return cfg
    target, kwargs = PARAM_SCHEDULERS.resolve(cfg, path)
    convert = kwargs.pop("convert_to_iter_based", False)
    if not isinstance(convert, bool):
        raise ConfigError(f"true or false is wanted, got {shown(convert)}", f"{path}.convert_to_iter_based")
    whole = kwargs = as_python(kwargs)
    if has_share(kwargs):
        with calls.placed(target.__name__, path):
            whole = target.map_steps(kwargs, lambda steps: math.ceil(share(steps)) if is_share(steps) else steps)
    ready = calls.read(target, whole, path, given=("optimizer",)).kwargs
    kept = {key: ready[key] if whole[key] == value else value for key, value in kwargs.items()}
    with calls.placed(target.__name__, path):
        unit_of(kept)
    return ScheduleRecord(target, kept, convert, path)


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


def _in_run(steps: Any, length: Fraction | int | None, unit: str, convert: bool) -> Any:
    """Return a count of steps that may be a share of the run; one to be converted stays exact until then."""
    if not is_share(steps):
        return steps
    part = share(steps)
    if length is None:
        needed, beside = ("max_epochs=", "updates_per_epoch= and ") if unit == "epoch" else ("max_iters=", "")
        raise ConfigError(
            f"{steps!r} is a share of the run, whose length in {unit}s is not known: pass {needed}, or {beside}"
            "total_updates= to torch_scheduler"
        )
    return part * length if convert else whole_steps(part * length)


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


def warn_of_horizons(schedules: Sequence[ParamScheduler], run: RunLength, path: str) -> None:
    """Warn where a schedule counts in a unit that the run's length, as far as it is known, does not fit."""
    lengths = [run.steps(str(schedule.by), schedule.target) for schedule in schedules]
    shares = [s.reach / length if length else math.inf for s, length in zip(schedules, lengths)]
    for schedule, length, part in zip(schedules, lengths, shares):
        reach = schedule.reach
        counts_to = max(reach if reach < INF else 0, schedule.begin + schedule.least)
        last = part == max(p for p, other in zip(shares, schedules) if other.param_name == schedule.param_name)
        name = f"{path}: {type(schedule).__name__}"
        if schedule.by == "epoch" and _no_epoch_ends(run):
            _warn(
                f"{name} steps by epoch, and the run is {run.max_iters} iterations, in which no epoch is known to end: "
                "its values never move. Say by_epoch=False"
            )
        elif length is None:
            continue
        elif counts_to >= FAR * length:
            _warn(
                f"{name} counts to {schedule.by} {counts_to}, and the run has {length}: are its units right? by_epoch "
                "says what it counts, and convert_to_iter_based=True turns epochs into iterations"
            )
        elif last and FAR * reach <= length and _may_mean_epochs(schedule, run.max_epochs or 0):
            _warn(
                f"{name} counts to {schedule.by} {reach} of {length}: were epochs meant? by_epoch=True counts them, "
                "and convert_to_iter_based=True turns them into iterations. by='iter' says that iterations are meant"
            )


def _may_mean_epochs(schedule: ParamScheduler, epochs: int) -> bool:
    """Whether a schedule by iteration ends where the epochs do, and is no warm-up: that may well take so few steps."""
    if schedule.by != "iter" or schedule._given.get("by") or not epochs / 2 <= schedule.reach <= epochs:
        return False
    try:
        return schedule.height(max(int(schedule.reach - schedule.begin) - 1, 1)) <= schedule.height(0)
    except Exception:  # it has none, or a function of the user's takes no such step
        return True


def _no_epoch_ends(run: RunLength) -> bool:
    if run.max_iters is None or run.max_epochs is not None:
        return False
    return run.epoch_length is None or run.max_iters < run.epoch_length


def _warn(message: str) -> None:
    warnings.warn(message, OptimzooWarning, stacklevel=4)
