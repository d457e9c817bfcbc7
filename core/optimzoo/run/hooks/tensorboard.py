"""The log of a run for TensorBoard."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from optimzoo.errors import OptimzooWarning
from optimzoo.run.hooks.log_to import Logger, LogTo
from optimzoo.run.hooks.run import Run
from optimzoo.traces import describe_error


class TensorBoardHook(LogTo):
    """Writes the history as scalars to the folder ``tensorboard`` of the run, if tensorboard is installed.

    A resumed run adds a file there, which takes back what an earlier one has from the iteration on that it resumes at.
    """

    def __init__(self) -> None:
        self._writer: Any = None
        self._start = 0

    def before_train(self, runner: Run) -> None:
        """Note where the run begins."""
        super().before_train(runner)
        self._start = runner.iter

    def open(self, runner: Run) -> Logger | None:
        """Open a file; in a new folder it gets the rows before a resume too."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
        except Exception as error:  # a broken installation, which no config asked for
            message = f"tensorboard cannot be imported, so nothing is written for it: {describe_error(error)}"
            warnings.warn(message, OptimzooWarning, stacklevel=2)
            return None
        folder = runner.work_dir / "tensorboard"
        self._written = runner.history.first_row_of(self._start) if folder.exists() else 0
        self._writer = SummaryWriter(folder, purge_step=self._start)
        return _TensorBoard(self._writer)

    def _update(self, runner: Run) -> None:
        if self._logger is not None and not (runner.work_dir / "tensorboard").exists():  # removed during the run
            with self._or_without():
                self._logger = self.open(runner)
        super()._update(runner)
        if self._logger is not None:
            with self._or_without():
                self._writer.flush()


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()
