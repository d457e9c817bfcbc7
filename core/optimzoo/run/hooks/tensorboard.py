"""The log of a run for TensorBoard."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from optimzoo.errors import OptimzooWarning
from optimzoo.run.hooks.base import Hook
from optimzoo.run.hooks.run import Run
from optimzoo.traces import describe_error
from optimzoo.wrappers import StepOutcome


class TensorBoardHook(Hook):
    """Writes the history as scalars to the folder ``tensorboard`` of the run, if tensorboard is installed.

    A resumed run adds a file there, which takes back what an earlier one has from the iteration on that it resumes at.
    """

    def __init__(self) -> None:
        self._writer: Any = None
        self._open: Any = None
        self._written = 0

    def before_train(self, runner: Run) -> None:
        """Open a file; in a new folder it gets the rows before a resume too."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        except Exception as error:  # a broken installation, which no config asked for
            message = f"tensorboard cannot be imported, so nothing is written for it: {describe_error(error)}"
            warnings.warn(message, OptimzooWarning, stacklevel=2)
            return
        self._open = SummaryWriter
        folder = runner.work_dir / "tensorboard"
        self._written = runner.history.first_row_of(runner.iter) if folder.exists() else 0
        with self._or_without(runner):
            self._writer = SummaryWriter(folder, purge_step=runner.iter)

    def after_iter(self, runner: Run, outcome: StepOutcome, logs: Mapping[str, Any]) -> None:
        """Bring the file up to date after a log interval."""
        if runner.iter % runner.log_interval == 0:
            self._update(runner)

    def after_val(self, runner: Run, metrics: Mapping[str, float]) -> None:
        """Bring the file up to date with the validation."""
        self._update(runner)

    def checkpoint_due(self, runner: Run) -> None:
        """Bring the file up to date with the epoch or interval."""
        self._update(runner)

    def before_checkpoint(self, runner: Run) -> None:
        """Bring the file up to date with the checkpoint that follows."""
        self._update(runner)

    def after_train(self, runner: Run) -> None:
        """Close the file."""
        self._close(runner)

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """Close the file."""
        self._close(runner)

    def _update(self, runner: Run) -> None:
        writer = self._writer
        if writer is None:
            return
        folder = runner.work_dir / "tensorboard"
        with self._or_without(runner):
            if not folder.exists():  # removed during the run
                self._written = 0
                self._writer = writer = self._open(folder)
            for row in runner.history.rows(self._written):
                for name, value in row.items():
                    if name not in ("iter", "epoch"):
                        writer.add_scalar(name, value, row["iter"])
            self._written = len(runner.history)
            writer.flush()

    @contextlib.contextmanager
    def _or_without(self, runner: Run) -> Iterator[None]:
        """Go on without the file if it cannot be written: it is a copy of the history."""
        try:
            yield
        except OSError as error:
            self._writer = None
            message = f"nothing more is written to {runner.work_dir / 'tensorboard'}: {describe_error(error)}"
            warnings.warn(message, OptimzooWarning, stacklevel=4)

    def _close(self, runner: Run) -> None:
        self._update(runner)
        if self._writer is not None:
            with self._or_without(runner):
                self._writer.close()
            self._writer = None
