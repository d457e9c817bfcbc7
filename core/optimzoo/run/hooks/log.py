"""The log of a run: a progress bar or plain lines, the CSV file, the picture."""

from __future__ import annotations

import collections
import contextlib
import warnings
from collections.abc import Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from optimzoo.console import make_console
from optimzoo.errors import ConfigError, OptimzooWarning
from optimzoo.groups.table import group_names, group_table
from optimzoo.optimizers.parts import PART, Parts
from optimzoo.run.hooks.base import Hook
from optimzoo.run.hooks.run import Run
from optimzoo.run.store.atomic import replacing
from optimzoo.run.store.checkpoint import checkpoints_in
from optimzoo.run.store.history import column_of
from optimzoo.run.told import run_table
from optimzoo.traces import Stopped, describe_error
from optimzoo.wrappers import StepOutcome
from optimzoo.wrappers.members import by_prefix, members


class LoggerHook(Hook):
    """Shows the course of training, and records it.

    A plain line tells of every epoch or validation interval; on a terminal a progress bar carries the loss and the
    hyperparameters in between. ``metrics.csv`` gets every iteration, and ``curves.png`` is drawn at the end.

    Args:
        console: Where to print.
        groups: Whether the files get the learning rate and weight decay of every parameter group, by its name.
    """

    def __init__(self, console: Console | None = None, groups: bool = False) -> None:
        self.console = console or make_console()
        self.groups = groups
        self._progress: Progress | None = None
        self._waiting: list[dict[str, Any]] = []
        self._losses: collections.deque[float] = collections.deque()
        self._last: dict[str, float] = {}
        self._moved_to: Path | None = None
        self._columns: dict[str, tuple[dict[str, Any], str]] = {}
        self._unseen: set[str] = set()

    def before_train(self, runner: Run) -> None:
        """Print what is about to be trained, and start the progress bar."""
        self._losses = collections.deque(self._losses, runner.log_interval)
        elements = sum(p.numel() for p in runner.model.parameters())
        self._print(f"{type(runner.model).__name__} with {elements:,} parameters on {runner.device}, {_length(runner)}")
        for name, member in members(runner.optim_wrapper).items():
            if name:
                self._print(f"{name}:")
            self._print(group_table(member))
        if runner.resumed_from is not None:
            self._print(f"resumed after step {runner.iter} (epochs done: {runner.epoch}) from {runner.resumed_from}")
        if runner.finished and not runner.should_stop:
            self._print("the run is complete; a larger max_epochs, or max_iters, makes it longer")
        elif self.console.is_terminal and not self.console.is_dumb_terminal:
            description = TextColumn("{task.description}", markup=False)
            columns = description, BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn()
            self._progress = Progress(*columns, console=self.console, transient=True)
            with self._lost_terminal():
                self._progress.start()
                self._progress.add_task("", total=runner.max_iters, completed=runner.iter)

    def after_iter(self, runner: Run, outcome: StepOutcome, logs: Mapping[str, Any]) -> None:
        """Note the iteration; values on a device stay there until the next flush."""
        if runner.moved_to != self._moved_to:
            self._moved_to = runner.moved_to
            self._print(f"what an earlier run left in {runner.work_dir} is now in {runner.moved_to}")
        numbers: dict[str, Any] = {
            k: v for k, v in logs.items() if not isinstance(v, bool) and isinstance(v, (Real, Tensor))
        }
        for name, value in numbers.items():
            if isinstance(value, Tensor) and value.numel() != 1:
                shape = tuple(value.shape)
                raise ConfigError(f"one of them logs what is not one number: {name!r} has the shape {shape}", "hooks")
        settings, of_groups = hyperparameters(runner), self._of_groups(runner) if self.groups else {}
        self._unseen = of_groups.keys() - settings.keys()
        self._waiting.append({**numbers, **settings, **of_groups, "iter": runner.iter, "epoch": runner.current_epoch})
        if runner.iter % runner.log_interval == 0:
            self._flush(runner)

    def after_val(self, runner: Run, metrics: Mapping[str, float]) -> None:
        """Note what the validation found, and print it with the line for the epoch or interval."""
        self._flush(runner)
        named = {column_of(name): value for name, value in metrics.items()}
        runner.history.append({"iter": runner.iter, "epoch": runner.current_epoch, **named})
        runner.history.flush()
        self._print(f"{_where(runner)}  {_values({**self._shown(), **named})}")

    def checkpoint_due(self, runner: Run) -> None:
        """Print a line for the epoch or interval that has just ended, unless its validation is to come."""
        self._flush(runner)
        runner.history.flush()
        if not runner.validation_due:
            self._print(f"{_where(runner)}  {_values(self._shown())}")

    def before_checkpoint(self, runner: Run) -> None:
        """Bring the CSV file up to date with the checkpoint."""
        self._flush(runner)
        runner.history.flush()

    def after_train(self, runner: Run) -> None:
        """Finish the bar, draw the curves, and say where everything is."""
        self._stop(runner)
        if runner.should_stop:
            self._print(f"stopped after step {runner.iter}, as a hook asked; --resume goes on from there")
        try:
            with replacing(runner.work_dir / "curves.png") as file:
                runner.plot().savefig(file, format="png")
        except Exception as error:  # a picture is no reason for a run to fail at its end
            message = f"curves.png cannot be drawn: {describe_error(error)}"
            warnings.warn(message, OptimzooWarning, stacklevel=2)
        self._print(run_table(runner))

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """Finish the bar, write what was noted, and tell who interrupts the run how to go on."""
        self._stop(runner)
        if isinstance(error, (KeyboardInterrupt, Stopped)):
            resume = "there is no checkpoint yet"
            for last in checkpoints_in(runner.work_dir)[-1:]:
                resume = f"{last} is the last checkpoint; --resume, or Runner(resume=True), continues from it"
            self._print(f"interrupted after step {runner.iter}; {resume}")

    def _print(self, what: Any) -> None:
        wrap = isinstance(what, str)
        with self._lost_terminal():
            self.console.print(what, markup=False, highlight=False if wrap else None, soft_wrap=wrap)

    @contextlib.contextmanager
    def _lost_terminal(self) -> Iterator[None]:
        """Go on in silence once the terminal is gone: the run does not need it."""
        try:
            yield
        except OSError:
            self.console.quiet = True

    def _stop(self, runner: Run) -> None:
        progress, self._progress = self._progress, None
        if progress is not None:
            with self._lost_terminal():
                progress.stop()
        self._flush(runner)
        runner.history.flush()

    def _flush(self, runner: Run) -> None:
        for waiting in self._waiting:
            row = {k: float(v) if isinstance(v, Tensor) else v for k, v in waiting.items()}
            runner.history.append(row)
            self._last = {k: v for k, v in row.items() if k not in ("iter", "epoch", "loss", *self._unseen)}
            if "loss" in row:
                self._losses.append(row["loss"])
        self._waiting = []
        if self._progress is not None:
            shown = f"{_where(runner)}  {_values(self._shown())}"
            with self._lost_terminal():
                for task in self._progress.task_ids:  # none if the terminal was lost before the bar was drawn
                    self._progress.update(task, completed=runner.iter, description=shown)

    def _of_groups(self, runner: Run) -> dict[str, float | Tensor]:
        """Return the learning rate and weight decay of each group, under names such as ``lr[norm_decay_mult]``."""
        each = by_prefix(runner.optim_wrapper)
        groups = [group for member in each.values() for group in member.optimizer.param_groups]
        if {id(group) for group in groups} != {id(group) for group, _ in self._columns.values()}:  # some have joined
            self._columns = {
                f"{prefix}{key}[{title}]": (group, key)
                for prefix, member in each.items()
                for title, group in zip(group_names(member), member.optimizer.param_groups)
                for key in ("lr", "weight_decay")
                if isinstance(group.get(key), (Real, Tensor))
            }
        return {column: _kept(group[key]) for column, (group, key) in self._columns.items()}

    def _shown(self) -> dict[str, float]:
        """Return the loss, averaged over the last log interval, and the other values of the last iteration."""
        loss = {"mean loss": sum(self._losses) / len(self._losses)} if self._losses else {}
        return {**loss, **self._last}


