"""OpenMMLab's constructors of several optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from optimzoo.constructors import MultiOptimWrapperConstructor
from optimzoo.constructors.multi import read_member
from optimzoo.errors import ConfigError, did_you_mean, near
from optimzoo.groups.modules import unwrap
from optimzoo.values import number
from optimzoo.wrappers import OptimWrapperDict


class SinGANOptimWrapperConstructor(MultiOptimWrapperConstructor):
    """mmagic's SinGAN: an optimizer for each block of each member, ``generator_0`` for one.

    Args:
        optim_wrapper_cfg: For each member its ``optim_wrapper`` config. The model has ``num_scales``, one less than
            the blocks.
        paramwise_cfg: Must be None; each member has its own.
    """

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """Build the wrappers for ``model``."""
        model = unwrap(model)
        blocks = range(_wanted(model, "num_scales", "the number of its blocks but one") + 1)
        each = self.members.items()
        built: dict[str, Any] = {
            f"{name}_{i}": member.build(model, f"{name}.blocks.{i}") for name, member in each for i in blocks
        }
        return OptimWrapperDict(**built)


class PGGANOptimWrapperConstructor(MultiOptimWrapperConstructor):
    """mmagic's PGGAN: for each member and each scale an optimizer of the whole member, ``generator_128``.

    Args:
        optim_wrapper_cfg: For each member its ``optim_wrapper`` config; ``lr_schedule``, for each member the learning
            rates of scales that have others; ``reset_optim_for_new_scale``, True by default, without which a member
            has one optimizer for all scales. The model has ``scales``, pairs of height and width.
        paramwise_cfg: Must be None; each member has its own.

    Raises:
        ConfigError: A value is wrong, or the model has no ``scales``.
    """

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        cfg = dict(optim_wrapper_cfg)
        self.reset = cfg.pop("reset_optim_for_new_scale", True)
        self.lr_schedule = cfg.pop("lr_schedule", None) or {}
        for key in (key for key, value in cfg.items() if not (isinstance(value, Mapping) and "optimizer" in value)):
            hint = did_you_mean(near(key, ("lr_schedule", "reset_optim_for_new_scale")))
            raise ConfigError(f"a member is described by a dict with the key 'optimizer'.{hint}", key)
        super().__init__(cfg, paramwise_cfg)
        if not isinstance(self.reset, bool):
            raise ConfigError(f"True or False is wanted, got {self.reset!r}", "reset_optim_for_new_scale")
        if not isinstance(self.lr_schedule, Mapping):
            raise ConfigError(f"a dict of members is wanted, got {self.lr_schedule!r}", "lr_schedule")
        for name, rates in self.lr_schedule.items():
            path = f"lr_schedule.{name}"
            if name not in cfg or not isinstance(rates, Mapping):
                raise ConfigError(f"a member's dict from scales to rates is wanted, got {rates!r}", path)
            for scale, rate in rates.items():
                number(rate, f"{path}.{scale}", 0)

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """Build the wrappers for ``model``."""
        model = unwrap(model)
        scales = [scale[0] for scale in _wanted(model, "scales", "pairs of height and width")]
        built: dict[str, Any] = {}
        for name, member in self.members.items():
            one = None if self.reset else member.build(model, name)
            rates = {str(scale): rate for scale, rate in self.lr_schedule.get(name, {}).items()}
            for scale in scales:
                cfg = self.optim_wrapper_cfg[name]
                optimizer = {**cfg["optimizer"], **({"lr": rates[str(scale)]} if str(scale) in rates else {})}
                of_scale = one or read_member(name, {**cfg, "optimizer": optimizer}).build(model, name)
                built[f"{name}_{scale}"] = of_scale
        return OptimWrapperDict(**built)


def _wanted(model: nn.Module, attribute: str, what: str) -> Any:
    if not hasattr(model, attribute):
        raise ConfigError(f"{type(model).__name__} has no attribute {attribute!r}, {what}", "constructor")
    return getattr(model, attribute)
