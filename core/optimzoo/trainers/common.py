"""From a config to what every trainer takes: bare optimizers, whose backward pass and step are the trainer's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.build import build_optim_wrapper
from optimzoo.constructors.reading import read_optim_wrapper
from optimzoo.errors import ConfigError
from optimzoo.names.entry import NEEDS
from optimzoo.names.zoo import OPTIMIZERS, needs_of
from optimzoo.optimizers.fused import FUSED
from optimzoo.optimizers.param_groups import CLIP
from optimzoo.values import plain
from optimzoo.wrappers import BaseOptimWrapper
from optimzoo.wrappers.members import members, place_of
from optimzoo.wrappers.ownership import PREPARED_BY, prepared_by

OURS = ("optimizer", "paramwise_cfg", "constructor", "modules")
"""What a trainer leaves to an optimizer; clipping, accumulation and precision are its own affair."""
OF_THE_STEP = ("closure", "two_passes", "curvature", "graph", "loss", "modes")
"""What an optimizer may need of whoever makes the step."""


def read_cfg(cfg: Any, theirs: Mapping[str, str]) -> dict[str, Any]:
    """Return an ``optim_wrapper`` that leaves the step to a trainer.

    Args:
        cfg: ``type`` and the optimizer's arguments; or ``optimizer``, ``paramwise_cfg`` and ``constructor``; or such
            dicts of several optimizers by name.
        theirs: What to say of ``clip_grad``, ``accumulative_counts`` and ``type``, which are the trainer's.

    Raises:
        ConfigError: ``cfg`` is wrong, or has a setting that is the trainer's affair.
    """
    cfg = plain(cfg, "optim_wrapper")
    if isinstance(cfg, dict) and "type" in cfg and ("optimizer" not in cfg or cfg["type"] in OPTIMIZERS):
        cfg = {"optimizer": cfg}
    with calls.placed("", "optim_wrapper"):
        read_optim_wrapper(cfg)
        for name, own in {"": cfg}.items() if "optimizer" in cfg else cfg.items():
            for key in (own.keys() if isinstance(own, dict) else set()) - {*OURS}:
                if (key, own[key]) != ("type", "OptimWrapper"):
                    said = theirs.get(key, f"the trainer makes the step, and takes of it {', '.join(OURS)}")
                    raise ConfigError(said, f"{name}.{key}" if name else key)
    return cfg  # type: ignore[no-any-return]


def build_optimizers(
    model: nn.Module, cfg: Mapping[str, Any], trainer: str, honours: Collection[str] = (), fuse: bool = True
) -> dict[str, Optimizer]:
    """Build the optimizers of a config that was read by ``read_cfg``.

    Args:
        model: The model.
        cfg: The config.
        trainer: What makes the steps, for messages.
        honours: Which of ``OF_THE_STEP`` it honours.
        fuse: Whether fused kernels may be chosen.

    Returns:
        Each by its name; a single one has none.

    Raises:
        ConfigError: ``cfg`` does not suit the model, or an optimizer needs what the trainer does not do.
    """
    if not fuse:
        cfg = _unfused(cfg) if "optimizer" in cfg else {name: _unfused(own) for name, own in cfg.items()}
    optimizers = {name: member.optimizer for name, member in members(build_optim_wrapper(model, cfg)).items()}
    for name, optimizer in optimizers.items():
        for need in (need for need in OF_THE_STEP if need in needs_of(optimizer) and need not in honours):
            problem = f"{type(optimizer).__name__} {NEEDS[need]}. {trainer} does not do that"
            raise ConfigError(problem, f"{place_of(name)}.optimizer.type")
        for label, _ in (group[CLIP] for group in optimizer.param_groups if CLIP in group):
            problem = "the trainer clips the gradients itself, those of all parameters as one"
            raise ConfigError(problem, f"{place_of(name)}.paramwise_cfg.{label}.clip")
    return optimizers


def _unfused(cfg: Mapping[str, Any]) -> Mapping[str, Any]:
    optimizer = cfg["optimizer"]
    asked = not isinstance(optimizer, dict) or optimizer.keys() & {"fused", "foreach"}
    if asked or OPTIMIZERS.get(optimizer["type"]) not in FUSED:
        return cfg
    return {**cfg, "optimizer": {**optimizer, "fused": None}}


def bare(optimizer: Any) -> Any:
    """Return the optimizer inside those that accelerate, Fabric, Lightning or Opacus have put around it."""
    while inside := PREPARED_BY.get(prepared_by(optimizer)):
        optimizer = getattr(optimizer, inside)
    return optimizer.optimizer if isinstance(optimizer, BaseOptimWrapper) else optimizer
