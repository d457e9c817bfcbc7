"""The kinds of module that parameter-wise rules speak of."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
DEFORMABLE = {"DeformConv2d", "ModulatedDeformConv2d"}


def is_norm(module: nn.Module) -> bool:
    """Whether ``module`` normalizes; RMS norms that model libraries define themselves are known by the class name."""
    return isinstance(module, NORMS) or type(module).__name__.endswith("RMSNorm")


def is_depthwise(module: nn.Module) -> bool:
    """Whether ``module`` is a convolution with one group per input channel."""
    return isinstance(module, CONVOLUTIONS) and module.in_channels == module.groups


def is_deformable(module: nn.Module) -> bool:
    """Whether ``module`` is a deformable convolution of mmcv or torchvision, neither of which is imported."""
    return any(cls.__name__ in DEFORMABLE for cls in type(module).__mro__)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside a wrapper such as DistributedDataParallel, whose only child is ``module``."""
    children = dict(model.named_children())
    if list(children) == ["module"] and not model._parameters:
        return children["module"]
    return model
