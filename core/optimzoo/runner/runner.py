"""The Runner: from a config to a trained model, with a log, schedules, validation and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from optimzoo import calls
from optimzoo.build import build_optim_wrapper, build_param_scheduler
from optimzoo.config import config_text, describe
from optimzoo.entry import dotted
from optimzoo.errors import CheckpointError, ConfigError
from optimzoo.runner.checkpoint import CheckpointHook, checkpoints_in, load_checkpoint
from optimzoo.runner.data import batch_size, build_dataloader, start_epoch, to_device
from optimzoo.runner.device import find_device
from optimzoo.runner.history import History
from optimzoo.runner.hooks import Hook, ParamSchedulerHook
from optimzoo.runner.log import LoggerHook
from optimzoo.runner.objects import build_object, find_function
from optimzoo.runner.plan import TrainPlan
from optimzoo.runner.randomness import random_state, seed_all, seed_of, set_random_state
from optimzoo.runner.step import LossFunction, TrainStep
from optimzoo.runner.watch import LossWatch
from optimzoo.runner.workdir import prepare_work_dir
from optimzoo.wrappers import BaseOptimWrapper


class Runner:
    """Trains a model as a config says.

    Args:
        model: A module, or a dict with ``type`` (a dotted path) and its arguments. A model with a method
            ``train_step(data, optim_wrapper)`` drives itself and returns a dict of values to log.
        work_dir: Where the log, the curves, the checkpoints and the resolved config go.
        train_dataloader: An iterable of batches, or the arguments of a DataLoader as a dict.
        optim_wrapper: As for ``build_optim_wrapper``.
        train_cfg: ``max_epochs``, or ``by_epoch=False`` and ``max_iters``; and ``val_interval``, ``val_begin``.
        param_scheduler: As for ``build_param_scheduler``.
        val_dataloader: As ``train_dataloader``.
        loss: A function of the model and a batch, or its dotted path. Returns a scalar, or a dict whose entries with
            ``loss`` in their names are summed and the others logged. Takes precedence over ``train_step``.
        metrics: A function of the model and a batch that returns a dict of values, its dotted path, or a list of
            these. The values are averaged over the samples of the validation data.
        curvature: For an optimizer such as SophiaG: a function of the model and a batch that returns a loss on sampled
            labels and their number, or its dotted path; called when an estimate is due.
        hooks: Further hooks, called before the Runner's own.
        checkpoint: ``interval`` and ``keep``, see ``CheckpointHook``.
        resume: True continues from the newest checkpoint in ``work_dir``, if there is one; a path from that file.
        randomness: ``seed`` of Python, NumPy and torch; drawn, and noted in the resolved config, if it is missing.
        device: The device to train on; an accelerator where there is one.
        log_interval: Iterations from one update of the log to the next.

    Attributes:
        epoch: Passes over the data completed.
        iter: Iterations completed.
        history: The values logged so far.

    Raises:
        ConfigError: An argument is wrong.
        CheckpointError: The checkpoint to resume from is damaged or does not fit.
    """

    def __init__(
        self,
        model: nn.Module | Mapping[str, Any],
        work_dir: str | Path,
        train_dataloader: Iterable[Any] | Mapping[str, Any],
        optim_wrapper: BaseOptimWrapper | Mapping[str, Any],
        train_cfg: Mapping[str, Any],
        param_scheduler: Any = None,
        val_dataloader: Iterable[Any] | Mapping[str, Any] | None = None,
        loss: str | LossFunction | None = None,
        metrics: Any = None,
        curvature: str | Callable[[nn.Module, Any], tuple[Tensor, int]] | None = None,
        hooks: Sequence[Hook] = (),
        checkpoint: Mapping[str, Any] | None = None,
        resume: bool | str | Path = False,
        randomness: Mapping[str, Any] | None = None,
        device: str | torch.device | None = None,
        log_interval: int = 10,
    ) -> None:
        arguments = dict(locals())
        self.plan = TrainPlan.from_cfg(train_cfg)
        self.seed = seed_of(randomness)
        seed_all(self.seed)
        self.device = find_device(device)
        self.log_interval = log_interval
        self.model: nn.Module = build_object(model, nn.Module, "model").to(self.device)
        self.train_dataloader = build_dataloader(train_dataloader, "train_dataloader", self.seed)
        self.val_dataloader: Iterable[Any] | None = None
        if val_dataloader is not None:
            self.val_dataloader = build_dataloader(val_dataloader, "val_dataloader", self.seed)
        self.metrics = find_metrics(metrics)
        self.optim_wrapper = build_optim_wrapper(self.model, optim_wrapper)
        self.train_step = TrainStep(
            self.model,
            self.optim_wrapper,
            None if loss is None else find_function(loss, ("model", "batch"), "loss"),
            None if curvature is None else find_function(curvature, ("model", "batch"), "curvature"),
        )
        self._measures_loss = loss is not None
        if self.val_dataloader is not None and not (self.metrics or self._measures_loss):
            raise ConfigError("there is validation data, but neither metrics nor a loss to evaluate on it", "metrics")
        self.epoch_length = len(self.train_dataloader) if isinstance(self.train_dataloader, Sized) else None
        self.max_iters = self.plan.length(self.epoch_length)
        self.schedulers = build_param_scheduler(
            self.optim_wrapper, param_scheduler, self.epoch_length, self.plan.max_epochs, self.max_iters
        )
        checkpoint_hook = calls.call(CheckpointHook, checkpoint or {}, "checkpoint")
        self.hooks: list[Hook] = [*hooks, LoggerHook(), ParamSchedulerHook(), checkpoint_hook]
        self.epoch = self.iter = self._iter_in_epoch = 0
        self._random_state: Mapping[str, Any] | None = None
        # Nothing above touches the disk: a mistake in the config leaves an earlier run in the folder as it was.
        self.work_dir = prepare_work_dir(Path(work_dir), keep=bool(resume))
        self.history = History(self.work_dir / "metrics.csv")
        self.watch = LossWatch(self.work_dir)
        arguments["randomness"] = {"seed": self.seed}
        (self.work_dir / "config.yaml").write_text(config_text(_as_config(arguments)), encoding="utf-8")
        if resume:
            self._resume(None if resume is True else Path(resume))

    @classmethod
    def from_cfg(cls, cfg: Mapping[str, Any], resume: bool = False) -> Runner:
        """Build a Runner from a config; every problem in it is reported at once.

        Args:
            cfg: The arguments of the Runner by name.
            resume: As for the Runner.

        Raises:
            ConfigError: The config is wrong.
        """
        from optimzoo.runner.check import config_problems

        calls.raise_all(config_problems(cfg))
        return cls(**cfg, resume=resume)

    @property
    def finished(self) -> bool:
        """Whether the run has reached its length."""
        done, length = (self.epoch, self.plan.max_epochs) if self.plan.by_epoch else (self.iter, self.plan.max_iters)
        return length is not None and done >= length

    @property
    def current_epoch(self) -> int:
        """The epoch that is running, or else the last one that ended, counted from 1."""
        return self.epoch + (self._iter_in_epoch > 0)

    def train(self) -> nn.Module:
        """Train to the end of the run, and return the model.

        Raises:
            NonFiniteError: The loss became NaN or infinite; the last checkpoint is kept.
        """
        if hasattr(self.optim_wrapper, "initialize_count_status"):
            self.optim_wrapper.initialize_count_status(self.model, self.iter, self.max_iters or -1)
        try:
            self._call("before_train")
            while not self.finished:
                self._train_epoch()
            self._call("after_train")
        except BaseException as error:
            self._call("on_exception", error)
            raise
        return self.model

    def val(self) -> dict[str, float]:
        """Evaluate the metrics, and the loss if there is a function for it, on the validation data.

        Returns:
            The mean of each over the samples.
        """
        if self.val_dataloader is None:
            raise ConfigError("there is no validation data", "val_dataloader")
        totals: dict[str, Any] = {}
        count = 0
        self.model.eval()
        with torch.no_grad():
            for batch in self.val_dataloader:
                batch = to_device(batch, self.device)
                size = batch_size(batch)
                count += size
                for name, value in self._measure(batch).items():
                    totals[name] = totals.get(name, 0.0) + value * size
        self.model.train()
        if count == 0:
            raise ConfigError("it yields no batch", "val_dataloader")
        return {name: float(total) / count for name, total in totals.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return all that a checkpoint holds; refuse if the loss has become NaN or infinite."""
        self.watch.check()
        return {
            "model": self.model.state_dict(),
            "optim_wrapper": self.optim_wrapper.state_dict(),
            "param_scheduler": self.schedulers.state_dict(),
            "epoch": self.epoch,
            "iter": self.iter,
            "iter_in_epoch": self._iter_in_epoch,
            "optimizer": dotted(type(self.optim_wrapper.optimizer)),
            "seed": self.seed,
            "random": random_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned.

        Raises:
            CheckpointError: It was made with another optimizer.
        """
        optimizer = dotted(type(self.optim_wrapper.optimizer))
        if state["optimizer"] != optimizer:
            raise CheckpointError(
                f"it was made with the optimizer {state['optimizer']}, and the config names {optimizer}"
            )
        self.model.load_state_dict(state["model"])
        self.optim_wrapper.load_state_dict(state["optim_wrapper"])
        self.schedulers.load_state_dict(state["param_scheduler"])
        self.epoch, self.iter, self._iter_in_epoch = state["epoch"], state["iter"], state["iter_in_epoch"]
        self.seed = state["seed"]
        self._random_state = state["random"]
        self.history.load(self.iter)

    def _train_epoch(self) -> None:
        by_epoch, interval = self.plan.by_epoch, self.plan.val_interval
        self._call("before_epoch")
        self.model.train()
        for batch in self._batches():
            self._train_iter(to_device(batch, self.device))
            if not by_epoch and (self.iter % interval == 0 or self.finished):
                self._validate_and_save(self.iter)
            if not by_epoch and self.finished:
                return
        if self._iter_in_epoch == 0:
            raise ConfigError("it yields no batch", "train_dataloader")
        self.epoch += 1
        self._iter_in_epoch = 0
        self._call("after_epoch")
        if by_epoch:
            self._validate_and_save(self.epoch)

    def _batches(self) -> Iterator[Any]:
        """Yield the batches of the current epoch; after resuming, those that are left of it."""
        start_epoch(self.train_dataloader, self.seed, self.epoch)
        skip = self._iter_in_epoch
        if skip == 0:
            self._restore_random_state()
        for index, batch in enumerate(self.train_dataloader):
            if index == skip:
                self._restore_random_state()
            if index >= skip:
                yield batch

    def _restore_random_state(self) -> None:
        if self._random_state is not None:
            set_random_state(self._random_state)
            self._random_state = None

    def _train_iter(self, batch: Any) -> None:
        outcome, logs = self.train_step(batch)
        self.iter += 1
        self._iter_in_epoch += 1
        if "loss" in logs:
            self.watch.add(self.iter, logs["loss"])
        if self.device.type == "cpu" or self.iter % self.log_interval == 0:
            self.watch.check()
        self._call("after_iter", outcome, logs)

    def _validate_and_save(self, count: int) -> None:
        plan = self.plan
        due = count >= plan.val_begin and (count % plan.val_interval == 0 or self.finished)
        if self.val_dataloader is not None and due:
            self._call("after_val", self.val())
        self._call("checkpoint_due")

    def _measure(self, batch: Any) -> dict[str, Any]:
        found = {name: value for metric in self.metrics for name, value in metric(self.model, batch).items()}
        return {**({"loss": self.train_step.loss(batch)} if self._measures_loss else {}), **found}

    def _resume(self, path: Path | None) -> None:
        found = checkpoints_in(self.work_dir)
        if path is None and not found:
            return
        path = path or found[-1]
        state = load_checkpoint(path)
        try:
            self.load_state_dict(state)
        except (CheckpointError, KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path} does not fit this config: {error}") from error

    def _call(self, event: str, *arguments: Any) -> None:
        for hook in self.hooks:
            getattr(hook, event)(self, *arguments)


def _as_config(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a Runner as a config that can be written; what no text can describe becomes its type."""
    config = {k: v for k, v in arguments.items() if k not in ("self", "hooks", "resume") and v is not None}
    objects = ("model", "train_dataloader", "val_dataloader")
    return {k: describe(v) if k in objects and not isinstance(v, Mapping) else v for k, v in config.items()}


def find_metrics(metrics: Any) -> list[Callable[[nn.Module, Any], Mapping[str, Any]]]:
    """Return the metric functions that a config's ``metrics`` names."""
    listed = [] if metrics is None else metrics if isinstance(metrics, (list, tuple)) else [metrics]
    return [find_function(metric, ("model", "batch"), f"metrics[{index}]") for index, metric in enumerate(listed)]
