"""Optimizer wrappers as public configs write them, each on a model of the right shape."""

import pytest
import torch
from torch import nn

from optimzoo import DefaultOptimWrapperConstructor, OptimWrapperDict, build_optim_wrapper
from optimzoo.errors import ConfigError, UnknownNameError


class ModulatedDeformConv2d(nn.Module):
    """Goes by the name of mmcv's class."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4, 1, 1))
        self.conv_offset = nn.Conv2d(4, 8, 1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(3, 2))
        self.fc = nn.Linear(4, 4)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict(
            {
                "patch_embed": nn.Conv2d(3, 4, 1),
                "layers": nn.Sequential(Block(), Block()),
                "dcn": ModulatedDeformConv2d(),
            }
        )
        self.backbone.absolute_pos_embed = nn.Parameter(torch.zeros(1, 2, 4))
        self.head = nn.Linear(4, 2)


ADAMW = dict(type="AdamW", lr=0.0001, betas=(0.9, 0.999), weight_decay=0.05)
SGD = dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.0001)


def groups_of(cfg, model=None):
    wrapper = build_optim_wrapper(model or Detector(), cfg)
    return wrapper, {name: group for group in wrapper.optimizer.param_groups for name in group["param_names"]}


@pytest.mark.parametrize(
    ("cfg", "wanted"),
    [
        (dict(type="OptimWrapper", optimizer=SGD), {"head.weight": dict(lr=0.02, momentum=0.9, weight_decay=0.0001)}),
        (dict(optimizer=dict(type="Adam", lr=1e-4, betas=(0, 0.99))), {"head.weight": dict(betas=(0.0, 0.99))}),
        pytest.param(
            dict(
                optimizer=ADAMW,
                paramwise_cfg=dict(
                    norm_decay_mult=0.0,
                    custom_keys={
                        "absolute_pos_embed": dict(decay_mult=0.0),
                        "relative_position_bias_table": dict(decay_mult=0.0),
                        "backbone": dict(lr_mult=0.1),
                    },
                ),
            ),
            {
                "backbone.absolute_pos_embed": dict(lr=0.0001, weight_decay=0.0),
                "backbone.layers.1.relative_position_bias_table": dict(lr=0.0001, weight_decay=0.0),
                "backbone.layers.0.norm.weight": dict(lr=0.1 * 0.0001, weight_decay=0.05),
                "head.weight": dict(lr=0.0001, weight_decay=0.05),
            },
            marks=pytest.mark.filterwarnings("ignore:.*a custom key decides, alone"),  # its norms do decay
        ),
        (
            dict(optimizer=SGD, paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0), clip_grad=None),
            {
                "head.bias": dict(lr=0.04, weight_decay=0.0),
                "backbone.layers.0.norm.bias": dict(lr=0.02, weight_decay=0.0),
            },
        ),
        (
            dict(optimizer=SGD, paramwise_cfg=dict(dcn_offset_lr_mult=0.1)),
            {"backbone.dcn.conv_offset.bias": dict(lr=0.02 * 0.1), "backbone.dcn.weight": dict(lr=0.02)},
        ),
        pytest.param(
            dict(optimizer=SGD, paramwise_cfg=dict(custom_keys={"norm": dict(decay_mult=0.0, lars_exclude=True)})),
            {"backbone.layers.0.norm.weight": dict(weight_decay=0.0, lars_exclude=True)},
            marks=pytest.mark.filterwarnings("ignore:.*'lars_exclude' is no multiplier"),
        ),
        (
            dict(
                optimizer=ADAMW,
                constructor="LayerDecayOptimWrapperConstructor",
                paramwise_cfg=dict(layer_decay_rate=0.5, flat_decay_mult=0.0),
            ),
            {
                "backbone.patch_embed.weight": dict(lr=0.0001 * 0.125, weight_decay=0.05),
                "backbone.layers.1.fc.bias": dict(lr=0.0001 * 0.5, weight_decay=0.0),
                "head.weight": dict(lr=0.0001),
            },
        ),
        (
            dict(
                optimizer=dict(type="Adafactor", lr=1e-5, weight_decay=1e-2, scale_parameter=False, relative_step=False)
            ),
            {"head.weight": dict(scale_parameter=False)},
        ),
        (dict(optimizer=SGD, accumulative_counts=4, clip_grad=dict(max_norm=35, norm_type=2)), {}),
        (dict(optimizer=SGD, clip_grad=dict(type="value", clip_value=0.2)), {}),
        (dict(type="AmpOptimWrapper", loss_scale="dynamic", dtype="bfloat16", optimizer=SGD), {}),
    ],
    ids=["SGD", "betas", "swin", "biases", "dcn", "lars", "layers", "Adafactor", "accumulation", "by-value", "AMP"],
)
def test_it_builds_gives_each_parameter_its_settings_and_trains(cfg, wanted):
    model = Detector()
    wrapper, groups = groups_of(cfg, model)
    assert groups.keys() == dict(model.named_parameters()).keys()
    for name, settings in wanted.items():
        assert {key: groups[name][key] for key in settings} == settings
    before = model.head.weight.clone()
    for _ in range(cfg.get("accumulative_counts", 1)):
        wrapper.update_params(sum(parameter.sum() for parameter in model.parameters()))
    assert not torch.equal(model.head.weight, before)


def test_a_shared_head_is_trained_once_with_bypass_duplicate():
    model = nn.ModuleDict({"one": nn.Linear(2, 2), "two": nn.Linear(2, 2)})
    model["two"].weight = model["one"].weight
    _, groups = groups_of(dict(optimizer=SGD, paramwise_cfg=dict(bypass_duplicate=True, bias_lr_mult=2.0)), model)
    assert list(groups) == ["one.weight", "one.bias", "two.bias"]


def test_a_generator_and_a_discriminator_have_an_optimizer_each():
    model = nn.ModuleDict({"generator": nn.Linear(2, 2), "discriminator": nn.Linear(2, 1)})
    cfg = dict(
        constructor="MultiOptimWrapperConstructor",
        generator=dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=0.0001, betas=(0.0, 0.9))),
        discriminator=dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=0.0004), accumulative_counts=2),
    )
    wrappers = build_optim_wrapper(model, cfg)
    assert isinstance(wrappers, OptimWrapperDict)
    assert wrappers.get_lr() == {"generator.lr": [0.0001], "discriminator.lr": [0.0004]}


@pytest.mark.parametrize(
    ("cfg", "path"),
    [
        (dict(optimizer=SGD, constructor="HeadOnlyOptimWrapperConstructor", paramwise_cfg=dict(lr5=1)), "constructor"),
        (dict(generator=dict(optimizer=SGD), constructor="GrowingOptimWrapperConstructor"), "constructor"),
        (dict(optimizer=dict(type="LambOfTheirs", lr=0.01)), "optimizer.type"),
        (dict(type="DeepSpeedOptimWrapper", optimizer=SGD), "type"),
    ],
)
def test_what_belongs_to_another_library_is_an_unknown_name_with_its_place(cfg, path):
    with pytest.raises(UnknownNameError) as caught:
        build_optim_wrapper(Detector(), cfg)
    assert caught.value.path == f"optim_wrapper.{path}"


@pytest.mark.parametrize("key", ["paramwise_cfg", "constructor"])
def test_a_built_optimizer_takes_no_rules(key):
    model = nn.Linear(1, 1)
    said = dict(paramwise_cfg=dict(bias_lr_mult=2.0), constructor="DefaultOptimWrapperConstructor")[key]
    cfg = {"optimizer": torch.optim.SGD(model.parameters(), lr=0.1), key: said}
    with pytest.raises(ConfigError, match=f"optim_wrapper.{key}: a built optimizer has its groups"):
        build_optim_wrapper(model, cfg)


def test_a_constructor_of_the_temporal_shift_kind_makes_groups_of_its_own():
    class ByKind(DefaultOptimWrapperConstructor):
        """Collects parameters by kind into a few groups, some of them empty, as video models do."""

        def add_params(self, params, model, **kwargs):
            kinds = {"convolutions": [], "linear": [], "norms": [], "nothing": []}
            for module in model.modules():
                kind = {nn.Conv2d: "convolutions", nn.Linear: "linear"}.get(type(module), "norms")
                kinds[kind].extend(module.parameters(recurse=False))
            for kind, members in kinds.items():
                factor = 5 if self.paramwise_cfg["fc_lr5"] and kind == "linear" else 1
                params.append({"params": members, "lr": self.base_lr * factor, "weight_decay": self.base_wd * factor})

    wrapper, groups = groups_of(dict(optimizer=SGD, constructor=ByKind, paramwise_cfg=dict(fc_lr5=True)))
    assert (groups["head.bias"]["lr"], groups["backbone.patch_embed.bias"]["lr"]) == (0.1, 0.02)
    assert len(wrapper.optimizer.param_groups) == 2


def test_a_transformer_of_578_tensors_has_two_groups():
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norms = nn.ModuleList(nn.LayerNorm(2) for _ in range(2))
            self.linears = nn.ModuleList(nn.Linear(2, 2) for _ in range(10))

    model = nn.ModuleDict({"layers": nn.ModuleList(Layer() for _ in range(24)), "head": nn.Linear(2, 2)})
    assert len(list(model.parameters())) == 578
    cfg = dict(optimizer=ADAMW, paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0))
    wrapper, _ = groups_of(cfg, model)
    assert [(len(g["params"]), g["weight_decay"], g["fused"]) for g in wrapper.optimizer.param_groups] == [
        (337, 0.0, True),
        (241, 0.05, True),
    ]
