"""OpenMMLab's own: the constructors, optimizers and schedules that public configs name, without the frameworks.

Own code, from what the classes are documented to do; the numbers are those of mmdet 3.3.0, mmsegmentation 1.2.2,
mmpretrain 1.2.0, mmaction2 1.2.0, mmpose 1.3.2, mmyolo 0.6.0, mmagic 1.2.0 and mmrazor 1.0.0. Each is a name of the
scopes that have it too, such as ``mmpose.LayerDecayOptimWrapperConstructor``; a bare name means one thing.
"""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo

HERE = "optimzoo_plugins.openmmlab"
CONSTRUCTORS = {
    "LearningRateDecayOptimizerConstructor": (
        "decay:LearningRateDecayOptimizerConstructor",
        ("mmdet", "mmseg", "mmaction"),
        "Layer decay of ConvNeXt, BEiT, MAE, MViT and ViT, without weight decay for vectors and biases",
    ),
    "LayerDecayOptimizerConstructor": (
        "decay:LayerDecayOptimizerConstructor",
        ("mmdet", "mmseg"),
        "With layer_decay_rate, the layer decay of mmseg's BEiT; with decay_rate, of mmdet's ViTDet",
    ),
    "LayerDecayOptimWrapperConstructor": (
        "decay:LayerDecayOptimWrapperConstructor",
        ("mmpose",),
        "The layer decay of mmpose's ViTPose, without weight decay for vectors, biases and pos_embed",
    ),
    "LearningRateDecayOptimWrapperConstructor": (
        "decay:LearningRateDecayOptimWrapperConstructor",
        ("mmpretrain",),
        "Layer decay by the model's get_layer_depth, over multipliers of the weight decay",
    ),
    "TSMOptimWrapperConstructor": (
        "rules:TSMOptimWrapperConstructor",
        ("mmaction",),
        "Twice the lr for biases, with fc_lr5 5 and 10 times the lr for the last layer",
    ),
    "SwinOptimWrapperConstructor": (
        "rules:SwinOptimWrapperConstructor",
        ("mmaction",),
        "Each key of paramwise_cfg is a part of names; all that a name contains multiply",
    ),
    "YOLOv5OptimizerConstructor": (
        "rules:YOLOv5OptimizerConstructor",
        ("mmyolo",),
        "Weight decay, scaled to the batch, for the weights of all but batch norms",
    ),
    "YOLOv7OptimWrapperConstructor": (
        "rules:YOLOv7OptimWrapperConstructor",
        ("mmyolo",),
        "As YOLOv5OptimizerConstructor, and trains the implicit parameters without weight decay",
    ),
    "ForceDefaultOptimWrapperConstructor": (
        "rules:ForceDefaultOptimWrapperConstructor",
        ("mmseg", "mmpose"),
        "The default, where force_default_settings has the multipliers decide over custom_keys",
    ),
    "PGGANOptimWrapperConstructor": (
        "gans:PGGANOptimWrapperConstructor",
        ("mmagic",),
        "An optimizer for each member and scale of a progressively growing GAN",
    ),
    "SinGANOptimWrapperConstructor": (
        "gans:SinGANOptimWrapperConstructor",
        ("mmagic",),
        "An optimizer for each block of each member of a SinGAN",
    ),
}
"""Of each constructor its target here, the scopes that have it, and what it does."""
SCHEDULES = {
    "LinearLrInterval": ("mmagic", f"{HERE}.schedules:LinearLrInterval", "A line of the lr itself, in stairs"),
    "ReduceLR": ("mmagic", f"{HERE}.schedules:ReduceLR", "ReduceOnPlateauLR under mmagic's names"),
    "PolyLRRatio": ("mmseg", "optimzoo.schedules:PolyLR", "PolyLR, which has eta_min_ratio"),
    "CosineAnnealingWeightDecay": (
        "mmpretrain",
        f"{HERE}.schedules:CosineAnnealingWeightDecay",
        "Half a cosine of the weight decay, but for groups that have none",
    ),
    "SiamRPNExpLR": ("mmtrack", f"{HERE}.schedules:SiamRPNExpLR", "A geometric course between two factors of the lr"),
}


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register the constructors, the optimizers and the schedules."""
    for name, (target, scopes, about) in CONSTRUCTORS.items():
        aliases = [f"{scope}.{name}" for scope in scopes]
        bare = name != "LayerDecayOptimWrapperConstructor"  # which is optimzoo's own
        zoo.constructor(name, f"{HERE}.{target}", about=about, aliases=aliases, bare=bare)
    multi = "optimzoo.constructors:MultiOptimWrapperConstructor"
    zoo.constructor(
        "SeparateOptimWrapperConstructor",
        multi,
        about="MultiOptimWrapperConstructor under mmrazor's name",
        aliases=["mmrazor.SeparateOptimWrapperConstructor"],
    )
    zoo.optimizer(
        "LARS",
        f"{HERE}.optimizers:LARS",
        about="SGD with a trust ratio per tensor, off in groups with lars_exclude",
        paper="https://arxiv.org/abs/1708.03888",
        aliases=["mmpretrain.LARS"],
        bare=False,  # bitsandbytes', as in mmengine
        needs=["whole"],
        group_keys=["lars_exclude"],
        licence="MIT",
    )
    zoo.optimizer(
        "Lamb",
        f"{HERE}.optimizers:Lamb",
        about="Adam with a trust ratio per tensor, after a clip of all gradients to the norm max_grad_norm",
        paper="https://arxiv.org/abs/1904.00962",
        aliases=["mmpretrain.Lamb"],
        needs=["whole"],
        licence="MIT",
    )
    zoo.optimizer(
        "HybridAdam",
        "colossalai.nn.optimizer:HybridAdam",
        about="colossalai's Adam, on the CPU and on GPUs, as mmengine's ColossalAIStrategy has it",
        paper="https://arxiv.org/abs/1412.6980",
        aliases=["mmengine.HybridAdam"],
        needs=["whole"],
        hint="No extra has it: colossalai 0.5.0 wants torch 2.5.1 or older. AdamW makes the same updates",
        licence="Apache-2.0",
    )
    for name, (scope, target, about) in SCHEDULES.items():
        zoo.scheduler(name, target, about=about, aliases=[f"{scope}.{name}"])
