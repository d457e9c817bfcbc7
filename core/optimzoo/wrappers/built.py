"""What the log and the plugins are told of a wrapper that was just built."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from optimzoo.console import as_text
from optimzoo.errors import ConfigError, OptimzooWarning, PluginError
from optimzoo.groups.table import group_table
from optimzoo.names.zoo import plugins
from optimzoo.optimizers.heeded import heed
from optimzoo.optimizers.param_groups import CLIP
from optimzoo.optimizers.parts import each_of
from optimzoo.wrappers.base import BaseOptimWrapper
from optimzoo.wrappers.optim_wrapper_dict import OptimWrapperDict
from optimzoo.wrappers.state_checks import params_of

logger = logging.getLogger("optimzoo.groups")


def tell_of(wrapper: BaseOptimWrapper | OptimWrapperDict, model: nn.Module) -> None:
    """Warn of facts that matter, log the groups at the level INFO of ``optimzoo.groups``, call ``optimzoo_built``."""
    members = _members(wrapper)
    for cls in dict.fromkeys(type(each) for member in members for each in each_of(member.optimizer)):
        heed(cls, "checkpoint")
    for member in members:
        rules = [group[CLIP][0] for group in member.optimizer.param_groups if CLIP in group]
        if rules and not hasattr(member, "_clips_of_rules"):
            raise ConfigError(f"{type(member).__name__} clips nothing by rules", f"paramwise_cfg.{rules[0]}.clip")
    clipped = [m for m in members if "max_norm" in (getattr(m, "clip_grad_kwargs", None) or ())]
    for cls in dict.fromkeys(type(each) for member in clipped for each in each_of(member.optimizer)):
        heed(cls, "clip")
    if logger.isEnabledFor(logging.INFO):
        for member in members:
            logger.info("%s", as_text(group_table(member)))
    plugins.each("optimzoo_built", partial(_show, members, wrapper, model))


def tell_of_strangers(wrapper: BaseOptimWrapper | OptimWrapperDict, model: nn.Module) -> None:
    """Warn of optimizers that were built of other parameters than the model has, all of them."""
    stepped = {id(p) for member in _members(wrapper) for p in params_of(member.optimizer)}
    own = {*map(id, model.parameters())}
    if stepped and own and stepped.isdisjoint(own):
        warnings.warn(
            f"the optimizer steps none of the parameters that {type(model).__name__} has, which it does not train: "
            "build it of these. fully_shard, or a forward pass after it, puts others in their place",
            OptimzooWarning,
            stacklevel=3,
        )


def _members(wrapper: BaseOptimWrapper | OptimWrapperDict) -> list[BaseOptimWrapper]:
    members = [*wrapper.values()] if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return [member for member in members if isinstance(member, BaseOptimWrapper)]


def _show(members: list[Any], wrapper: Any, model: nn.Module, hook: Callable[..., None]) -> None:
    """Call the hook of one plugin; if it changes the groups, put them back and raise."""
    before = [(member.optimizer, _groups(member.optimizer)) for member in members]
    try:
        hook(optim_wrapper=wrapper, model=model)
    finally:
        for optimizer, groups in before:
            if _identities(_groups(optimizer)) != _identities(groups):
                for group, kept in groups:
                    group.clear()
                    group.update(kept)
                optimizer.param_groups[:] = [group for group, _ in groups]
                raise PluginError("it changed the parameter groups; they are put back: a hook may only look at them")


def _groups(optimizer: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(group, {**group, "params": [*group.get("params", ())]}) for group in optimizer.param_groups]


def _identities(groups: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[Any]:
    return [
        (id(group), {key: [*map(id, value)] if key == "params" else id(value) for key, value in kept.items()})
        for group, kept in groups
    ]
