"""The settings that rules give to the parameters of small models."""

import torch
from torch import nn

from optimzoo import build_optim_wrapper

SGD = dict(type="SGD", lr=0.1, weight_decay=0.01, momentum=0.9)


def groups_of(model, paramwise_cfg, optimizer=SGD):
    wrapper = build_optim_wrapper(model, dict(optimizer=optimizer, paramwise_cfg=paramwise_cfg))
    return {
        name: {k: v for k, v in group.items() if k not in ("params", "param_names")}
        for group in wrapper.optimizer.param_groups
        for name in group["param_names"]
    }


def settings_of(model, paramwise_cfg, key):
    return {name: group[key] for name, group in groups_of(model, paramwise_cfg).items()}


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, groups=4)
        self.norm = nn.BatchNorm2d(4)
        self.scale = nn.Parameter(torch.ones(4))
        self.fc = nn.Linear(4, 2)


class LlamaRMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
