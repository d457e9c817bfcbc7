"""Checking a run config without training: every name and key is resolved, and every problem is found at once."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from optimzoo import calls
from optimzoo.build import optim_wrapper_problems
from optimzoo.constructors import DefaultOptimWrapperConstructor
from optimzoo.constructors.multi import NOT_A_MEMBER, constructor_of, members_of
from optimzoo.errors import ConfigError, OptimzooError, did_you_mean, near
from optimzoo.names.zoo import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS
from optimzoo.run.data.loaders import dataloader_problems
from optimzoo.run.hooks.checkpoint import CheckpointHook
from optimzoo.run.hooks.list import hook_problems
from optimzoo.run.loop.device import find_device
from optimzoo.run.loop.metrics import metrics_problems
from optimzoo.run.loop.randomness import seed_of
from optimzoo.run.loop.train_cfg import TrainPlan, plan_problems
from optimzoo.run.objects import find_factory, find_function, look_for_modules_in, object_problems
from optimzoo.run.runner import NOT_OF_THE_CONFIG, Runner
from optimzoo.run.spread.strategy import strategy_problems
from optimzoo.run.store.work_dir import folder_of
from optimzoo.schedules.build import build_param_scheduler, param_scheduler_problems
from optimzoo.values import whole_number
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict

KEYS = [name for name in inspect.signature(Runner).parameters if name not in NOT_OF_THE_CONFIG]
"""The keys of a run config."""

LONG_EPOCH = 1_000_000
"""Iterations in an epoch, where the data is not there to tell: so many that no schedule by iteration is too long."""


def config_problems(cfg: Mapping[str, Any]) -> Iterator[OptimzooError]:
    """Yield every problem in a run config."""
    look_for_modules_in(cfg.get("code_dir"))
    for key in (k for k in cfg if k not in KEYS):
        hint = did_you_mean(near(key, KEYS)) or f" A run config has the keys {', '.join(KEYS)}."
        yield ConfigError(f"there is no such key.{hint}", key)
    required = [p.name for p in inspect.signature(Runner).parameters.values() if p.default is p.empty]
    for key in (k for k in required if k not in cfg):
        yield ConfigError("it is missing", key)
    sound = True
    for key, problems in _checks().items():
        for problem in problems(cfg[key]) if cfg.get(key) is not None or (key in required and key in cfg) else ():
            sound = sound and key not in ("optim_wrapper", "param_scheduler", "train_cfg")
            yield problem
    if cfg.get("loss") is None and "model" in cfg:
        yield from _loss_problems(cfg["model"])
    if sound and isinstance(cfg.get("optim_wrapper"), Mapping) and "train_cfg" in cfg:
        yield from _value_problems(cfg)


def _checks() -> dict[str, Callable[[Any], Iterator[OptimzooError]]]:
    """Return, for each key, the generator of its problems."""
    two = ("model", "batch")
    return {
        "model": lambda value: object_problems(value, nn.Module, "model"),
        "work_dir": lambda value: calls.caught(folder_of, value),
        "train_dataloader": lambda value: dataloader_problems(value, "train_dataloader"),
        "val_dataloader": lambda value: dataloader_problems(value, "val_dataloader"),
        "train_cfg": plan_problems,
        "optim_wrapper": optim_wrapper_problems,
        "param_scheduler": param_scheduler_problems,
        "loss": lambda value: calls.caught(find_function, value, two, "loss"),
        "curvature": lambda value: calls.caught(find_function, value, two, "curvature"),
        "metrics": metrics_problems,
        "hooks": hook_problems,
        "checkpoint": lambda value: calls.caught(calls.call, CheckpointHook, value, "checkpoint"),
        "randomness": lambda value: calls.caught(seed_of, value),
        "strategy": strategy_problems,
        "device": lambda value: calls.caught(find_device, value),
        "log_interval": lambda value: calls.caught(whole_number, value, "log_interval", 1),
    }


def _loss_problems(model: Any) -> Iterator[OptimzooError]:
    """Yield a problem if a model needs a loss and there is none; a function does not tell what model it returns."""
    try:
        made = find_factory(model["type"], nn.Module, "model.type") if isinstance(model, Mapping) else model
    except (OptimzooError, KeyError):
        return
    if (inspect.isclass(made) or isinstance(made, nn.Module)) and not hasattr(made, "train_step"):
        yield ConfigError("it is missing, and the model has no train_step(data, optim_wrapper) of its own", "loss")


def _value_problems(cfg: Mapping[str, Any]) -> list[OptimzooError]:
    """Return what the optimizers, their wrappers and the schedules refuse, tried on stand-ins for the model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a run repeats them
        settings = cfg["optim_wrapper"]
        several = "optimizer" not in settings
        wrappers, found = {}, []
        for name, member in members_of(settings).items() if several else [("", settings)]:
            try:
                wrappers[name] = _stand_in(member)
            except ConfigError as error:
                found += error.under(f"optim_wrapper.{name}" if name else "optim_wrapper").problems
        if found or None in wrappers.values():
            return found
        wrapper = OptimWrapperDict(**wrappers) if several else wrappers[""]
        plan = TrainPlan.from_cfg(cfg["train_cfg"])
        run = LONG_EPOCH, plan.max_epochs, plan.max_iters
        return list(calls.caught(build_param_scheduler, wrapper, cfg.get("param_scheduler"), *run))


def _stand_in(cfg: Any) -> Any:
    """Return the wrapper that ``cfg`` describes, around a small module; None if only the run itself can tell."""
    if isinstance(cfg, BaseOptimWrapper):
        return cfg
    default = issubclass(OPTIM_WRAPPER_CONSTRUCTORS.get(constructor_of(cfg)), DefaultOptimWrapperConstructor)
    if not default or not isinstance(cfg.get("optimizer"), Mapping):
        return None
    entry = OPTIMIZERS.entry_of(OPTIMIZERS.get(cfg["optimizer"]["type"]))
    if entry is not None and "process_group" in entry.needs:
        return None
    settings = {key: value for key, value in cfg.items() if key not in (*NOT_A_MEMBER, "modules")}
    wrapper = DefaultOptimWrapperConstructor(settings)(nn.Linear(1, 1, bias=False))
    paramwise_cfg = cfg.get("paramwise_cfg") or {}
    for rule in (*paramwise_cfg.get("custom_keys", {}).values(), *paramwise_cfg.get("rules", ())):
        for group in wrapper.param_groups:
            group.update({key: value for key, value in rule.items() if key not in group})
    return wrapper
