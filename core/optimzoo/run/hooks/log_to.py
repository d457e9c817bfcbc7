"""The log of a run for the loggers of others."""

from __future__ import annotations

import contextlib
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from optimzoo.errors import ConfigError, MissingDependencyError, OptimzooWarning, shown
from optimzoo.names.entry import is_installed
from optimzoo.run.hooks.base import Hook
from optimzoo.run.hooks.run import Run
from optimzoo.traces import describe_error
from optimzoo.values import one_of
from optimzoo.wrappers import StepOutcome


class Logger(Protocol):
    """What takes the values of a run."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of an iteration, counted from 1, or of the validation after it."""

    def close(self) -> None:
        """Finish; nothing follows."""


class LogTo(Hook):
    """Gives the rows of ``metrics.csv`` to a logger, as soon as they are there: once in each log interval.

    A logger that fails is given no more, with a warning. A resumed run gives it the rows after its checkpoint.

    Args:
        logger: Anything with ``log(step, values)`` and ``close()``.

    Raises:
        ConfigError: It has neither.

    Examples:
        >>> from optimzoo.run import LogTo
        >>> class Prints:
        ...     def log(self, step, values):
        ...         print(step, values)
        ...
        ...     def close(self):
        ...         pass
        >>> hook = LogTo(Prints())
    """

    _logger: Logger | None = None
    _written, _waits = 0, False

    def __init__(self, logger: Logger) -> None:
        if not all(callable(getattr(logger, name, None)) for name in ("log", "close")):
            raise ConfigError(f"a logger has log(step, values) and close(), got {shown(logger)}", "logger")
        self._logger = logger

    def open(self, runner: Run) -> Logger | None:
        """Return the logger, for the run that begins."""
        if self._logger is None:
            message = "LogTo logs nothing more: its logger was closed when an earlier training ended, give another"
            warnings.warn(message, OptimzooWarning, stacklevel=2)
        return self._logger

    def before_train(self, runner: Run) -> None:
        """Wait for the first row, with which the logger is opened: what fails before leaves no trace."""
        self._written, self._waits = len(runner.history), True

    def after_iter(self, runner: Run, outcome: StepOutcome, logs: Mapping[str, Any]) -> None:
        """Log what there is after a log interval."""
        if runner.iter % runner.log_interval == 0:
            self._update(runner)

    def after_val(self, runner: Run, metrics: Mapping[str, float]) -> None:
        """Log the validation."""
        self._update(runner)

    def checkpoint_due(self, runner: Run) -> None:
        """Log the epoch or interval."""
        self._update(runner)

    def before_checkpoint(self, runner: Run) -> None:
        """Log what comes before the checkpoint."""
        self._update(runner)

    def after_train(self, runner: Run) -> None:
        """Close the logger."""
        self._close(runner)

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """Close the logger."""
        self._close(runner)

    def _update(self, runner: Run) -> None:
        with self._or_without():
            if self._waits and len(runner.history) > self._written:
                self._waits = False
                self._logger = self.open(runner)
            for row in runner.history.rows(self._written) if self._logger else ():
                values = {name: value for name, value in row.items() if name not in ("iter", "epoch")}
                self._logger.log(int(row["iter"]), values)  # type: ignore[union-attr]
        self._written = len(runner.history)

    def _close(self, runner: Run) -> None:
        self._update(runner)
        with self._or_without():
            if self._logger is not None:
                self._logger.close()
        self._logger = None

    @contextlib.contextmanager
    def _or_without(self) -> Iterator[None]:
        """Go on without the logger if it fails: what it has is a copy of the history."""
        try:
            yield
        except Exception as error:
            self._logger = None
            message = f"{type(self).__name__} logs nothing more: {describe_error(error)}"
            warnings.warn(message, OptimzooWarning, stacklevel=4)


def _want(library: str) -> None:
    if not is_installed(library):
        install = f"pip install {library}"
        raise MissingDependencyError(f"{library} is not installed: {install}", install)


class _Tracker(LogTo):
    """Logs to what keeps runs of its own, of which a resumed run goes on with the one that it began."""

    _id: str | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the name by which a resumed run goes on."""
        return {"id": self._id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it over."""
        self._id = state["id"]


class WandbHook(_Tracker):
    """Logs to Weights & Biases.

    Args:
        project: The project.
        name: The name of the run; that of the folder of the run by default.
        mode: ``"offline"`` writes to ``wandb`` in the folder of the run, for ``wandb sync``; ``"online"`` sends it.

    Raises:
        MissingDependencyError: wandb is not installed.
    """

    def __init__(self, project: str, name: str | None = None, mode: str = "offline") -> None:
        _want("wandb")
        self.project, self.name, self.mode = project, name, one_of(mode, ("offline", "online"), "mode")

    def open(self, runner: Run) -> Logger:
        """Begin a run, or that of the checkpoint again."""
        import wandb

        run = wandb.init(
            project=self.project, name=self.name or runner.work_dir.name, dir=str(runner.work_dir), mode=self.mode,
            config=runner.config, id=self._id, resume="allow" if self._id else None,
        )  # fmt: skip
        self._id = run.id
        return _Wandb(run)


class _Wandb:
    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish(quiet=True)


class MLflowHook(_Tracker):
    """Logs to MLflow.

    Brackets in names, which MLflow does not take, become slashes: ``lr/base`` for ``lr[base]``.

    Args:
        experiment: The experiment; it is made if there is none.
        name: The name of the run; that of the folder of the run by default.
        uri: Where MLflow keeps it; by default the database ``mlflow.db`` in the folder of the run.

    Raises:
        MissingDependencyError: mlflow is not installed.
    """

    def __init__(self, experiment: str, name: str | None = None, uri: str | None = None) -> None:
        _want("mlflow")
        self.experiment, self.name, self.uri = experiment, name, uri

    def open(self, runner: Run) -> Logger:
        """Begin a run, or that of the checkpoint again."""
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self.uri or f"sqlite:///{Path(runner.work_dir).resolve() / 'mlflow.db'}")
        if self._id is None:
            found = client.get_experiment_by_name(self.experiment)
            number = found.experiment_id if found else client.create_experiment(self.experiment)
            made: str = client.create_run(number, run_name=self.name or runner.work_dir.name).info.run_id
            self._id = made
        return _MLflow(client, self._id)


class _MLflow:
    def __init__(self, client: Any, run: str) -> None:
        self._client, self._run = client, run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        named = {
            re.sub(r"[^\w\-. :/]", "_", name.replace("[", "/").rstrip("]")): value for name, value in values.items()
        }
        self._client.log_batch(self._run, metrics=[Metric(name, value, now, step) for name, value in named.items()])

    def close(self) -> None:
        self._client.set_terminated(self._run)
