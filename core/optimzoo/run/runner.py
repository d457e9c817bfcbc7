"""The Runner: from a config to a trained model, with a log, schedules, validation and checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from optimzoo import calls
from optimzoo.build import build_optim_wrapper
from optimzoo.config.load import describe, plain
from optimzoo.console import as_html, as_text
from optimzoo.errors import ConfigError, OptimzooError, shown
from optimzoo.names.trust import modules_in
from optimzoo.optimizers.modes import Modes
from optimzoo.run.course import Course, Trained
from optimzoo.run.data.loaders import batch_size, build_dataloader, epoch_length, sample_counts, start_epoch, to_device
from optimzoo.run.hooks.base import Hook
from optimzoo.run.hooks.checkpoint import CheckpointHook
from optimzoo.run.hooks.list import HookList
from optimzoo.run.hooks.log import LoggerHook
from optimzoo.run.hooks.log_to import LogTo
from optimzoo.run.hooks.schedules import ParamSchedulerHook
from optimzoo.run.hooks.tensorboard import TensorBoardHook
from optimzoo.run.loop.device import find_device
from optimzoo.run.loop.metrics import Means, Metric, evaluation_mode, measured
from optimzoo.run.loop.nonfinite import LossWatch
from optimzoo.run.loop.randomness import RandomStates, random_state, seed_all, seed_of, set_random_state
from optimzoo.run.loop.step import LossFunction, TrainStep
from optimzoo.run.parts import check_state, restore, state_of
from optimzoo.run.reading import KEYS, REQUIRED, RunRecord, read_run
from optimzoo.run.spread.strategy import build_strategy
from optimzoo.run.store.checkpoint import save_checkpoint
from optimzoo.run.store.curves import plot_history
from optimzoo.run.store.find import find_checkpoint
from optimzoo.run.store.history import History, measured_with
from optimzoo.run.store.weights import load_weights
from optimzoo.run.store.work_dir import begin, check_room, hold, insist, path_of
from optimzoo.run.told import run_table
from optimzoo.schedules.build import build_param_scheduler
from optimzoo.values import one_of
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict
from optimzoo.wrappers.members import members

if TYPE_CHECKING:
    from optimzoo.pictures import Picture


class Runner(Trained):
    """Trains a model as a config says. Nothing is written before the first step is made.

    Args:
        model: A module, or a dict with ``type`` (a dotted path) and its arguments. A model with a method
            ``train_step(data, optim_wrapper)`` drives itself and returns a dict of values to log.
        work_dir: Where the log, the curves, the checkpoints and the resolved config go.
        train_dataloader: An iterable of batches, or the arguments of a DataLoader as a dict.
        optim_wrapper: As for ``build_optim_wrapper``.
        train_cfg: ``max_epochs``, or ``by_epoch=False`` and ``max_iters``; and ``val_interval``, ``val_begin``,
            ``dynamic_intervals``.
        param_scheduler: As for ``build_param_scheduler``.
        val_dataloader: As ``train_dataloader``.
        loss: A function of the model and a batch, or its dotted path. Returns a scalar, or a dict whose entries with
            ``loss`` in their names are summed and the others logged. Takes precedence over ``train_step``.
        metrics: A function of the model and a batch that returns a dict of values, its dotted path, or a list of
            these. The values are averaged over the samples of the validation data.
        curvature: For an optimizer such as SophiaG: a function of the model and a batch that returns a loss on sampled
            labels and their number, or its dotted path; called when an estimate is due.
        hooks: Further hooks, called before the Runner's own; each a ``Hook``, or ``type`` and its arguments as a dict.
        checkpoint: ``interval``, ``keep``, ``best`` and ``rule``, see ``CheckpointHook``.
        resume: True continues from the newest checkpoint in ``work_dir``; a path from that file.
        on_change: What to do where schedules differ from those of the checkpoint: ``"error"``; ``"restore"`` the
            checkpoint's; or ``"config"``, which takes schedules, learning rates, weight decays and all other settings
            of the parameter groups from the config.
        randomness: ``seed`` of Python, NumPy and torch; drawn, and noted in the resolved config, if it is missing.
        device: The device to train on; an accelerator where there is one.
        strategy: How to use several processes: ``"single"``, ``"ddp"``, ``"fsdp2"``, or a dict with one of these as
            ``type`` and its arguments. ``"ddp"`` if torchrun started several, by default.
        log_interval: Iterations from one update of the log to the next.
        log_groups: Whether the log has the learning rate and weight decay of every parameter group, by its name.
        code_dir: A folder with modules that dotted paths may name; looked up after the installed ones, and during the
            run alone.
        load_from: Weights to begin with: a file of a state dict, or of a checkpoint. A warning names what does not
            fit the model. A run that is resumed has the weights of its checkpoint.

    Attributes:
        epoch: Passes over the data completed.
        iter: Iterations completed.
        iter_in_epoch: Those of the epoch that is running.
        validation_due: Whether a validation comes before the next iteration.
        should_stop: What a hook sets, in all processes, to end the run: after the iteration, with a checkpoint, or
            after the epoch or validation in whose method it does so. Another ``train`` goes on.
        history: The values logged so far.
        config: The arguments in plain values, as ``config.yaml`` has them.
        resumed_from: The checkpoint that the run continues from, or None.
        moved_to: The folder that an earlier run in ``work_dir`` was moved to, or None.

    Raises:
        ConfigError: An argument is wrong.
        CheckpointError: The checkpoint to resume from is missing or damaged, or does not fit.
    """

    def __init__(
        self,
        model: nn.Module | Mapping[str, Any],
        work_dir: str | Path,
        train_dataloader: Iterable[Any] | Mapping[str, Any],
        optim_wrapper: BaseOptimWrapper | OptimWrapperDict | Mapping[str, Any],
        train_cfg: Mapping[str, Any],
        param_scheduler: Any = None,
        val_dataloader: Iterable[Any] | Mapping[str, Any] | None = None,
        loss: str | LossFunction | None = None,
        metrics: Any = None,
        curvature: str | Callable[[nn.Module, Any], tuple[Tensor, int]] | None = None,
        hooks: Sequence[Hook | Mapping[str, Any]] = (),
        checkpoint: Mapping[str, Any] | None = None,
        resume: bool | str | Path = False,
        on_change: str = "error",
        randomness: Mapping[str, Any] | None = None,
        device: str | torch.device | None = None,
        strategy: str | Mapping[str, Any] | None = None,
        log_interval: int = 10,
        log_groups: bool = False,
        code_dir: str | Path | None = None,
        load_from: str | Path | None = None,
    ) -> None:
        arguments = {key: value for key, value in locals().items() if key not in ("self", "resume", "on_change")}
        self.config = _as_config(arguments)
        self.on_change = one_of(on_change, ("error", "restore", "config"), "on_change")
        self._code_dir = None if code_dir is None else path_of(code_dir, "code_dir")
        with modules_in(self._code_dir):
            self._build(read_run(arguments), resume)

    @calls.no_exit()
    def _build(self, read: RunRecord, resume: bool | str | Path) -> None:
        """Build what a config that was read says."""
        self.work_dir, self.log_interval, self.plan = read.work_dir, read.log_interval, read.train_cfg
        self.strategy = build_strategy(read.strategy, read.device or find_device(None))
        self.processes = self.strategy.processes
        self.device = self.processes.device
        self.seed, resume = self.processes.on_first(
            lambda: (seed_of(None) if read.randomness is None else read.randomness, resume)
        )
        self.resumed_from: Path | None = None
        if resume is not False:
            self.resumed_from, state = self.processes.on_first(lambda: self._find(resume))
            self.seed = state["seed"]
        seed_all(self.seed)
        model = calls.made(read.model)
        if not isinstance(model, nn.Module):
            raise ConfigError(f"a torch.nn.Module is wanted, and {shown(model)} was returned", "model")
        if read.load_from is not None and self.resumed_from is None:
            file = read.load_from
            self.processes.on_first(lambda: load_weights(model, file))
        self.model: nn.Module = self.strategy.shard(model.to(self.device))
        self.train_dataloader = self.strategy.split(
            build_dataloader(read.train_dataloader, "train_dataloader", self.seed), "train_dataloader", self.seed
        )
        self.val_dataloader: Iterable[Any] | None = None
        if read.val_dataloader is not None:
            self.val_dataloader = self.strategy.split(
                build_dataloader(read.val_dataloader, "val_dataloader", self.seed), "val_dataloader"
            )
        self.metrics = read.metrics
        self.optim_wrapper = build_optim_wrapper(self.model, read.optim_wrapper)
        own_hooks = [calls.made(hook) for hook in read.hooks]
        calls.raise_all(self.strategy.problems(self.optim_wrapper, self.model, own_hooks))
        self.modes = Modes(member.optimizer for member in members(self.optim_wrapper).values())
        self.train_step = TrainStep(
            self.strategy.wrap(self.model, drives=read.loss is None), self.optim_wrapper, read.loss, read.curvature
        )
        self._measures_loss = read.loss is not None
        if self.val_dataloader is not None and not (self.metrics or self._measures_loss):
            raise ConfigError("there is validation data, but neither metrics nor a loss to evaluate on it", "metrics")
        self.epoch_length = epoch_length(self.train_dataloader)
        self.max_iters = self.plan.length(self.epoch_length)
        self.schedulers = build_param_scheduler(
            self.optim_wrapper, read.param_scheduler, self.epoch_length, self.plan.max_epochs, self.max_iters
        )
        saver = read.checkpoint or CheckpointHook()
        logs = [LoggerHook(groups=read.log_groups), TensorBoardHook()]
        logs += [hook for hook in own_hooks if isinstance(hook, LogTo)]
        others = [hook for hook in own_hooks if hook not in logs]
        self.hooks = [*others, *(logs if self.processes.rank == 0 else ()), ParamSchedulerHook(), saver]
        self.epoch = self.iter = self.iter_in_epoch = 0
        self.validation_due = self.should_stop = False
        self.random = RandomStates()
        self.history = History(self.work_dir / "metrics.csv", self._into_folder)
        skips = any(getattr(m, "nonfinite", "") == "skip" for m in members(self.optim_wrapper).values())
        self.watch = LossWatch(self.work_dir, self.device, skips)
        if self.resumed_from is not None:
            restore(self, state, self.resumed_from)
        self.config["randomness"] = {"seed": self.seed}
        self.moved_to: Path | None = None
        self._begun = False
        self._held: contextlib.ExitStack | None = None
        self._course = Course(self, saver)

    @classmethod
    def from_cfg(cls, cfg: Mapping[str, Any], resume: bool | str | Path = False, on_change: str = "error") -> Runner:
        """Build a Runner from a config; every problem in it is reported at once.

        Args:
            cfg: The arguments of the Runner by name.
            resume: As for the Runner.
            on_change: As for the Runner.

        Raises:
            ConfigError: The config is wrong.
        """
        if isinstance(cfg, (str, Path)) or not set(REQUIRED) <= set(cfg) <= set(KEYS):
            read_run(cfg)  # which tells of the keys, and of all else that is wrong
        return cls(**{key: cfg[key] for key in KEYS if key in cfg}, resume=resume, on_change=on_change)

    @property
    def hooks(self) -> HookList:
        """The hooks, in the order in which they are called; any list of hooks may be put in their place."""
        return self._hooks

    @hooks.setter
    def hooks(self, hooks: Iterable[Hook]) -> None:
        self._hooks = HookList(hooks)

    @calls.no_exit()
    def train(self) -> nn.Module:
        """Train to the end of the run, and return the model.

        In the main thread, SIGINT (Ctrl-C), SIGTERM and SIGHUP let the running step end and save a checkpoint first.
        Another call goes on from there. SIGUSR1 saves a checkpoint, or stops the run too; see ``CheckpointHook``.

        Raises:
            NonFiniteError: The loss or a parameter became NaN or infinite; the last checkpoint is kept.
            KeyboardInterrupt: SIGINT arrived.
            SystemExit: SIGTERM or SIGHUP arrived, or a SIGUSR1 that stops the run.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(modules_in(self._code_dir))
            stack.enter_context(self.processes.together())
            self.processes.on_first(lambda: stack.enter_context(hold(self.work_dir)))
            self.processes.on_first(lambda: check_room(self.work_dir, self.resumed_from))
            stack.enter_context(self._course.signals)
            self._held = stack
            stack.callback(setattr, self, "_held", None)
            self.train_step.begin(self.iter, self.max_iters or -1)
            self.modes.train()
            self._course.train()
            self.modes.eval()
        return self.model

    @calls.no_exit()
    def val(self) -> dict[str, float]:
        """Evaluate the metrics, and the loss if there is a function for it, on the validation data.

        Returns:
            The mean of each over the samples; of averaged weights too, as ``ema_val_accuracy`` (``EMAHook``).

        Raises:
            ConfigError: There is no validation data, or it yields nothing.
        """
        if self.val_dataloader is None:
            raise ConfigError("there is no validation data", "val_dataloader")
        first, *others = self.hooks.weights
        before, found = random_state(), self._measured(first)
        after = random_state()
        for weights in others:
            set_random_state(before)  # all are measured on the same data, and the training goes on as after one
            found.update(self._measured(weights))
        set_random_state(after)
        return found

    def _measured(self, weights: str) -> dict[str, float]:
        means = Means(self.device)
        with self.evaluated(weights) as batches:
            for values, count in batches:
                means.add(values, count)
        found = means.over(self.processes)
        if not found:
            raise ConfigError("it yields no batch, or the metrics no value", "val_dataloader")
        return {measured_with(weights, name): value for name, value in found.items()}

    @contextlib.contextmanager
    def evaluated(self, weights: str = "") -> Iterator[Iterator[tuple[dict[str, Any], int]]]:
        """Return the context of the values of each validation batch, and of how many samples they are the means.

        Args:
            weights: The name of the weights to evaluate with; those that are trained have none.
        """
        metrics = [self._loss_as_metric, *self.metrics] if self._measures_loss else self.metrics
        averaged = self.hooks.evaluating(self, weights)
        with (
            modules_in(self._code_dir),
            torch.no_grad(),
            evaluation_mode(self.model),
            self.modes.evaluating(),
            averaged,
        ):
            yield self._evaluate(() if self.val_dataloader is None else self.val_dataloader, metrics)

    def _evaluate(self, loader: Iterable[Any], metrics: Sequence[Metric]) -> Iterator[tuple[dict[str, Any], int]]:
        start_epoch(loader, self.seed, 0)
        for (batch, counts), size in zip(self.strategy.in_step(loader), sample_counts(loader)):
            if self.validation_due and self._course.signals.received and self.processes.size == 1:
                raise InterruptedError("a signal cuts the validation short")
            batch = to_device(batch, self.device)
            yield measured(metrics, self.model, batch), (size or batch_size(batch) or 1) * counts

    def plot(self) -> Picture:
        """Return a picture of the history: losses, metrics and scheduled hyperparameters over the iterations.

        It is a figure of matplotlib, and a notebook shows it.
        """
        return plot_history(self.history, title=str(self.work_dir))

    @calls.no_exit()
    def save(self, path: str | Path) -> None:
        """Save a checkpoint; all processes call it, and the first writes.

        A hook may do so in ``checkpoint_due`` and ``on_stop``: in others, schedules and log have yet to note what has
        happened.

        Raises:
            OptimzooError: A hook calls it in another method.
            NonFiniteError: The loss or a parameter has become NaN or infinite.
            CheckpointError: It cannot be written, or holds what could not be read.
        """
        event, hook = self.hooks.calling or (None, None)
        if event not in (None, "checkpoint_due", "on_stop") and not isinstance(hook, CheckpointHook):
            raise OptimzooError(
                f"{type(hook).__name__}.{event} cannot save a checkpoint, for schedules and log have yet to note what "
                "has happened: save in checkpoint_due, or after train()"
            )
        self.begin()
        if self._begun:
            self.hooks.call("before_checkpoint", self)
        state = self.state_dict()
        self.processes.on_first(lambda: self._into_folder(lambda: save_checkpoint(state, Path(path))))
        self.hooks.call("after_checkpoint", self, Path(path))

    def state_dict(self) -> dict[str, Any]:
        """Return all that a checkpoint holds; refuse if the loss or a parameter has become NaN or infinite.

        All processes call it, and the first holds it.
        """
        self.watch.check()
        self.watch.check_parameters(self.model, self.iter, self.processes)
        return state_of(self)

    def begin(self) -> None:
        """Move what an earlier run left, and write the config, when the first step is made; all processes call it."""
        held = self._held
        if held is not None and not self._begun:
            write = partial(begin, self.work_dir, self.resumed_from, self.config)
            self.moved_to = self.processes.on_first(lambda: insist(write, self.work_dir, self.config, held))
            self._begun = True

    def keep_folder(self) -> None:
        """Make the folder of the run anew, if it was removed while the run is in it; all processes call it."""
        self.processes.on_first(lambda: self._into_folder(lambda: None))

    def _into_folder(self, write: Callable[[], None]) -> None:
        if self._held is None:
            write()
        elif self._begun:
            insist(write, self.work_dir, self.config, self._held)

    def __repr__(self) -> str:
        return as_text(run_table(self))

    def _repr_html_(self) -> str:
        return as_html(run_table(self))

    def _find(self, resume: bool | str | Path) -> tuple[Path, dict[str, Any]]:
        path, state = find_checkpoint(resume, self.work_dir)
        check_state(state, path)
        return path, state

    def _loss_as_metric(self, model: nn.Module, batch: Any) -> dict[str, Any]:
        return {"loss": self.train_step.loss(model, batch)}


def _as_config(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given to a Runner in plain values; what no text can describe becomes its type."""
    made = ("model", "train_dataloader", "val_dataloader")
    given = {key: value for key, value in arguments.items() if value is not None}
    config = {k: describe(v) if k in made and not isinstance(v, Mapping) else plain(v) for k, v in given.items()}
    return {key: value for key, value in config.items() if (key, value) != ("hooks", [])}
