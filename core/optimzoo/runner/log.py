"""The log of a run: a progress bar or plain lines, the CSV file, the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from optimzoo.console import make_console
from optimzoo.inspect import group_table, plot_history
from optimzoo.runner.hooks import Hook
from optimzoo.wrappers import StepOutcome

if TYPE_CHECKING:
    from optimzoo.runner.runner import Runner


class LoggerHook(Hook):
    """Shows the course of training, and records it.

    A plain line tells of every epoch or validation interval; on a terminal a progress bar carries the loss and the
    hyperparameters in between. ``metrics.csv`` gets every iteration, and ``curves.png`` is drawn at the end.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or make_console()
        self._progress: Progress | None = None
        self._waiting: list[dict[str, Any]] = []
        self._metrics: Mapping[str, float] = {}

    def before_train(self, runner: Runner) -> None:
        """Print the parameter groups and start the progress bar."""
        self.console.print(group_table(runner.optim_wrapper))
        if runner.iter:
            self.console.print(f"resumed after step {runner.iter} (epoch {runner.epoch})")
        if self.console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            self._progress = Progress(*columns, console=self.console, transient=True)
            self._progress.start()
            self._progress.add_task("", total=runner.max_iters, completed=runner.iter)

    def after_iter(self, runner: Runner, outcome: StepOutcome, logs: Mapping[str, Any]) -> None:
        """Note the iteration; values on a device stay there until the next flush."""
        numbers = {k: v for k, v in logs.items() if isinstance(v, (int, float, Tensor)) and not isinstance(v, bool)}
        self._waiting.append({"iter": runner.iter, "epoch": runner.current_epoch, **numbers, **hyperparameters(runner)})
        if runner.iter % runner.log_interval == 0:
            self._flush(runner)

    def after_val(self, runner: Runner, metrics: Mapping[str, float]) -> None:
        """Note what the validation found."""
        self._flush(runner)
        self._metrics = {f"val_{name}": value for name, value in metrics.items()}
        runner.history.append({"iter": runner.iter, "epoch": runner.epoch, **self._metrics})

    def checkpoint_due(self, runner: Runner) -> None:
        """Print a line for the epoch or interval that has just ended, and bring the CSV file up to date."""
        self._flush(runner)
        self.console.print(f"{_where(runner)}  {_values({**self._last(runner), **self._metrics})}", highlight=False)
        self._metrics = {}
        runner.history.flush()

    def after_train(self, runner: Runner) -> None:
        """Finish the bar, draw the curves, and say where everything is."""
        self._stop(runner)
        plot_history(runner.history, runner.work_dir / "curves.png", title=str(runner.work_dir))
        last = {name: runner.history.column(name)[-1][1] for name in runner.history.columns if name.startswith("val_")}
        if last:
            self.console.print(f"final: {_values(last)}", highlight=False)
        where = f"curves, metrics, checkpoint and config are in {runner.work_dir}"
        self.console.print(where, highlight=False, soft_wrap=True)

    def on_exception(self, runner: Runner, error: BaseException) -> None:
        """Finish the bar and write what was noted."""
        self._stop(runner)

    def _stop(self, runner: Runner) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        self._flush(runner)
        runner.history.flush()

    def _flush(self, runner: Runner) -> None:
        for row in self._waiting:
            runner.history.append({k: float(v) if isinstance(v, Tensor) else v for k, v in row.items()})
        self._waiting = []
        if self._progress is not None:
            task = self._progress.task_ids[0]
            text = f"{_where(runner)}  {_values(self._last(runner))}"
            self._progress.update(task, completed=runner.iter, description=text)

    def _last(self, runner: Runner) -> dict[str, float]:
        """Return the loss, averaged over the last log interval, and the other values of the last iteration."""
        rows = [row for row in runner.history.rows[-runner.log_interval :] if "loss" in row]
        if not rows:
            return {}
        mean = sum(row["loss"] for row in rows) / len(rows)
        return {"loss": mean, **{k: v for k, v in rows[-1].items() if k not in ("iter", "epoch", "loss")}}


def hyperparameters(runner: Runner) -> dict[str, float]:
    """Return the learning rate and what else is scheduled, as the base settings or the first group has it."""
    wrapper = runner.optim_wrapper
    group = wrapper.base_param_settings or wrapper.optimizer.param_groups[0]
    found = {"lr": group["lr"]} if group.get("lr") is not None else {}
    return {**found, **{scheduler.param_name: scheduler.hyperparam.get(group) for scheduler in runner.schedulers}}


def _where(runner: Runner) -> str:
    if runner.plan.by_epoch:
        total = runner.plan.max_epochs
        return f"epoch {runner.current_epoch:>{len(str(total))}}/{total}"
    return f"step {runner.iter}/{runner.max_iters}"


def _values(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
