"""What most of OpenMMLab's constructors are: a rule that gives each parameter of a model its settings."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from optimzoo import DefaultOptimWrapperConstructor
from optimzoo.errors import ConfigError, OptimzooWarning
from optimzoo.groups.modules import plain_name
from optimzoo.groups.paramwise import TABLE
from optimzoo.groups.rules import Place
from optimzoo.optimizers.param_groups import Group

Settings = tuple[str, dict[str, Any]]
"""What the rule is called for a parameter, and what it gives it."""
Rule = Callable[[Place], Settings | None]
"""None for a parameter that is in no group."""
OF_THE_DEFAULT = tuple(key.name for key in TABLE if key.setting or key.name in ("custom_keys", "all_biases"))


def without(cfg: Mapping[str, Any] | None, unread: tuple[str, ...], reader: str) -> dict[str, Any]:
    """Return ``cfg`` without keys that the class of this name does not read in OpenMMLab either, and warn of them."""
    given = [key for key in unread if key in (cfg or {})]
    if given:
        warnings.warn(
            f"paramwise_cfg: {reader} does not read {', '.join(given)}, in OpenMMLab neither: no effect",
            OptimzooWarning,
            stacklevel=4,
        )
    return {key: value for key, value in (cfg or {}).items() if key not in given}


class RuledConstructor(DefaultOptimWrapperConstructor):
    """Base of the constructors that have a rule of their own in place of the default's multipliers.

    Args:
        optim_wrapper_cfg: As for the default constructor.
        paramwise_cfg: The keys of the class, and ``rules``, ``merge_groups`` and ``strict``, as for the default.
    """

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        cfg = without(paramwise_cfg, OF_THE_DEFAULT, type(self).__name__)
        super().__init__(optim_wrapper_cfg, {"merge_groups": True, **cfg})

    def _validate_cfg(self) -> None:
        super()._validate_cfg()
        if self.base_lr is None:
            raise ConfigError(f"{type(self).__name__} multiplies lr, which is not set", "optimizer.lr")
        self.check()

    def check(self) -> None:
        """Check the keys of the class."""

    def rule(self, model: nn.Module) -> Rule:
        """Return the rule for the parameters of ``model``."""
        raise NotImplementedError

    def scaled(self, lr: float = 1, decay: float = 1) -> dict[str, Any]:
        """Return learning rate and weight decay multiplied."""
        return {"lr": self.base_lr * lr, **({} if self.base_wd is None else {"weight_decay": self.base_wd * decay})}

    def add_params(self, params: list[Group], module: nn.Module, prefix: str = "", is_dcn_module: Any = None) -> None:
        """Append a group for each parameter of ``module``, each once."""
        rule = self.rule(module)
        for name, parameter in module.named_parameters():
            at = Place(plain_name(name), parameter, (module.get_submodule(name.rpartition(".")[0]),))
            found = rule(at)
            if found is not None:
                self._rules[id(parameter)], settings = found
                params.append({"params": [parameter], **settings})
