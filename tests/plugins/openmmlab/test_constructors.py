"""OpenMMLab's constructors give each parameter what the originals gave it.

``settings.json`` was written by running the classes of mmdet 3.3.0, mmsegmentation 1.2.2, mmpretrain 1.2.0, mmaction2
1.2.0, mmpose 1.3.2, mmyolo 0.6.0 and of mmdet's project ViTDet, with mmengine-lite 0.10.7, on the models beside it.
"""

import json
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

from optimzoo import OPTIM_WRAPPER_CONSTRUCTORS, build_optim_wrapper
from optimzoo.errors import ConfigError, OptimzooWarning

from .models import GAN, MODELS, Detector, convolutions, yolo

CASES = json.loads(Path(__file__).with_name("settings.json").read_text())
ADAMW = dict(type="AdamW", lr=0.1, weight_decay=0.5)
SGD = dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=0.5)


def build(model, constructor, paramwise_cfg=None, optimizer=ADAMW, **more):
    cfg = dict(optimizer=optimizer, constructor=constructor, paramwise_cfg=paramwise_cfg, **more)
    return build_optim_wrapper(MODELS[model]() if isinstance(model, str) else model, cfg)


def settings(wrapper):
    return {
        name: (group["lr"], group["weight_decay"])
        for group in wrapper.optimizer.param_groups
        for name in group["param_names"]
    }


@pytest.mark.filterwarnings("ignore:in no group")  # what YOLOv5's rules leave out
@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case['constructor']}" for i, case in enumerate(CASES)])
def test_every_parameter_has_the_settings_that_the_original_gave_it(case):
    wrapper = build(case["model"], case["constructor"], case["paramwise_cfg"], case["optimizer"])
    expected = {name: (lr, decay) for lr, decay, names in case["settings"] for name in names}
    assert settings(wrapper) == {name: pytest.approx(pair, rel=1e-12) for name, pair in expected.items()}
    assert len(wrapper.optimizer.param_groups) == len(case["settings"])  # equal ones are merged


def test_which_layer_a_parameter_is_in_is_told():
    wrapper = build("BEiT", "LayerDecayOptimizerConstructor", dict(num_layers=3, layer_decay_rate=0.5))
    assert wrapper.explain("backbone.layers.1.attn.bias").endswith("depth 2 of 4, no decay")


@pytest.mark.parametrize("name", ["TSMOptimWrapperConstructor", "YOLOv5OptimizerConstructor"])
def test_a_frozen_parameter_changes_nothing_for_others(name):
    model = convolutions()
    model[0].requires_grad_(False)
    found, all_trained = (settings(build(each, name, optimizer=SGD)) for each in (model, convolutions()))
    assert found == all_trained


class TestNames:
    @pytest.mark.parametrize("scope", ["mmdet", "mmseg", "mmaction"])
    def test_a_scope_and_the_bare_name_are_one_class(self, scope):
        name = "LearningRateDecayOptimizerConstructor"
        assert OPTIM_WRAPPER_CONSTRUCTORS.get(f"{scope}.{name}") is OPTIM_WRAPPER_CONSTRUCTORS.get(name)

    def test_the_bare_name_that_mmpose_shares_with_optimzoo_is_optimzoos(self):
        name = "LayerDecayOptimWrapperConstructor"
        assert OPTIM_WRAPPER_CONSTRUCTORS.entry(name).plugin == "layer_decay"
        assert OPTIM_WRAPPER_CONSTRUCTORS.entry(f"mmpose.{name}").plugin == "openmmlab"
        assert f"mmpose.{name}" in list(OPTIM_WRAPPER_CONSTRUCTORS)

    def test_keys_that_the_original_does_not_read_are_said_to_have_no_effect(self):
        cfg = dict(num_layers=3, layer_decay_rate=0.8, custom_keys={"norm": dict(decay_mult=0.0)}, bias_lr_mult=2.0)
        with pytest.warns(OptimzooWarning, match="does not read custom_keys, bias_lr_mult, in OpenMMLab neither"):
            wrapper = build("ViTPose", "mmpose.LayerDecayOptimWrapperConstructor", cfg)
        assert settings(wrapper)["head.bias"] == (0.1, 0.0)

    def test_a_multiplier_of_the_rate_in_mmpretrains_custom_keys_is_said_to_have_no_effect(self):
        cfg = dict(layer_decay_rate=0.5, custom_keys={"head": dict(lr_mult=10, decay_mult=0.0)})
        with pytest.warns(OptimzooWarning, match="does not read lr_mult"):
            wrapper = build("Classifier", "LearningRateDecayOptimWrapperConstructor", cfg)
        assert settings(wrapper)["head.weight"] == (0.1, 0.0)


