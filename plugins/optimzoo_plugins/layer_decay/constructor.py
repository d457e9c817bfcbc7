"""The constructor behind the plugin ``layer_decay``."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import nn

from optimzoo import DefaultOptimWrapperConstructor
from optimzoo.errors import ConfigError, OptimzooWarning, shown
from optimzoo.groups.modules import plain_name
from optimzoo.names.entry import import_dotted
from optimzoo.optimizers.param_groups import Group
from optimzoo.values import number, whole_number
from optimzoo_plugins.layer_decay.depth import GetDepth, checked, depth_function, undecayed

OF_DEPTHS = ("num_layers", "layer_depth")


class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Makes the learning rate smaller the deeper a parameter is, on top of the default's rules.

    With ``layer_decay_rate``, by the layers of a network: ``lr = base_lr * layer_decay_rate ** (top - depth)``. The
    input (patch, token and position embeddings) is at depth 0, the layers follow from 1 on, and what comes after them
    (the last norm, the head) is at the top and has ``base_lr``.

    With ``decay_factor``, by nesting: ``lr = base_lr * decay_factor ** level``. The model's own parameters are at level
    0, those of ``model.layer`` at 1, those of ``model.layer.linear`` at 2.

    Args:
        optim_wrapper_cfg: As for the default constructor.
        paramwise_cfg: As for the default constructor, and ``decay_factor`` (0.5 unless there is a
            ``layer_decay_rate``), or ``layer_decay_rate`` with one of these, or with none where the model has a method
            ``get_layer_depth`` or, as timm's, ``group_matcher``, or its layers are a list called ``layers``,
            ``blocks``, ``stages``, ``layer1`` or the like. What the model's ``no_weight_decay`` names has none.

            - ``num_layers``: Depths between the input and the head, over which the layers found are spread evenly.
            - ``layer_depth``: A function, or ``"package.module:function"``, that takes the name of a parameter and
              returns its depth and the number of depths, as ``get_layer_depth`` does.

    Raises:
        ConfigError: A value is wrong, or the depths are not known.

    Examples:
        >>> import torch
        >>> from optimzoo import build_optim_wrapper
        >>> model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(2, 2), "layers": torch.nn.Sequential()})
        >>> model["layers"].extend([torch.nn.Linear(2, 2, bias=False) for _ in range(2)])
        Sequential(
          (0): Linear(in_features=2, out_features=2, bias=False)
          (1): Linear(in_features=2, out_features=2, bias=False)
        )
        >>> model["head"] = torch.nn.Linear(2, 1)
        >>> wrapper = build_optim_wrapper(
        ...     model,
        ...     dict(
        ...         optimizer=dict(type="SGD", lr=1.0),
        ...         constructor="LayerDecayOptimWrapperConstructor",
        ...         paramwise_cfg=dict(layer_decay_rate=0.5),
        ...     ),
        ... )
        >>> for group in wrapper.optimizer.param_groups:
        ...     print(group["param_names"], group["lr"])
        ['embed.weight'] 0.125
        ['layers.0.weight'] 0.25
        ['layers.1.weight'] 0.5
        ['head.weight', 'head.bias'] 1.0
    """

    own_keys: ClassVar[tuple[str, ...]] = ("decay_factor", "layer_decay_rate", *OF_DEPTHS)
    heeds_no_weight_decay = True
    """Whether what the model's ``no_weight_decay`` names has none."""

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        if not isinstance(paramwise_cfg, (Mapping, type(None))):
            raise ConfigError(f"a dict is wanted, got {shown(paramwise_cfg)}", "paramwise_cfg")
        cfg = {"decay_factor": 0.5} if "layer_decay_rate" not in (paramwise_cfg or {}) else {}
        super().__init__(optim_wrapper_cfg, {**cfg, **(paramwise_cfg or {})})
        self._kind = "decay_factor" if cfg else "layer_decay_rate"
        self.decay_factor = number(self.paramwise_cfg[self._kind], f"paramwise_cfg.{self._kind}", 0)
        self._depth_of: GetDepth | None = None
        self._is_undecayed: Callable[[str], bool] = lambda name: False
        if self.base_lr is None:
            raise ConfigError("layer decay multiplies lr, which is not set", "optimizer.lr")
        self._check_keys_of_depths(self.paramwise_cfg)

    def _check_keys_of_depths(self, cfg: Mapping[str, Any]) -> None:
        for key in (k for k in OF_DEPTHS if k in cfg and self._kind == "decay_factor"):
            raise ConfigError("it belongs to layer_decay_rate, which is not set", f"paramwise_cfg.{key}")
        if "decay_factor" in cfg and self._kind == "layer_decay_rate":
            raise ConfigError("either it or layer_decay_rate is wanted, not both", "paramwise_cfg.decay_factor")
        if all(key in cfg for key in OF_DEPTHS):
            raise ConfigError("either num_layers or layer_depth is wanted, not both", "paramwise_cfg.num_layers")
        if "num_layers" in cfg:
            whole_number(cfg["num_layers"], "paramwise_cfg.num_layers", 1)
        if "layer_depth" in cfg:
            path = "paramwise_cfg.layer_depth"
            given = cfg["layer_depth"]
            self._depth_of = import_dotted(given, path, "function") if isinstance(given, str) else given
            if not inspect.isroutine(getattr(self._depth_of, "func", self._depth_of)):  # a partial call has a func
                raise ConfigError(f"a function of a parameter's name is wanted, got {shown(given)}", path)

    def param_groups(self, model: nn.Module) -> list[Group]:
        """Return the groups of ``model``, whose depths are looked up first."""
        if self._kind == "layer_decay_rate" and self.heeds_no_weight_decay:
            self._is_undecayed = undecayed(model)
        if self._kind == "layer_decay_rate" and "layer_depth" not in self.paramwise_cfg:
            try:
                self._depth_of = depth_function(model, self.paramwise_cfg.get("num_layers"))
                self._warn_of_mmpose(model)
            except ConfigError as error:
                raise error.under("paramwise_cfg.layer_decay_rate") from error.__cause__
        return super().param_groups(model)

    def _warn_of_mmpose(self, model: nn.Module) -> None:
        """Warn where ``num_layers`` is the number of layers found: it then does nothing here, and mmpose wants it."""
        given = self.paramwise_cfg.get("num_layers")
        if (
            given is None
            or depth_function(model)(plain_name(next(iter(dict(model.named_parameters())))))[1] != given + 2
        ):
            return
        warnings.warn(
            f"paramwise_cfg.num_layers: {given} layers are found, so it does nothing. If this is a config for mmpose's "
            "class of this name, which keeps vectors, biases and pos_embed from the weight decay, that one is "
            "mmpose.LayerDecayOptimWrapperConstructor here",
            OptimzooWarning,
            stacklevel=4,
        )

    def param_options(
        self, module: nn.Module, prefix: str, name: str, param: nn.Parameter, is_dcn_module: bool
    ) -> dict[str, Any]:
        """Return the default's settings, with the learning rate of the parameter's depth."""
        options = super().param_options(module, prefix, name, param, is_dcn_module)
        full_name = f"{prefix}.{name}" if prefix else name
        rules = [self._rules[id(param)]] if id(param) in self._rules else []
        if self.base_wd and "weight_decay" not in options and self._is_undecayed(full_name):
            options["weight_decay"] = 0.0
            rules.append("no_weight_decay")
        if self._depth_of is None:
            steps = prefix.count(".") + 1 if prefix else 0
            rule = f"level {steps}"
        else:
            depth, count = checked(self._depth_of(full_name), full_name, "paramwise_cfg.layer_depth")
            steps = count - 1 - depth
            rule = f"depth {depth} of {count - 1}"
        options["lr"] = options.get("lr", self.base_lr) * self.decay_factor**steps
        self._rules[id(param)] = ", ".join((rule, *rules))
        return options
