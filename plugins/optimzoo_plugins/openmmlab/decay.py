"""Learning rates that shrink layer by layer, as OpenMMLab's constructors have them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import nn

from optimzoo.errors import ConfigError
from optimzoo.groups.rules import Place
from optimzoo.values import number, one_of, whole_number
from optimzoo_plugins.layer_decay import constructor
from optimzoo_plugins.openmmlab.ruled import Rule, RuledConstructor, without

BLOCK = re.compile(r"backbone\.(?:layers|blocks)\.(\d+)")
STAGE = re.compile(r"backbone\.(stages|downsample_layers)\.(\d+)(?:\.(\d+))?")
TOKENS = ("backbone.cls_token", "backbone.mask_token", "backbone.pos_embed")
KNOWN = ("ConvNeXt", "BEiT", "MAE", "MViT", "VisionTransformer")
"""Parts of the names of the backbones whose layers are known."""

Depth = Callable[[str, int], int]
"""From a parameter's name, and the depth of what comes after the backbone, to the parameter's depth."""


def of_blocks(name: str, top: int) -> int:
    """Return the depth in a transformer: the input at 0, each block one deeper."""
    block = BLOCK.match(name)
    if block:
        return int(block[1]) + 1
    return 0 if name in TOKENS or name.startswith("backbone.patch_embed") else top


def of_vitdet(name: str, top: int) -> int:
    """Return the depth as ViTDet has it, for which whatever is called ``pos_embed`` is the input."""
    if name.startswith("backbone") and ("patch_embed" in name or "pos_embed" in name):
        return 0
    return of_blocks(name, top) if BLOCK.match(name) else top


def of_stages(name: str, top: int) -> int:
    """Return the depth in ConvNeXt by stages, where all that leads from one to the next is the input."""
    stage = STAGE.match(name)
    if stage is None:
        return 0 if name in TOKENS else top
    return int(stage[2]) + 1 if stage[1] == "stages" else 0


def of_convnext(name: str, top: int) -> int:
    """Return the depth in ConvNeXt by layers: three blocks of the long third stage are one."""
    stage = STAGE.match(name)
    if stage is None:
        return 0 if name in TOKENS else top
    number = int(stage[2])
    if number == 3:
        return top - 1
    if stage[1] == "downsample_layers":
        return number + bool(number)
    return number + 1 + (int(stage[3]) // 3 if number == 2 else 0)


class LearningRateDecayOptimizerConstructor(RuledConstructor):
    """Layer decay of mmdet, mmseg and mmaction2: ``lr = base_lr * decay_rate ** (num_layers + 1 - depth)``.

    The model has a ``backbone``: a ConvNeXt, BEiT, MAE, MViT or VisionTransformer, by the name of its class. Its input
    is at depth 0, its layers from 1 on, all after it at ``num_layers + 1``. Vectors and what is called ``bias`` have no
    weight decay.

    Args:
        optim_wrapper_cfg: As for the default constructor.
        paramwise_cfg: ``num_layers``; ``decay_rate``; ``decay_type``, ``"layer_wise"`` or, for ConvNeXt,
            ``"stage_wise"``.

    Raises:
        ConfigError: A value is wrong, or the backbone's layers are not known.
    """

    own_keys: ClassVar[tuple[str, ...]] = ("num_layers", "decay_rate", "decay_type")
    types = ("layer_wise", "layer_wise_vit", "stage_wise")

    @property
    def rate_key(self) -> str:
        """The key that holds the rate."""
        return "decay_rate"

    def check(self) -> None:
        """Check the keys, of which rate and number of layers are required."""
        for key in ("num_layers", self.rate_key):
            if self.paramwise_cfg.get(key) is None:
                raise ConfigError(f"{type(self).__name__} needs it", f"paramwise_cfg.{key}")
        whole_number(self.paramwise_cfg["num_layers"], "paramwise_cfg.num_layers", 1)
        number(self.paramwise_cfg[self.rate_key], f"paramwise_cfg.{self.rate_key}", 0)
        one_of(self.paramwise_cfg.get("decay_type", "layer_wise"), self.types, "paramwise_cfg.decay_type")

    def depths(self, backbone: str) -> Depth:
        """Return the depths in a backbone of the class of this name."""
        by_stages = self.paramwise_cfg.get("decay_type") == "stage_wise"
        if "ConvNeXt" in backbone:
            return of_stages if by_stages else of_convnext
        if by_stages:
            raise ConfigError(
                f"'stage_wise' is for ConvNeXt, and the backbone is {backbone}", "paramwise_cfg.decay_type"
            )
        if not any(part in backbone for part in KNOWN):
            raise ConfigError(
                f"{type(self).__name__} knows the layers of {', '.join(KNOWN)}, and the model's backbone is "
                f"{backbone or 'missing'}. LayerDecayOptimWrapperConstructor with layer_decay_rate finds others'",
                "constructor",
            )
        return of_blocks

    def is_undecayed(self, at: Place) -> bool:
        """Whether a parameter has no weight decay."""
        return at.parameter.ndim == 1 or at.name.endswith(".bias") or at.name in ("pos_embed", "cls_token")

    def rule(self, model: nn.Module) -> Rule:
        """Return the rule: the rate to the power of the depths that are left, and no decay for some."""
        backbone = getattr(model, "backbone", None)
        depth_of = self.depths("" if backbone is None else type(backbone).__name__)
        top, rate = self.paramwise_cfg["num_layers"] + 1, self.paramwise_cfg[self.rate_key]

        def rule(at: Place) -> tuple[str, dict[str, Any]]:
            depth, spared = depth_of(at.name, top), self.is_undecayed(at)
            if depth > top:
                raise ConfigError(f"{at.name!r} is in layer {depth}: there are more", "paramwise_cfg.num_layers")
            label = f"depth {depth} of {top}{', no decay' * spared}"
            return label, self.scaled(rate ** (top - depth), decay=0 if spared else 1)

        return rule


class LayerDecayOptimizerConstructor(LearningRateDecayOptimizerConstructor):
    """Layer decay of mmseg's BEiT, with ``layer_decay_rate``, or of mmdet's project ViTDet, with ``decay_rate``.

    BEiT's is that of ``LearningRateDecayOptimizerConstructor``. In ViTDet norms in the blocks and what is called
    ``pos_embed`` have no weight decay, and other vectors and biases do.

    Args:
        optim_wrapper_cfg: As for the default constructor.
        paramwise_cfg: ``num_layers``, and either rate.
    """

    own_keys: ClassVar[tuple[str, ...]] = (*LearningRateDecayOptimizerConstructor.own_keys, "layer_decay_rate")

    @property
    def rate_key(self) -> str:
        """The key that holds the rate, and tells whose class is meant."""
        return "decay_rate" if "decay_rate" in self.paramwise_cfg else "layer_decay_rate"

    def check(self) -> None:
        """Check the keys."""
        if "layer_decay_rate" in self.paramwise_cfg and self.rate_key == "decay_rate":
            raise ConfigError("either it or decay_rate is wanted, not both", "paramwise_cfg.layer_decay_rate")
        super().check()

    def depths(self, backbone: str) -> Depth:
        """Return the depths."""
        return super().depths(backbone) if self.rate_key == "layer_decay_rate" else of_vitdet

    def is_undecayed(self, at: Place) -> bool:
        """Whether a parameter has no weight decay."""
        if self.rate_key == "layer_decay_rate":
            return super().is_undecayed(at)
        return "pos_embed" in at.name or (at.name.startswith("backbone.blocks") and "norm" in at.name)


class LayerDecayOptimWrapperConstructor(LearningRateDecayOptimizerConstructor):
    """Layer decay of mmpose's ViTPose: vectors, biases and what is called ``pos_embed`` have no weight decay.

    Args:
        optim_wrapper_cfg: As for the default constructor.
        paramwise_cfg: ``num_layers`` and ``layer_decay_rate``.
    """

    own_keys: ClassVar[tuple[str, ...]] = ("num_layers", "layer_decay_rate")

    @property
    def rate_key(self) -> str:
        """The key that holds the rate."""
        return "layer_decay_rate"

    def depths(self, backbone: str) -> Depth:
        """Return the depths in a transformer."""
        return of_blocks

    def is_undecayed(self, at: Place) -> bool:
        """Whether a parameter has no weight decay."""
        return at.parameter.ndim == 1 or at.name.endswith(".bias") or "pos_embed" in at.name


class LearningRateDecayOptimWrapperConstructor(constructor.LayerDecayOptimWrapperConstructor):
    """Layer decay of mmpretrain: by the model's ``get_layer_depth``, or else by the layers that are found.

    Norms, biases, vectors and custom keys have multipliers of the weight decay, and none of the learning rate.

    Args:
        optim_wrapper_cfg: As for the default constructor.
        paramwise_cfg: ``layer_decay_rate``, 1 by default, ``norm_decay_mult``, ``bias_decay_mult``,
            ``flat_decay_mult``, and ``custom_keys`` with ``decay_mult``.
    """

    own_keys: ClassVar[tuple[str, ...]] = ("layer_decay_rate",)
    heeds_no_weight_decay = False

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        cfg = without(paramwise_cfg, ("bias_lr_mult", "dcn_offset_lr_mult", "dwconv_decay_mult"), type(self).__name__)
        custom = cfg.get("custom_keys")
        if isinstance(custom, Mapping) and all(isinstance(each, Mapping) for each in custom.values()):
            cfg["custom_keys"] = {key: without(each, ("lr_mult",), type(self).__name__) for key, each in custom.items()}
        super().__init__(optim_wrapper_cfg, {"layer_decay_rate": 1.0, **cfg})
