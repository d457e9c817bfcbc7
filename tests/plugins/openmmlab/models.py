"""Small models whose parameters are called as those of OpenMMLab's."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(2)
        self.attn = nn.Linear(2, 2)
        self.relative_position_bias_table = nn.Parameter(torch.ones(3, 2))
        self.gamma = nn.Parameter(torch.ones(2))


class ConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.downsample_layers = nn.ModuleList(nn.Conv2d(2, 2, 1) for _ in range(4))
        self.stages = nn.ModuleList(nn.Sequential(*(Block() for _ in range(n))) for n in (1, 1, 7, 2))
        self.norm3 = nn.LayerNorm(2)


class VisionTransformer(nn.Module):
    def __init__(self, stack):
        super().__init__()
        self.cls_token = nn.Parameter(torch.ones(1, 1, 2))
        self.pos_embed = nn.Parameter(torch.ones(1, 3, 2))
        self.absolute_pos_embed = nn.Parameter(torch.ones(1, 3, 2))
        self.patch_embed = nn.Conv2d(3, 2, 2)
        self.add_module(stack, nn.ModuleList(Block() for _ in range(3)))
        self.ln1 = nn.LayerNorm(2)


class BEiT(VisionTransformer): ...


class MAE(VisionTransformer): ...


class MViT(VisionTransformer): ...


class ViT(VisionTransformer): ...


class ImplicitA(nn.Module):
    def __init__(self):
        super().__init__()
        self.implicit = nn.Parameter(torch.zeros(1, 2, 1, 1))


class Detector(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.neck = nn.Conv2d(2, 2, 1)
        self.head = nn.Linear(2, 2)


class Classifier(Detector):
    def get_layer_depth(self, name):
        """The input at 0, the three layers from 1 on, all else at 4 of 5."""
        parts = name.split(".")
        if parts[1] == "layers":
            return int(parts[2]) + 1, 5
        return (0 if parts[1] in ("patch_embed", "pos_embed", "cls_token") else 4), 5


def transformer(cls, stack="layers"):
    return lambda: Detector(cls(stack))


def convolutions():
    return nn.Sequential(
        nn.Conv2d(3, 2, 1),
        nn.BatchNorm2d(2),
        nn.Conv2d(2, 2, 1, bias=False),
        nn.GroupNorm(1, 2),
        nn.Sequential(nn.Conv3d(2, 2, 1), nn.ReLU()),
        nn.Linear(2, 2),
        nn.Linear(2, 4),
    )


def yolo():
    return nn.Sequential(
        nn.Conv2d(3, 2, 1, bias=False), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), ImplicitA(), nn.LayerNorm(2)
    )


class GAN(nn.Module):
    scales = ((4, 4), (8, 8), (16, 16))
    num_scales = 1

    def __init__(self):
        super().__init__()
        for name in ("generator", "discriminator"):
            member = nn.Module()
            member.blocks = nn.ModuleList(nn.Conv2d(1, 1, 1) for _ in range(2))
            self.add_module(name, member)


MODELS = {
    "ConvNeXt": lambda: Detector(ConvNeXt()),
    "BEiT": transformer(BEiT),
    "MAE": transformer(MAE),
    "MViT": transformer(MViT, "blocks"),
    "VisionTransformer": transformer(VisionTransformer, "blocks"),
    "ViTPose": transformer(ViT),
    "ViTDet": transformer(ViT, "blocks"),
    "Classifier": lambda: Classifier(VisionTransformer("layers")),
    "convolutions": convolutions,
    "yolo": yolo,
    "GAN": GAN,
}