@pytest.mark.parametrize(
    ("model", "name", "paramwise_cfg", "path", "message"),
    [
        ("BEiT", "LayerDecayOptimizerConstructor", None, "num_layers", "needs it"),
        ("BEiT", "LayerDecayOptimizerConstructor", dict(num_layers=12), "layer_decay_rate", "needs it"),
        ("BEiT", "LayerDecayOptimizerConstructor", dict(num_layers=1, layer_decay_rate=0.5), "num_layers", "layer 3"),
        ("BEiT", "LayerDecayOptimizerConstructor", dict(num_layers="12", layer_decay_rate=0.5), "num_layers", "whole"),
        (
            "BEiT",
            "LayerDecayOptimizerConstructor",
            dict(num_layers=12, layer_decay_rate=0.5, decay_rate=0.5),
            "layer_decay_rate",
            "not both",
        ),
        (
            "BEiT",
            "LearningRateDecayOptimizerConstructor",
            dict(num_layers=12, decay_rate=0.5, decay_type="stage_wise"),
            "decay_type",
            "for ConvNeXt, and the backbone is BEiT",
        ),
        (
            "BEiT",
            "LearningRateDecayOptimizerConstructor",
            dict(num_layers=12, decay_rat=0.5),
            "decay_rat",
            "Did you mean 'decay_rate'",
        ),
        ("convolutions", "TSMOptimWrapperConstructor", dict(fc_lr5="yes"), "fc_lr5", "True or False"),
        (
            "Classifier",
            "SwinOptimWrapperConstructor",
            dict(norm=dict(decay_multi=0.0)),
            "norm",
            "lr_mult or decay_mult",
        ),
        ("yolo", "YOLOv5OptimizerConstructor", dict(base_total_batch_size=0), "base_total_batch_size", "above 0"),
        (
            "Classifier",
            "ForceDefaultOptimWrapperConstructor",
            dict(force_default_settings=1),
            "force_default_settings",
            "True or False",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(model, name, paramwise_cfg, path, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(model, name, paramwise_cfg)
    assert f"optim_wrapper.paramwise_cfg.{path}" in str(caught.value)


@pytest.mark.parametrize(
    ("model", "name", "paramwise_cfg", "message"),
    [
        (
            nn.Linear(1, 1),
            "mmdet.LearningRateDecayOptimizerConstructor",
            dict(num_layers=12, decay_rate=0.5),
            "the model's backbone is missing",
        ),
        (
            Detector(convolutions()),
            "LearningRateDecayOptimizerConstructor",
            dict(num_layers=12, decay_rate=0.5),
            "the model's backbone is Sequential. LayerDecayOptimWrapperConstructor",
        ),
        (MODELS["ViTPose"](), "TSMOptimWrapperConstructor", None, "'backbone.cls_token' is in a ViT"),
        (nn.Linear(1, 1), "SinGANOptimWrapperConstructor", None, "num_scales"),
        (nn.Linear(1, 1), "PGGANOptimWrapperConstructor", None, "scales"),
    ],
)
def test_a_model_that_the_rules_are_not_for_is_named(model, name, paramwise_cfg, message):
    cfg = dict(optimizer=ADAMW, paramwise_cfg=paramwise_cfg) if "GAN" not in name else {"a": dict(optimizer=ADAMW)}
    with pytest.raises(ConfigError, match=message):
        build_optim_wrapper(model, dict(constructor=name, **cfg))


def test_a_parameter_that_yolos_rules_leave_out_is_told_of():
    model = yolo()
    with pytest.warns(OptimzooWarning, match=r"in no group, so that they never train: 1 parameters \(3.implicit\)"):
        wrapper = build(model, "YOLOv5OptimizerConstructor", optimizer=SGD)
    assert "3.implicit" not in settings(wrapper)


class TestSeveralOptimizers:
    MEMBERS: ClassVar = dict(
        generator=dict(optimizer=dict(type="Adam", lr=0.1)), discriminator=dict(optimizer=dict(type="Adam", lr=0.2))
    )

    def test_singan_has_one_for_each_block(self):
        wrappers = build_optim_wrapper(GAN(), dict(constructor="SinGANOptimWrapperConstructor", **self.MEMBERS))
        assert list(wrappers) == ["generator_0", "generator_1", "discriminator_0", "discriminator_1"]
        assert wrappers.get_lr() == {f"{name}.lr": [0.1 if "gen" in name else 0.2] for name in wrappers}
        (group,) = wrappers["discriminator_1"].optimizer.param_groups
        assert group["param_names"] == ["discriminator.blocks.1.weight", "discriminator.blocks.1.bias"]

    def test_pggan_has_one_for_each_scale_with_its_own_rate(self):
        rates = dict(generator={"8": 0.3}, discriminator={16: 0.4})
        cfg = dict(constructor="mmagic.PGGANOptimWrapperConstructor", lr_schedule=rates, **self.MEMBERS)
        wrappers = build_optim_wrapper(GAN(), cfg)
        lrs = {"4": 0.1, "8": 0.3, "16": 0.1}, {"4": 0.2, "8": 0.2, "16": 0.4}
        expected = {f"generator_{s}.lr": [lr] for s, lr in lrs[0].items()}
        assert wrappers.get_lr() == {**expected, **{f"discriminator_{s}.lr": [lr] for s, lr in lrs[1].items()}}
        assert all(len(w.optimizer.param_groups[0]["params"]) == 4 for w in wrappers.values())

    def test_pggan_keeps_one_for_all_scales_if_it_is_told_so(self):
        cfg = dict(constructor="PGGANOptimWrapperConstructor", reset_optim_for_new_scale=False, **self.MEMBERS)
        wrappers = build_optim_wrapper(GAN(), cfg)
        assert wrappers["generator_4"] is wrappers["generator_16"] is not wrappers["discriminator_4"]

    @pytest.mark.parametrize("rates", [dict(generater={"8": 0.3}), dict(generator={"8": "fast"}), 0.3])
    def test_pggans_rates_are_checked(self, rates):
        with pytest.raises(ConfigError, match=r"optim_wrapper\.lr_schedule"):
            build_optim_wrapper(
                GAN(), dict(constructor="PGGANOptimWrapperConstructor", lr_schedule=rates, **self.MEMBERS)
            )

    def test_a_misspelt_key_of_pggans_is_told(self):
        cfg = dict(constructor="PGGANOptimWrapperConstructor", lr_schedul=dict(generator={"8": 0.3}), **self.MEMBERS)
        with pytest.raises(ConfigError, match=r"optim_wrapper\.lr_schedul: .*Did you mean 'lr_schedule'"):
            build_optim_wrapper(GAN(), cfg)

    def test_one_scale_trains_without_touching_the_gradients_of_another(self):
        model = GAN()
        wrappers = build_optim_wrapper(model, dict(constructor="SinGANOptimWrapperConstructor", **self.MEMBERS))
        before = {name: parameter.clone() for name, parameter in model.named_parameters()}
        wrappers["generator_1"].update_params(model.generator.blocks[1](torch.ones(1, 1, 1, 1)).sum())
        changed = [name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])]
        assert changed == ["generator.blocks.1.weight", "generator.blocks.1.bias"]

    def test_separate_is_the_one_for_child_modules(self):
        wrappers = build_optim_wrapper(GAN(), dict(constructor="SeparateOptimWrapperConstructor", **self.MEMBERS))
        assert wrappers.get_lr() == {"generator.lr": [0.1], "discriminator.lr": [0.2]}
