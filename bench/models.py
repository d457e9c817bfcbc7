"""Models whose parameters have the shapes of well-known ones; none is ever run forward but the smallest."""

from __future__ import annotations

import torch
from torch import nn


def transformer(layers: int = 48) -> nn.Module:
    """Return encoder layers and a norm: by default 578 tensors, 2.4 million parameters."""
    layer = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True)
    return nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(64), enable_nested_tensor=False)


def small_tensors() -> nn.Module:
    """Return 2,000 tensors, 20 million parameters."""
    return nn.ParameterList(nn.Parameter(torch.randn(96, 104) / 10) for _ in range(2000))


class ResNet50(nn.Module):
    """The 161 parameters of ResNet-50 (He et al., https://arxiv.org/abs/1512.03385), 25.6 million elements."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, bias=False), nn.BatchNorm2d(64)
        channels = 64
        for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], 1):
            layers = []
            for _ in range(blocks):
                layers.append(_bottleneck(channels, width))
                channels = 4 * width
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.fc = nn.Linear(channels, 1000)


def _bottleneck(channels: int, width: int) -> nn.Module:
    block = nn.Module()
    shapes = [(channels, width, 1), (width, width, 3), (width, 4 * width, 1)]
    if channels != 4 * width:
        shapes.append((channels, 4 * width, 1))
    for index, (inner, outer, kernel) in enumerate(shapes, 1):
        block.add_module(f"conv{index}", nn.Conv2d(inner, outer, kernel, bias=False))
        block.add_module(f"bn{index}", nn.BatchNorm2d(outer))
    return block


class ViTB(nn.Module):
    """The parameters of ViT-B/16 (Dosovitskiy et al., https://arxiv.org/abs/2010.11929), 86.6 million elements."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 768, 16)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 768))
        self.pos_embed = nn.Parameter(torch.zeros(1, 197, 768))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(768, 12, 3072, batch_first=True) for _ in range(12))
        self.norm = nn.LayerNorm(768)
        self.head = nn.Linear(768, 1000)


def many(tensors: int) -> nn.Module:
    """Return a model of that many tensors of one element."""
    return nn.Sequential(*(nn.Linear(1, 1) for _ in range(tensors // 2)))


def fill_grads(model: nn.Module) -> None:
    """Give every parameter a gradient."""
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)


def decayed_apart(model: nn.Module) -> list[list[nn.Parameter]]:
    """Return the parameters by hand in two lists: those that decay, and the norms and biases."""
    flat = [p for p in model.parameters() if p.ndim == 1]
    return [[p for p in model.parameters() if p.ndim != 1], flat]
