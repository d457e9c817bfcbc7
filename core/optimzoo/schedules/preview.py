"""What the schedules of a config will do, before there is a model: each scheduled value against the iterations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from optimzoo import calls
from optimzoo.constructors import DefaultOptimWrapperConstructor
from optimzoo.constructors.reading import DEFAULT, WrapperRecord, read_optim_wrapper
from optimzoo.errors import ConfigError
from optimzoo.groups.table import group_names
from optimzoo.optimizers.described import DescribedOptimizer
from optimzoo.schedules.build import RunLength, build_param_scheduler, by_member, read_param_scheduler
from optimzoo.schedules.targets import HyperParam, StandIn, own
from optimzoo.values import as_count
from optimzoo.wrappers import BaseOptimWrapper

if TYPE_CHECKING:
    from optimzoo.pictures import Picture

LONGEST = 5_000_000
"""Iterations that are gone through; more would take minutes, and the memory of millions of numbers."""


@dataclass(frozen=True)
class Course:
    """The values of one hyperparameter in one group over a run.

    Args:
        key: The hyperparameter, such as ``lr`` or ``betas[0]``; for several optimizers with the member's name first.
        group: The group: ``base``, or the rule of ``paramwise_cfg`` that makes it.
        values: The value that each iteration trains with.
    """

    key: str
    group: str
    values: list[float]

    def corners(self) -> list[int]:
        """Return the first and last iterations, and those where the value sets off, turns, changes pace, or rests."""
        values = self.values
        moves = [at for at in range(1, len(values)) if values[at] != values[at - 1]]
        turns = {
            at
            for before, at, after in zip(moves, moves[1:], moves[2:])
            if at - before != after - at or (values[at] > values[before]) != (values[after] > values[at])
        }
        return sorted({0, len(values) - 1, *turns, *(at - 1 for at in moves[:1]), *moves[-1:]})


def schedule_courses(
    cfg: Mapping[str, Any],
    epoch_length: int | None = None,
    max_epochs: int | None = None,
    max_iters: int | None = None,
) -> list[Course]:
    """Return the course of every scheduled hyperparameter in every group; neither model nor optimizer is built.

    Args:
        cfg: A run config, of which ``optim_wrapper`` and ``param_scheduler`` are read. Groups are those that the rules
            of ``paramwise_cfg`` would make, each rule by itself; with a built wrapper, its groups. Those that another
            constructor than the default makes of the model, such as layer decay's, are not known: the base says so.
        epoch_length: Iterations in an epoch.
        max_epochs: Epochs in the run.
        max_iters: Iterations in the run; ``epoch_length * max_epochs`` by default.

    Raises:
        ConfigError: The config is wrong, or the length of the run is not known.
    """
    with calls.placed("", "optim_wrapper"):
        stands = stand_ins(read_optim_wrapper(cfg.get("optim_wrapper")))
    run = RunLength(epoch_length, max_epochs, max_iters)
    if run.iterations is None:
        raise ConfigError("the length of the run is not known: give max_iters, or epoch_length and max_epochs")
    if run.iterations > LONGEST:
        raise ConfigError(f"a run of {run.iterations} iterations is too long to go through; draw a shorter one")
    found = []
    for name, schedules in by_member(read_param_scheduler(cfg.get("param_scheduler")), stands).items():
        prefix = f"{name}." if name else ""
        found += [Course(prefix + c.key, c.group, c.values) for c in _courses(stands[name], schedules, run)]
    return found


def plot_schedules(
    cfg: Mapping[str, Any],
    path: str | Path | None = None,
    epoch_length: int | None = None,
    max_epochs: int | None = None,
    max_iters: int | None = None,
    title: str = "",
) -> Picture:
    """Draw every scheduled hyperparameter in every group against the iterations.

    Args:
        cfg: As for ``schedule_courses``, like the lengths.
        path: The picture to write, such as ``lr.png``, if any.
        epoch_length: Iterations in an epoch.
        max_epochs: Epochs in the run.
        max_iters: Iterations in the run.
        title: What stands above it.

    Returns:
        The picture, with a panel for each hyperparameter: a figure of matplotlib, which a notebook shows.

    Raises:
        ConfigError: The config is wrong, there is nothing to draw, or the picture cannot be written.
    """
    from optimzoo.pictures import DPI, Picture  # matplotlib is slow to import, and seldom needed

    courses = schedule_courses(cfg, epoch_length, max_epochs, max_iters)
    if not courses:
        raise ConfigError("there is no schedule to draw", "param_scheduler")
    keys = list(dict.fromkeys(course.key for course in courses))
    figure = Picture(len(keys), title=title)
    for axis, key in zip(figure.panels, keys):
        for course in (c for c in courses if c.key == key):
            axis.plot(course.values, label=course.group, linewidth=1.2)
        axis.set_ylabel(key)
    figure.panels[-1].set_xlabel("iteration")
    figure.label()
    if path is not None:
        try:
            figure.savefig(path, dpi=DPI)
        except (OSError, ValueError) as error:  # matplotlib's, of an ending that it does not know
            raise ConfigError(f"{path} cannot be written: {error}") from error
    return figure


def schedule_table(courses: list[Course]) -> Table:
    """Return the values at the corners of the courses as a table to print with rich."""
    table = Table(title="Scheduled values at their corners", title_justify="left")
    for heading in ("key", "group", "iteration", "value"):
        table.add_column(heading, justify="right" if heading in ("iteration", "value") else "left")
    for course in courses:
        for at in course.corners():
            table.add_row(course.key, course.group, str(at), f"{course.values[at]:.6g}")
    return table


def _courses(stand: StandIn, cfg: Any, run: RunLength) -> Iterator[Course]:
    """Yield the courses of one optimizer; groups whose values are the same share one, under the shorter name."""
    schedules = build_param_scheduler(stand, cfg, run.epoch_length, run.max_epochs, run.max_iters)
    keys = list(dict.fromkeys(schedule.param_name for schedule in schedules if not schedule.need_val_args))
    params = [HyperParam.parse(key) for key in keys]
    taken: list[list[tuple[float, ...]]] = [[] for _ in stand.param_groups]
    for iteration in range(1, (run.iterations or 0) + 1):
        for values, group in zip(taken, stand.param_groups):
            values.append(tuple(param.check(group) for param in params))
        updates = iteration % stand._accumulative_counts == 0 or iteration == run.iterations
        schedules.advance(True, updates, run.epoch_length is not None and iteration % run.epoch_length == 0)
    names = [group["name"] for group in stand.param_groups]
    for index, key in enumerate(keys):
        shared: dict[tuple[float, ...], list[str]] = {}
        for name, values in zip(names, taken):
            shared.setdefault(tuple(value[index] for value in values), []).append(name)
        for course, groups in shared.items():
            told = [name for name in groups if not any(name.startswith(f"{other}, ") for other in groups)]
            yield Course(key, ", ".join(told), list(course))


def stand_ins(record: WrapperRecord) -> dict[str, StandIn]:
    """Return, for each optimizer by name, groups as it would have them, without parameters.

    A group has what the rule that makes it gives alone. What only some rules give, the other groups have from these:
    a schedule acts on all of them.
    """
    return {name: _stand_in(member) for name, member in record.members.items()}


def _stand_in(record: WrapperRecord) -> StandIn:
    built = record.built
    if built is not None:
        stand = StandIn.of(own(built))
        names = group_names(built) if isinstance(built, BaseOptimWrapper) else map("group {}".format, itertools.count())
        for group, name in zip(stand.param_groups, names):
            group["name"] = name
        stand._accumulative_counts = getattr(built, "_accumulative_counts", 1)
        return stand
    maker: Any = record.constructor
    settings: Mapping[str, Any] = maker.kwargs["optim_wrapper_cfg"] if isinstance(maker, calls.Call) else {}
    if isinstance(maker, DefaultOptimWrapperConstructor):
        settings, described = maker.optim_wrapper_cfg, maker._optimizer
        groups = [{"name": label, **own} for label, own in maker.alone()]
    else:
        described = DescribedOptimizer(settings.get("optimizer"), "optimizer")
        groups = [{"name": "base", **described.settings}]
    if record.name != DEFAULT:
        groups[0]["name"] += f" (not those of {record.name})"
    every = {key: value for group in reversed(groups) for key, value in group.items()}
    counts = as_count(settings.get("accumulative_counts", 1), "optim_wrapper.accumulative_counts", 1)
    return StandIn([{**every, **group} for group in groups], described.settings, counts)
