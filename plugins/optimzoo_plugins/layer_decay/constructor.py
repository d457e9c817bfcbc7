"""The constructor behind the plugin ``layer_decay``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from optimzoo import DefaultOptimWrapperConstructor
from optimzoo.checks import number
from optimzoo.errors import ConfigError


class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Multiplies the learning rate by a factor once per nesting level, on top of the default's rules.

    ``lr = base_lr * decay_factor ** level``

    The model's own parameters are at level 0, those of ``model.layer`` at 1, those of ``model.layer.linear`` at 2.

    Args:
        optim_wrapper_cfg: As for the default constructor.
        paramwise_cfg: As for the default constructor, and ``decay_factor`` (default 0.5).

    Raises:
        ConfigError: ``decay_factor`` is not a number of at least 0.

    Example:
        >>> import torch
        >>> from optimzoo import build_optim_wrapper
        >>> model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Sequential(torch.nn.Linear(1, 1)))
        >>> wrapper = build_optim_wrapper(
        ...     model,
        ...     dict(
        ...         optimizer=dict(type="SGD", lr=0.01),
        ...         constructor="LayerDecayOptimWrapperConstructor",
        ...         paramwise_cfg=dict(decay_factor=0.5),
        ...     ),
        ... )
        >>> for group in wrapper.optimizer.param_groups:
        ...     print(group["param_names"], group["lr"])
        ['0.weight', '0.bias'] 0.005
        ['1.0.weight', '1.0.bias'] 0.0025
    """

    own_keys = ("decay_factor",)

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        paramwise_cfg = {"decay_factor": 0.5, **(paramwise_cfg or {})}
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        self.decay_factor = number(paramwise_cfg["decay_factor"], "paramwise_cfg.decay_factor", 0)
        if self.base_lr is None:
            raise ConfigError("layer decay multiplies lr, which is not set", "optimizer.lr")

    def param_options(
        self, module: nn.Module, prefix: str, name: str, param: nn.Parameter, is_dcn_module: bool
    ) -> dict[str, Any]:
        """Return the default's settings, with the learning rate of the parameter's level."""
        options = super().param_options(module, prefix, name, param, is_dcn_module)
        level = prefix.count(".") + 1 if prefix else 0
        options["lr"] = options.get("lr", self.base_lr) * self.decay_factor**level
        inherited = self._rules.get(id(param))
        self._rules[id(param)] = f"level {level}" + (f", {inherited}" if inherited else "")
        return options