def hyperparameters(runner: Run) -> dict[str, float | Tensor]:
    """Return the learning rate and what else is scheduled, as the base settings or the first group has it.

    Of several optimizers in one, the learning rate of each too, as its first group has it: ``lr[rest]``.
    """
    found: dict[str, float | Tensor] = {}
    for prefix, member in by_prefix(runner.optim_wrapper).items():
        group = member.base_param_settings or member.optimizer.param_groups[0]
        if group.get("lr") is not None:
            found[f"{prefix}lr"] = _kept(group["lr"])
        several = isinstance(member.optimizer, Parts)
        parts = {group[PART]: group for group in reversed(member.optimizer.param_groups)} if several else {}
        for name in reversed(parts):
            if parts[name].get("lr") is not None:
                found[f"{prefix}lr[{name}]"] = _kept(parts[name]["lr"])
        for scheduler in runner.schedulers:
            if scheduler.optimizer in (member, member.optimizer):
                found[prefix + scheduler.param_name] = _kept(scheduler.hyperparam.get(group))
    return found


def _kept(value: Any) -> float | Tensor:
    """Return a setting as a number; a tensor, which schedules fill in place, is copied where it is."""
    return value.detach().clone() if isinstance(value, Tensor) else float(value)


def _where(runner: Run) -> str:
    if runner.plan.by_epoch:
        total = runner.plan.max_epochs
        return f"epoch {runner.current_epoch:>{len(str(total))}}/{total}"
    return f"step {runner.iter}/{runner.max_iters}"


def _values(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def _length(runner: Run) -> str:
    plan = runner.plan
    batches = "" if runner.epoch_length is None else f" of {runner.epoch_length} iterations"
    return (
        f"{plan.max_epochs} epoch{'s' * (plan.max_epochs != 1)}{batches}"
        if plan.by_epoch
        else f"{plan.max_iters} iterations"
    )
