"""The kinds of module that parameter-wise rules speak of."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from optimzoo.groups.norms import is_norm

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
DEFORMABLE = {"DeformConv2d", "ModulatedDeformConv2d"}
AROUND = ("_orig_mod", "_forward_module", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
"""What torch.compile, Fabric, and torch's activation checkpoints and FSDP call the module that they go around."""
WRAPPERS = {
    "DistributedDataParallel",
    "DataParallel",
    "FullyShardedDataParallel",
    "AveragedModel",
    "BaseAveragedModel",
}
"""Classes, by name, whose objects hold the model as ``module``; the last is the base of mmengine's averages."""


def class_names(module: nn.Module) -> frozenset[str]:
    """Return the names of the module's class and of its bases."""
    cls: Any = type(module)
    return _names(cls)


@functools.lru_cache(maxsize=512)
def _names(cls: Any) -> frozenset[str]:
    return frozenset(base.__name__ for base in cls.__mro__)


def is_depthwise(module: nn.Module) -> bool:
    """Whether ``module`` is a convolution with one group per input channel."""
    return isinstance(module, CONVOLUTIONS) and module.in_channels == module.groups


def is_deformable(module: nn.Module) -> bool:
    """Whether ``module`` is a deformable convolution of mmcv or torchvision, neither of which is imported."""
    return not DEFORMABLE.isdisjoint(class_names(module))


KINDS: dict[str, Callable[[nn.Module], bool]] = {
    "norm": is_norm,
    "conv": lambda module: isinstance(module, _ConvNd),
    "dwconv": is_depthwise,
    "linear": lambda module: isinstance(module, nn.Linear),
    "embedding": lambda module: isinstance(module, (nn.Embedding, nn.EmbeddingBag)),
    "dcn": is_deformable,
}
"""The kinds by the names that rules give them."""


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside wrappers: those of parallel training and averaging, mmengine's, torch.compile, Fabric."""
    while True:
        names = class_names(model)
        if not names.isdisjoint(WRAPPERS):
            model = model.get_submodule("module")
        elif "OptimizedModule" in names:
            model = model.get_submodule("_orig_mod")
        elif "_FabricModule" in names:  # Fabric's, which holds the model twice; FSDP changes the one inside
            inside = model.get_submodule("_forward_module")
            sharded = "FullyShardedDataParallel" in class_names(inside)
            model = inside if sharded else model.get_submodule("_original_module")
        else:
            return model


def share_out(model: nn.Module) -> None:
    """Give back what FSDP2 has gathered for a forward pass, such as an evaluation, and has not given back since.

    The parameters of a module that is gathered are others than those to train: to step them trains nothing.
    """
    for module in model.modules():
        if "FSDPModule" in class_names(module):
            module.reshard()  # type: ignore[operator]


def plain_name(name: str) -> str:
    """Return the name that a parameter has without what others put around modules."""
    return ".".join(part for part in name.split(".") if part not in AROUND)
