"""Checking a run config without training: every name and key is resolved, and every problem is found at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from optimzoo import calls
from optimzoo.build import build_param_scheduler, optim_wrapper_problems, param_scheduler_problems
from optimzoo.constructors import DefaultOptimWrapperConstructor
from optimzoo.errors import ConfigError, OptimzooError, did_you_mean, near
from optimzoo.runner.checkpoint import CheckpointHook
from optimzoo.runner.data import dataloader_problems
from optimzoo.runner.device import find_device
from optimzoo.runner.objects import find_function, object_problems
from optimzoo.runner.plan import TrainPlan, plan_problems
from optimzoo.runner.randomness import seed_of
from optimzoo.runner.runner import Runner, find_metrics

KEYS = [name for name in inspect.signature(Runner).parameters if name not in ("hooks", "resume")]
"""The keys of a run config: what the Runner takes, less what only a program can give it."""

LONG_EPOCH = 1_000_000
"""Iterations in an epoch, where the data is not there to tell: so many that no schedule by iteration is too long."""


def config_problems(cfg: Mapping[str, Any]) -> Iterator[OptimzooError]:
    """Yield every problem in a run config."""
    for key in (k for k in cfg if k not in KEYS):
        hint = did_you_mean(near(key, KEYS)) or f" A run config has the keys {', '.join(KEYS)}."
        yield ConfigError(f"there is no such key.{hint}", key)
    required = [p.name for p in inspect.signature(Runner).parameters.values() if p.default is p.empty]
    for key in (k for k in required if k not in cfg):
        yield ConfigError("it is missing", key)
    sound = True
    for key, problems in _checks().items():
        for problem in problems(cfg[key]) if key in cfg else ():
            sound = sound and key not in ("optim_wrapper", "param_scheduler", "train_cfg")
            yield problem
    if sound and "optim_wrapper" in cfg and "train_cfg" in cfg:
        yield from _value_problems(cfg)


def _checks() -> dict[str, Callable[[Any], Iterator[OptimzooError]]]:
    """Return, for each key, the generator of its problems."""
    two = ("model", "batch")
    return {
        "model": lambda value: object_problems(value, nn.Module, "model"),
        "train_dataloader": lambda value: dataloader_problems(value, "train_dataloader"),
        "val_dataloader": lambda value: dataloader_problems(value, "val_dataloader"),
        "train_cfg": plan_problems,
        "optim_wrapper": optim_wrapper_problems,
        "param_scheduler": param_scheduler_problems,
        "loss": lambda value: _caught(find_function, value, two, "loss"),
        "curvature": lambda value: _caught(find_function, value, two, "curvature"),
        "metrics": lambda value: _caught(find_metrics, value),
        "checkpoint": lambda value: _caught(calls.call, CheckpointHook, value, "checkpoint"),
        "randomness": lambda value: _caught(seed_of, value),
        "device": lambda value: _caught(find_device, value),
    }


def _caught(function: Callable[..., Any], *arguments: Any) -> Iterator[OptimzooError]:
    try:
        function(*arguments)
    except OptimzooError as error:
        yield error


def _value_problems(cfg: Mapping[str, Any]) -> Iterator[OptimzooError]:
    """Yield what the optimizer, its wrapper and the schedules refuse, tried on a stand-in for the model."""
    if not isinstance(cfg["optim_wrapper"].get("optimizer"), Mapping):
        return  # another constructor's affair
    settings = {k: v for k, v in cfg["optim_wrapper"].items() if k not in ("constructor", "paramwise_cfg", "_scope_")}
    plan = TrainPlan.from_cfg(cfg["train_cfg"])
    try:
        wrapper = DefaultOptimWrapperConstructor(settings)(nn.Linear(1, 1, bias=False))
    except ConfigError as error:
        yield from error.under("optim_wrapper").problems
        return
    try:
        build_param_scheduler(wrapper, cfg.get("param_scheduler"), LONG_EPOCH, plan.max_epochs, plan.max_iters)
    except ConfigError as error:
        yield from error.problems
