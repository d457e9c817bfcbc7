"""OpenMMLab's constructors that tell parameters by the kinds of their modules or by parts of their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.conv import _ConvNd

from optimzoo import DefaultOptimWrapperConstructor, calls
from optimzoo.errors import ConfigError
from optimzoo.groups.modules import class_names
from optimzoo.groups.paramwise import KEYS, Paramwise
from optimzoo.groups.rules import MULTIPLIERS, Place, Row
from optimzoo.values import number
from optimzoo_plugins.openmmlab.ruled import Rule, RuledConstructor


class TSMOptimWrapperConstructor(RuledConstructor):
    """The groups of mmaction2's TSM: biases have twice the learning rate and no weight decay.

    Parameters of batch and group norms have no weight decay. With ``fc_lr5``, the weight of the last convolution or
    linear layer has 5 times the learning rate, and its bias 10 times.

    Args:
        optim_wrapper_cfg: As for the default constructor.
        paramwise_cfg: ``fc_lr5``, False by default.

    Raises:
        ConfigError: The model has parameters elsewhere than in convolutions, linear layers and those norms.
    """

    own_keys: ClassVar[tuple[str, ...]] = ("fc_lr5",)

    def check(self) -> None:
        """Check the switch."""
        if not isinstance(self.paramwise_cfg.get("fc_lr5", False), bool):
            raise ConfigError(f"True or False is wanted, got {self.paramwise_cfg['fc_lr5']!r}", "paramwise_cfg.fc_lr5")

    def rule(self, model: nn.Module) -> Rule:
        """Return the rule, which knows the parameters one by one."""
        weights, biases, norms = [], [], []
        for module in model.modules():
            own = list(module.parameters())
            if isinstance(module, (_ConvNd, nn.Linear)):
                weights.append(own[0])
                biases += own[1:]
            elif isinstance(module, (_BatchNorm, nn.GroupNorm)):
                norms += own
        kinds = {id(p): ("weight", 1, 1) for p in weights}
        kinds |= {id(p): ("bias", 2, 0) for p in biases} | {id(p): ("norm", 1, 0) for p in norms}
        if self.paramwise_cfg.get("fc_lr5"):
            kinds |= {id(p): ("weight of the last layer", 5, 1) for p in weights[-1:]}
            kinds |= {id(p): ("bias of the last layer", 10, 0) for p in biases[-1:]}

        def rule(at: Place) -> tuple[str, dict[str, Any]]:
            if id(at.parameter) not in kinds:
                raise ConfigError(
                    f"{at.name!r} is in a {type(at.modules[-1]).__name__}, and the rules of TSM are for convolutions, "
                    "linear layers, batch and group norms",
                    "constructor",
                )
            label, lr, decay = kinds[id(at.parameter)]
            return label, self.scaled(lr, decay)

        return rule


class SwinOptimWrapperConstructor(RuledConstructor):
    """The multipliers of mmaction2's Swin: of the keys that a parameter's name contains, all multiply.

    Args:
        optim_wrapper_cfg: As for the default constructor.
        paramwise_cfg: Parts of names, each with ``lr_mult`` and ``decay_mult``, 1 by default. As in mmaction2, every
            name begins with ``base.``.
    """

    own_keys: ClassVar[tuple[str, ...]] = ()

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        self.by_part = {key: value for key, value in (paramwise_cfg or {}).items() if key not in KEYS}
        super().__init__(optim_wrapper_cfg, {k: v for k, v in (paramwise_cfg or {}).items() if k not in self.by_part})

    def check(self) -> None:
        """Check that the multipliers are such."""
        for part, multipliers in self.by_part.items():
            path = f"paramwise_cfg.{part}"
            if not isinstance(multipliers, Mapping) or not multipliers.keys() <= MULTIPLIERS.keys():
                raise ConfigError(f"a dict with lr_mult or decay_mult is wanted, got {multipliers!r}", path)
            for key, value in multipliers.items():
                number(value, f"{path}.{key}", 0)

    def rule(self, model: nn.Module) -> Rule:
        """Return the rule."""

        def rule(at: Place) -> tuple[str, dict[str, Any]]:
            settings = self.scaled()
            met = [part for part in self.by_part if part in f"base.{at.name}"]
            for part in met:
                for key, value in self.by_part[part].items():
                    if MULTIPLIERS[key] in settings:
                        settings[MULTIPLIERS[key]] *= value
            return ", ".join(met), settings

        return rule


class YOLOv5OptimizerConstructor(RuledConstructor):
    """The groups of mmyolo's YOLOv5: weights, but for those of batch norms, have the weight decay, scaled to the batch.

    What is in a module under ``weight`` or ``bias`` is trained, nothing else. The weight decay is multiplied by the
    images of an update over ``base_total_batch_size``, where updates of fewer images are taken to be accumulated.

    Args:
        optim_wrapper_cfg: As for the default constructor; ``optimizer`` may have ``batch_size_per_gpu``, without which
            nothing is scaled.
        paramwise_cfg: ``base_total_batch_size``, 64 by default.
    """

    own_keys: ClassVar[tuple[str, ...]] = ("base_total_batch_size",)
    implicit: tuple[str, ...] = ()
    """Classes whose ``implicit`` is trained too."""

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        cfg, optimizer = dict(optim_wrapper_cfg), optim_wrapper_cfg.get("optimizer")
        self.batch_size = None
        if isinstance(optimizer, Mapping):
            self.batch_size = optimizer.get("batch_size_per_gpu")
            cfg["optimizer"] = {key: value for key, value in optimizer.items() if key != "batch_size_per_gpu"}
        super().__init__(cfg, {"base_total_batch_size": 64, **(paramwise_cfg or {})})

    def check(self) -> None:
        """Check the sizes of batches."""
        for value, path in (
            (self.paramwise_cfg["base_total_batch_size"], "paramwise_cfg.base_total_batch_size"),
            (1 if self.batch_size is None else self.batch_size, "optimizer.batch_size_per_gpu"),
        ):
            if number(value, path, 0) == 0:
                raise ConfigError("a number above 0 is wanted", path)

    @property
    def scale(self) -> float:
        """What the weight decay is multiplied by."""
        if self.batch_size is None:
            return 1.0
        base: float = self.paramwise_cfg["base_total_batch_size"]
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        total = self.batch_size * (torch.distributed.get_world_size() if distributed else 1)
        return float(total * max(round(base / total), 1) / base)

    def rule(self, model: nn.Module) -> Rule:
        """Return the rule."""
        default = calls.parameters(self._optimizer.cls).get("weight_decay")
        if default is None:
            raise ConfigError(f"{self._optimizer.cls.__name__} has no weight_decay to scale", "optimizer.type")
        decay = self._optimizer.given.get("weight_decay", 0) * self.scale

        def rule(at: Place) -> tuple[str, dict[str, Any]] | None:
            module, own = at.modules[-1], at.own_name
            if own == "weight" and not isinstance(module, _NormBase):
                return "weight", {"weight_decay": decay}
            if own in ("weight", "bias") or (own == "implicit" and not class_names(module).isdisjoint(self.implicit)):
                return f"{'norm' if own == 'weight' else own}, no decay", {"weight_decay": default.default}
            return None

        return rule


class YOLOv7OptimWrapperConstructor(YOLOv5OptimizerConstructor):
    """The groups of mmyolo's YOLOv7: those of YOLOv5, and ``ImplicitA`` and ``ImplicitM`` without weight decay.

    Args:
        optim_wrapper_cfg: As for ``YOLOv5OptimizerConstructor``.
        paramwise_cfg: As for ``YOLOv5OptimizerConstructor``.
    """

    own_keys: ClassVar[tuple[str, ...]] = YOLOv5OptimizerConstructor.own_keys
    implicit = ("ImplicitA", "ImplicitM")


class _Forced(Paramwise):
    """Rules whose multipliers decide over the custom keys."""

    def deciding(self, at: Place) -> list[Row]:
        rows = super().deciding(at)
        if not rows or rows[0] not in self.custom:
            return rows
        forced = replace(self, custom=()).deciding(at)
        over = {setting for row in forced for setting in row.multiplies}
        multiplies, sets = ({k: v for k, v in of.items() if k not in over} for of in (rows[0].multiplies, rows[0].sets))
        return [replace(rows[0], multiplies=multiplies, sets=sets), *forced]


class ForceDefaultOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """The default constructor of mmseg and mmpose, with one key more.

    Args:
        optim_wrapper_cfg: As for the default constructor.
        paramwise_cfg: As for the default constructor; with ``force_default_settings=True`` a parameter that meets a
            custom key has the multipliers of biases, norms and the like in place of the key's.
    """

    own_keys: ClassVar[tuple[str, ...]] = ("force_default_settings",)

    def _read_paramwise(self) -> Paramwise:
        read = super()._read_paramwise()
        forced = self.paramwise_cfg.get("force_default_settings", False)
        if not isinstance(forced, bool):
            raise ConfigError(f"True or False is wanted, got {forced!r}", "paramwise_cfg.force_default_settings")
        return _Forced(**vars(read)) if forced else read
