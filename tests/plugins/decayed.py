"""Wrappers whose learning rates shrink by layers."""

from torch import nn

from optimzoo import build_optim_wrapper


def by_layer(model, rate=0.5, **paramwise_cfg):
    cfg = dict(
        optimizer=dict(type="AdamW", lr=1.0, weight_decay=0.1),
        constructor="LayerDecayOptimWrapperConstructor",
        paramwise_cfg=dict(layer_decay_rate=rate, **paramwise_cfg),
    )
    return build_optim_wrapper(model, cfg)


def lrs(wrapper, key="lr"):
    return {name: group[key] for group in wrapper.optimizer.param_groups for name in group["param_names"]}


def stack(count=4):
    layers = nn.Sequential(*(nn.Sequential(nn.Linear(1, 1, bias=False)) for _ in range(count)))
    return nn.ModuleDict({"layers": layers, "head": nn.Linear(1, 1, bias=False)})
