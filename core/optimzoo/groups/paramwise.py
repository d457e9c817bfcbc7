"""What is wrong with a ``paramwise_cfg``, as far as it can be told without a model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from optimzoo.errors import ConfigError, OptimzooWarning, did_you_mean, near
from optimzoo.groups.rules import rules_problems
from optimzoo.optimizers.described import DescribedOptimizer

MULTIPLIERS = (
    "bias_lr_mult",
    "bias_decay_mult",
    "norm_decay_mult",
    "flat_decay_mult",
    "dwconv_decay_mult",
    "dcn_offset_lr_mult",
)
SWITCHES = ("bypass_duplicate", "merge_groups", "strict")
KEYS = ("custom_keys", "rules", *MULTIPLIERS, *SWITCHES)


def paramwise_problems(cfg: Any, optimizer: DescribedOptimizer) -> Iterator[ConfigError]:
    """Yield what is wrong with the values of the default constructor's keys."""
    for key in (k for k in MULTIPLIERS if cfg.get(k) is not None):
        yield from optimizer.multiplier_problems(key, cfg[key], "paramwise_cfg")
    for key in (k for k in SWITCHES if not isinstance(cfg.get(k, True), bool)):
        yield ConfigError(f"true or false is wanted, got {cfg[key]!r}", f"paramwise_cfg.{key}")
    yield from rules_problems(cfg.get("rules", ()), optimizer)
    custom = cfg.get("custom_keys", {})
    if not isinstance(custom, Mapping):
        yield ConfigError(f"a dict of dicts is wanted, got {custom!r}", "paramwise_cfg.custom_keys")
        return
    for name, settings in custom.items():
        path = f"paramwise_cfg.custom_keys[{name!r}]"
        if not isinstance(name, str):
            yield ConfigError("a key is a part of parameters' names; put it in quotes", path)
        if not isinstance(settings, Mapping):
            yield ConfigError(f"a dict such as {{'lr_mult': 0.1}} is wanted, got {settings!r}", path)
            continue
        for key in settings:
            if key in ("lr_mult", "decay_mult"):
                yield from optimizer.multiplier_problems(key, settings[key], path)
            elif key not in optimizer.settings and near(key, ("lr_mult", "decay_mult")):
                hint = did_you_mean(near(key, ("lr_mult", "decay_mult")))
                message = f"{key!r} is no multiplier, so it is copied into the group as it is.{hint}"
                if cfg.get("strict"):
                    yield ConfigError(message, path)
                else:
                    warnings.warn(f"{path}: {message}", OptimzooWarning, stacklevel=5)
