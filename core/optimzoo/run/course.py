"""The course of a run: epochs, iterations, checkpoints and validations, until it is finished or asked to stop."""

from __future__ import annotations

import collections
import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from optimzoo.calls import no_exit
from optimzoo.errors import ConfigError, did_you_mean, near
from optimzoo.run.data.loaders import start_epoch, to_device
from optimzoo.run.hooks.checkpoint import CheckpointHook
from optimzoo.run.loop.nonfinite import LossWatch
from optimzoo.run.loop.randomness import random_state, set_random_state
from optimzoo.run.loop.signals import StopSignals
from optimzoo.run.loop.step import TrainStep
from optimzoo.run.parts import Whole
from optimzoo.run.store.history import MEASURED, measured_with


class Trained(Whole, Protocol):
    """All of a run that its course needs."""

    train_dataloader: Iterable[Any]
    train_step: TrainStep
    watch: LossWatch

    def val(self) -> Mapping[str, float]:
        """Evaluate on the validation data."""

    def evaluated(self) -> AbstractContextManager[Iterator[tuple[dict[str, Any], int]]]:
        """Return the context of the values of each validation batch, and of how many samples they are the means."""

    def begin(self) -> None:
        """Make room in the folder of the run, unless that is done."""

    def keep_folder(self) -> None:
        """Make the folder of the run anew, if it was removed."""


class Course:
    """Trains a run to its end.

    Args:
        run: The run.
        saver: What saves it when it is asked to.

    Attributes:
        signals: What asks it to stop.
    """

    def __init__(self, run: Trained, saver: CheckpointHook) -> None:
        self.run, self.saver = run, saver
        self.signals = StopSignals(saver.usr1 == "requeue")

    def train(self) -> None:
        """Train from where the run is to its end; its hooks are told."""
        run = self.run
        try:
            with no_exit():
                run.should_stop = False
                run.hooks.call("before_train", run)
                if run.random.now is not None:
                    set_random_state(run.random.now)
                if run.val_dataloader is not None and run.processes.size == 1 and not run.finished:
                    self._look_for_metrics()
                self._validate()
                run.random.now, before = random_state(), run.iter
                while not run.finished:
                    self._train_epoch()
                if run.should_stop and run.iter > before:
                    self.saver.on_stop(run)
                run.random.now = random_state()  # for another call of train
                run.begin()
                run.hooks.call("after_train", run)
        except BaseException as error:
            run.random.now = random_state()
            run.hooks.tell(run, error)
            raise

    def _look_for_metrics(self) -> None:
        """Evaluate as many batches as it takes to see every metric that something watches.

        Raises:
            ConfigError: There is none of that name, in all of the validation data.
        """
        monitors = [getattr(scheduler, "monitor", None) for scheduler in self.run.schedulers]
        named = {f"param_scheduler[{n}].monitor": monitor for n, monitor in enumerate(monitors)}
        named["checkpoint.best"] = self.saver.best
        watching = {path: name.removeprefix("val_") for path, name in named.items() if isinstance(name, str)}
        seen = dict.fromkeys(filter(MEASURED.match, self.run.history.columns))  # of a run that is resumed

        def unseen() -> list[tuple[str, str]]:
            return [(path, name) for path, name in watching.items() if not seen.keys() & {name, f"val_{name}"}]

        before = random_state()
        if unseen():
            with self.run.evaluated() as batches:
                for values, _ in batches:
                    for weights in self.run.hooks.weights:
                        seen.update(dict.fromkeys(measured_with(weights, name) for name in values))
                    if not unseen():
                        break
        set_random_state(before)
        for path, name in unseen():
            listed = ", ".join(seen) or "none"
            hint = did_you_mean(near(name, seen))
            raise ConfigError(f"the validation has no metric {name!r}; it has {listed}.{hint}", path)

    def _train_epoch(self) -> None:
        run, by_epoch = self.run, self.run.plan.by_epoch
        run.model.train()
        run.hooks.call("before_epoch", run)
        for batch in self._batches():
            self._train_iter(to_device(batch, run.device))
            ends = run.finished and not run.should_stop
            if not by_epoch and (run.iter % run.plan.interval_at(run.iter) == 0 or ends):
                self._save_and_validate(run.iter)
            self._stop_if_asked()
            if run.finished:
                break
        if run.iter_in_epoch == 0:
            raise ConfigError("it yields no batch", "train_dataloader")
        if run.finished and run.iter_in_epoch != run.epoch_length:
            return
        run.epoch += 1
        run.iter_in_epoch = 0
        run.hooks.call("after_epoch", run)
        if by_epoch:
            self._save_and_validate(run.epoch)
            self._stop_if_asked()

    def _batches(self) -> Iterator[Any]:
        """Yield the batches of the current epoch, or those that are left of it."""
        run = self.run
        if run.iter_in_epoch == 0:
            run.random.epoch_start = random_state()
        set_random_state(run.random.epoch_start)  # what shuffles the data may be drawn from it
        start_epoch(run.train_dataloader, run.seed, run.epoch)
        batches = iter(run.train_dataloader)
        if run.iter_in_epoch:
            collections.deque(itertools.islice(batches, run.iter_in_epoch), maxlen=0)
            assert run.random.now is not None
            set_random_state(run.random.now)
        with self._errors_of_a_stop():
            yield from batches

    def _train_iter(self, batch: Any) -> None:
        run = self.run
        run.hooks.call("before_iter", run, batch)
        outcome, logs = run.train_step(batch)
        run.begin()
        logs = dict(run.processes.mean(logs))
        run.iter += 1
        run.iter_in_epoch += 1
        run.watch.add(run.iter, outcome, logs)
        if run.device.type == "cpu" or run.iter % run.log_interval == 0:
            run.watch.check()
        run.hooks.call("after_iter", run, outcome, logs)

    def _save_and_validate(self, count: int) -> None:
        run, plan = self.run, self.run.plan
        ends = run.finished and not run.should_stop
        due = count >= plan.val_begin and (count % plan.interval_at(count) == 0 or ends)
        run.validation_due = due and run.val_dataloader is not None
        run.keep_folder()
        run.hooks.call("checkpoint_due", run)
        self._validate()

    def _validate(self) -> None:
        """Run the validation that is due. One that does not come to its end is due again when the run goes on."""
        run = self.run
        if not run.validation_due:
            return
        before = random_state()
        with self._errors_of_a_stop():
            try:
                run.hooks.call("before_val", run)
                metrics = run.val()
            except BaseException:
                set_random_state(before)
                raise
        run.validation_due = False
        run.begin()
        run.hooks.call("after_val", run, metrics)

    @contextlib.contextmanager
    def _errors_of_a_stop(self) -> Iterator[None]:
        """Stop the run where an error follows from a signal, as that of a loader whose workers were ended by it."""
        try:
            yield
        except Exception:
            if self.run.processes.size == 1:
                self._stop_if_asked()
            raise

    def _stop_if_asked(self) -> None:
        asked = self.run.processes.largest(self.signals.asked)  # all do so at the same step, whichever was asked
        if asked and self.signals.act(asked):
            self.run.hooks.call("on_stop", self.run)
            self.signals.raise_received()
        elif asked:
            self.saver.on_stop(self.run)
