"""Reading the config of a run: every name and key in it is found, and every problem is told at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from optimzoo import calls
from optimzoo.constructors.reading import WrapperRecord, read_optim_wrapper
from optimzoo.errors import ConfigError, OptimzooError, Problems, did_you_mean, near, shown
from optimzoo.run.data.loaders import read_dataloader
from optimzoo.run.hooks.base import Hook
from optimzoo.run.hooks.checkpoint import CheckpointHook
from optimzoo.run.hooks.list import read_hooks
from optimzoo.run.loop.device import find_device
from optimzoo.run.loop.metrics import Metric, find_metrics, unmeasured
from optimzoo.run.loop.randomness import seed_of
from optimzoo.run.loop.train_cfg import TrainPlan
from optimzoo.run.objects import find_function, read_object
from optimzoo.run.spread.strategy import read_strategy
from optimzoo.run.store.weights import weights_file
from optimzoo.run.store.work_dir import path_of, work_dir_of
from optimzoo.schedules.build import Records, read_param_scheduler
from optimzoo.values import as_count, one_of, plain


@dataclass(frozen=True)
class RunRecord:
    """What the config of a run says; its fields are the config's keys.

    What is a ``Call`` is built by the Runner, once; see there for what each is.
    """

    model: nn.Module | calls.Call
    work_dir: Path
    train_dataloader: Iterable[Any] | calls.Call
    optim_wrapper: WrapperRecord
    train_cfg: TrainPlan
    param_scheduler: Records | dict[str, Records] = ()
    val_dataloader: Iterable[Any] | calls.Call | None = None
    loss: Callable[..., Any] | None = None
    metrics: tuple[Metric, ...] = ()
    curvature: Callable[..., Any] | None = None
    hooks: tuple[Hook | calls.Call, ...] = ()
    checkpoint: CheckpointHook | None = None
    randomness: int | None = None
    device: torch.device | None = None
    strategy: calls.Call | None = None
    log_interval: int = 10
    log_groups: bool = False
    code_dir: str | Path | None = None
    load_from: Path | None = None


KEYS = [field.name for field in fields(RunRecord)]
"""The keys of a run config."""

REQUIRED = [field.name for field in fields(RunRecord) if field.default is MISSING]

OF_MMENGINE = {
    "custom_hooks": "hooks are listed under 'hooks'",
    "default_hooks": "the log and the schedules need no hooks; 'checkpoint' and 'log_interval' say when they act",
    "resume": "--resume on the command line, or the argument of Runner, continues a run",
    "auto_scale_lr": "write the learning rate that goes with the batch size",
    "val_evaluator": "what is measured are functions of the model and a batch: 'metrics'",
    "val_cfg": "'train_cfg' says when to validate: val_interval and val_begin",
    "env_cfg": "there are no such settings; 'strategy' says how to use several processes",
    "custom_imports": "a dotted path 'package.module:Name' is imported when it is used",
    "default_scope": "there is one registry: write the scope with a name that means another thing in it",
    "visualizer": "the log is written as CSV, JSON lines, curves.png and for TensorBoard, without being asked",
    "vis_backends": "the log is written as CSV, JSON lines, curves.png and for TensorBoard, without being asked",
    "log_processor": "'log_interval' says how often to log",
    "log_level": "loggers are those of Python's logging, below 'optimzoo'",
    "launcher": "torchrun starts the processes; 'strategy' says how to use them",
    "model_wrapper_cfg": "'strategy' says how to use several processes",
    "find_unused_parameters": "it stands in 'strategy', beside type='ddp'",
    "experiment_name": "a run is known by its 'work_dir'",
    **dict.fromkeys(
        ("activation_checkpointing", "compile", "efficient_conv_bn_eval", "sync_bn"),
        "what the model is made by does that",
    ),
    **dict.fromkeys(("lr_config", "momentum_config"), "schedules are listed under 'param_scheduler'"),
    "optimizer_config": "its keys stand in 'optim_wrapper': clip_grad, accumulative_counts",
    "checkpoint_config": "it is 'checkpoint': interval and keep",
    "log_config": "'log_interval' says how often to log",
    "total_epochs": "it is train_cfg.max_epochs",
    "resume_from": "--resume on the command line, or the argument of Runner, continues a run",
    **{f"test_{what}": "nothing is tested after a run: call Runner.val" for what in ("cfg", "dataloader", "evaluator")},
}
"""Keys that mmengine, or mmcv before it, has at the top of a config, and what stands for them here."""

ELSEWHERE = {
    **OF_MMENGINE,
    "cfg": "the keys of a run stand at the top of the config",
    "data_preprocessor": "it is an argument of the model",
    "optimizer": "it stands in 'optim_wrapper', as optim_wrapper.optimizer",
    **{
        key: f"it stands in 'optim_wrapper', as optim_wrapper.{key}"
        for key in ("clip_grad", "accumulative_counts", "paramwise_cfg", "constructor")
    },
    **{key: f"it stands in the optimizer's config, as optim_wrapper.optimizer.{key}" for key in ("lr", "weight_decay")},
    **{
        key: f"it stands in 'train_cfg', as train_cfg.{key}"
        for key in ("max_epochs", "max_iters", "val_interval", "val_begin", "dynamic_intervals", "by_epoch")
    },
}
"""Keys that belong to another level of the config, too."""


def _read_wrapper(cfg: Any) -> WrapperRecord:
    try:
        return read_optim_wrapper(cfg)
    except OptimzooError as error:
        raise error.under("optim_wrapper") from error.__cause__


READERS: dict[str, Callable[[Any], Any]] = {
    "model": partial(read_object, base=nn.Module, path="model"),
    "work_dir": work_dir_of,
    "train_dataloader": partial(read_dataloader, path="train_dataloader"),
    "val_dataloader": partial(read_dataloader, path="val_dataloader"),
    "train_cfg": TrainPlan.from_cfg,
    "optim_wrapper": _read_wrapper,
    "param_scheduler": read_param_scheduler,
    "loss": partial(find_function, arguments=("model", "batch"), path="loss"),
    "curvature": partial(find_function, arguments=("model", "batch"), path="curvature"),
    "metrics": find_metrics,
    "hooks": read_hooks,
    "checkpoint": lambda value: calls.call(CheckpointHook, plain(value, "checkpoint"), "checkpoint"),
    "randomness": lambda value: seed_of(plain(value, "randomness")),
    "strategy": read_strategy,
    "device": find_device,
    "log_interval": lambda value: as_count(plain(value, "log_interval"), "log_interval", 1),
    "load_from": weights_file,
    "log_groups": lambda value: one_of(value, (True, False), "log_groups"),
    "code_dir": lambda value: None if value is None else path_of(value, "code_dir"),
}
"""What reads each key, and raises what is wrong with it; in the order in which problems are told."""


def read_run(cfg: Mapping[str, Any]) -> RunRecord:
    """Return what the config of a run says. Nothing is built, and no code of a user's is called.

    Raises:
        ConfigError: The config is wrong; one error lists all that is.
    """
    parts, problems = read_parts(cfg)
    problems.raise_all()
    return RunRecord(**parts)


def read_parts(cfg: Mapping[str, Any]) -> tuple[dict[str, Any], Problems]:
    """Return what each key of a run's config says, None where it is wrong, and all the problems."""
    if isinstance(cfg, (str, Path)):
        raise ConfigError(f"the config of a run is a dict, as load_config(path) reads from a file; got {shown(cfg)}")
    problems = Problems()
    for key in (k for k in cfg if k not in KEYS and not (k in ELSEWHERE and cfg[k] is None)):
        hint = f" Here {ELSEWHERE[key]}." if key in ELSEWHERE else did_you_mean(near(key, KEYS))
        hint = hint or f" A run config has the keys {', '.join(KEYS)}."
        problems.add(ConfigError(f"there is no such key.{hint}", str(key) or "''"))
    for key in (k for k in REQUIRED if k not in cfg):
        problems.add(ConfigError("it is missing", key))
    given = [key for key in READERS if cfg.get(key) is not None or (key in REQUIRED and key in cfg)]
    parts = {key: problems.catch(_part, key, cfg[key]) for key in given}
    if "loss" not in parts:
        problems.catch(_check_loss, parts.get("model"))
    plan, why = parts.get("train_cfg"), ""
    if cfg.get("val_dataloader") is None:
        why = "there is no val_dataloader to measure one on"
    elif isinstance(plan, TrainPlan) and plan.val_begin > ((plan.max_epochs if plan.by_epoch else plan.max_iters) or 0):
        why = f"no validation comes before the run ends: train_cfg.val_begin is {plan.val_begin}"
    if why:
        schedules = parts.get("param_scheduler") or ()
        listed = chain(*schedules.values()) if isinstance(schedules, dict) else schedules
        for problem in unmeasured(why, getattr(parts.get("checkpoint"), "best", None), listed):
            problems.add(problem)
    return parts, problems


def _part(key: str, value: Any) -> Any:
    try:
        return READERS[key](value)
    except RecursionError as error:
        raise ConfigError("it is nested too deeply", key) from error


def _check_loss(model: Any) -> None:
    """Raise if a model needs a loss; a function does not tell what model it returns."""
    made = model.target if isinstance(model, calls.Call) else model
    if (inspect.isclass(made) or isinstance(made, nn.Module)) and not hasattr(made, "train_step"):
        raise ConfigError("it is missing, and the model has no train_step(data, optim_wrapper) of its own", "loss")
