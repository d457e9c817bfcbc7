import warnings
from dataclasses import replace

import pytest
import torch
from tests.core.grouping import SGD, Block, groups_of, settings_of
from torch import nn
from torch.optim.swa_utils import AveragedModel

from optimzoo import DefaultOptimWrapperConstructor, build_optim_wrapper, build_optimizer
from optimzoo.errors import ConfigError, OptimzooWarning
from optimzoo.groups.paramwise import Paramwise


class BaseAveragedModel(nn.Module):
    """Goes by the name of mmengine's class."""

    def __init__(self, model):
        super().__init__()
        self.module = model
        self.register_buffer("steps", torch.tensor(0))


class DeformConv2d(nn.Module):
    """Goes by the name of mmcv's and torchvision's class."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4, 3, 3))
        self.conv_offset = nn.Conv2d(4, 18, 3)


@pytest.mark.parametrize(
    ("rule", "key", "touched"),
    [
        (dict(bias_lr_mult=2.0), "lr", {"conv.bias": 0.2, "fc.bias": 0.2}),
        (dict(bias_decay_mult=0.0), "weight_decay", {"conv.bias": 0.0, "norm.bias": 0.0, "fc.bias": 0.0}),
        (dict(norm_decay_mult=0.0), "weight_decay", {"norm.weight": 0.0, "norm.bias": 0.0}),
        (dict(dwconv_decay_mult=0.5), "weight_decay", {"conv.weight": 0.005, "conv.bias": 0.005}),
        (
            dict(flat_decay_mult=0.0),
            "weight_decay",
            {"conv.bias": 0.0, "norm.weight": 0.0, "norm.bias": 0.0, "scale": 0.0, "fc.bias": 0.0},
        ),
        (dict(norm_decay_mult=0.0, bias_decay_mult=3.0), "weight_decay", {
            "norm.weight": 0.0, "norm.bias": 0.0, "conv.bias": 0.03, "fc.bias": 0.03,
        }),
        (dict(custom_keys={"fc": dict(lr_mult=0.1)}), "lr", {"fc.weight": 0.01, "fc.bias": 0.01}),
        (dict(custom_keys={"fc": dict(), "fc.bias": dict(lr_mult=5.0)}), "lr", {"fc.bias": 0.5}),
        (dict(custom_keys={"fc": dict()}, bias_lr_mult=2.0), "lr", {"conv.bias": 0.2}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)  # fmt: skip
def test_a_rule_touches_the_parameters_it_speaks_of_and_no_others(rule, key, touched):
    untouched = dict.fromkeys(settings_of(Block(), {"bypass_duplicate": False}, key), SGD[key])
    assert settings_of(Block(), rule, key) == pytest.approx({**untouched, **touched})


@pytest.mark.parametrize("conv", [nn.Conv1d(4, 4, 3, groups=4), nn.Conv3d(4, 8, 3, groups=4)])
def test_depthwise_convolutions_have_any_number_of_dimensions(conv):
    found = settings_of(nn.Sequential(conv, nn.Conv2d(4, 4, 3)), dict(dwconv_decay_mult=0.0), "weight_decay")
    assert found == {"0.weight": 0.0, "0.bias": 0.0, "1.weight": 0.01, "1.bias": 0.01}


def test_the_offset_layer_of_a_deformable_convolution_has_a_rule_of_its_own():
    model = nn.Sequential(DeformConv2d(), nn.Linear(2, 2))
    assert settings_of(model, dict(dcn_offset_lr_mult=0.1, bias_lr_mult=2.0), "lr") == pytest.approx(
        {"0.weight": 0.1, "0.conv_offset.weight": 0.01, "0.conv_offset.bias": 0.01, "1.weight": 0.1, "1.bias": 0.2}
    )


def test_other_entries_of_a_custom_key_reach_the_group():
    with pytest.warns(
        OptimzooWarning, match=r"custom_keys\['norm'\]: 'lars_exclude' is no multiplier and no argument of"
    ):
        found = groups_of(Block(), dict(custom_keys={"norm": dict(decay_mult=0.0, lars_exclude=True)}))
    assert found["norm.weight"]["lars_exclude"] is True
    assert "lars_exclude" not in found["fc.weight"]
    assert "decay_mult" not in found["norm.weight"]


class TestMerging:
    def test_equal_settings_make_one_group_in_the_order_of_the_model(self):
        layers = [nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(12)]
        wrapper = build_optim_wrapper(
            nn.Sequential(*layers), dict(optimizer=SGD, paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0))
        )
        first, second = wrapper.optimizer.param_groups
        assert first["param_names"] == [f"{i}.0.weight" for i in range(12)]
        assert second["param_names"][:3] == ["0.0.bias", "0.1.weight", "0.1.bias"]

    def test_settings_equal_to_the_optimizers_own_make_no_group(self):
        wrapper = build_optim_wrapper(
            Block(), dict(optimizer=SGD, paramwise_cfg=dict(custom_keys={"fc": dict(lr_mult=1.0)}))
        )
        assert len(wrapper.optimizer.param_groups) == 1
        assert wrapper.base_param_settings is None

    def test_it_can_be_turned_off(self):
        wrapper = build_optim_wrapper(Block(), dict(optimizer=SGD, paramwise_cfg=dict(merge_groups=False)))
        assert [len(group["params"]) for group in wrapper.optimizer.param_groups] == [1] * 7

    def test_true_and_one_are_different_settings(self):
        custom = {"conv": dict(flag=True), "norm": dict(flag=1)}
        own = type("Own", (torch.optim.SGD,), {})  # nobody knows what it reads in its groups
        wrapper = build_optim_wrapper(
            Block(), dict(optimizer={**SGD, "type": own}, paramwise_cfg=dict(custom_keys=custom))
        )
        assert len(wrapper.optimizer.param_groups) == 3

    def test_each_parameter_knows_the_rule_that_decided_it(self):
        wrapper = build_optim_wrapper(
            Block(), dict(optimizer=SGD, paramwise_cfg=dict(norm_decay_mult=0, custom_keys={"fc": dict(lr_mult=2.0)}))
        )
        assert wrapper.param_rules == {
            "norm.weight": "norm_decay_mult",
            "norm.bias": "norm_decay_mult",
            "fc.weight": "custom_keys['fc']",
            "fc.bias": "custom_keys['fc']",
        }


class TestParametersWithAHistory:
    def tied(self):
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        model[1].weight = model[0].weight
        return model

    def test_a_shared_parameter_is_an_error_that_names_its_places_and_the_cure(self):
        with pytest.raises(ConfigError, match=r"'0\.weight' is shared: it is also '1\.weight'.*bypass_duplicate=True"):
            build_optim_wrapper(self.tied(), dict(optimizer=SGD, paramwise_cfg=dict(bias_lr_mult=2.0)))

    @pytest.mark.parametrize("paramwise_cfg", [None, dict(bypass_duplicate=True)])
    def test_a_shared_parameter_is_trained_once_without_rules_or_when_asked_to(self, paramwise_cfg):
        wrapper = build_optim_wrapper(self.tied(), dict(optimizer=SGD, paramwise_cfg=paramwise_cfg))
        assert wrapper.optimizer.param_groups[0]["param_names"] == ["0.weight", "0.bias", "1.bias"]

    @pytest.mark.parametrize("optimizer", [SGD, dict(type="AdamW", lr=0.1), dict(type="Lion", lr=0.1)], ids=str)
    @pytest.mark.parametrize(
        "paramwise_cfg", [None, dict(bias_lr_mult=2.0), dict(custom_keys={"1": dict(lr_mult=0.5)})]
    )
    def test_a_frozen_parameter_is_in_the_groups_and_trains_once_it_is_not_frozen(
        self, paramwise_cfg, optimizer, caplog
    ):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        model[0].requires_grad_(False)
        with caplog.at_level("INFO", "optimzoo"):
            wrapper = build_optim_wrapper(model, dict(optimizer=optimizer, paramwise_cfg=paramwise_cfg))
        assert "train once they are not: 2 parameters (0.weight, 0.bias)" in caplog.text
        before = model[0].weight.clone()
        wrapper.update_params(model(torch.ones(3, 2)).sum())
        assert torch.equal(before, model[0].weight)
        model[0].requires_grad_(True)
        wrapper.update_params(model(torch.ones(3, 2)).sum())
        assert not torch.equal(before, model[0].weight)

    def test_parameters_without_a_shape_are_an_error_that_says_what_gives_them_one(self):
        model = nn.Sequential(nn.LazyLinear(4), nn.LazyConv1d(4, 3))
        cfg = dict(optimizer=dict(type="Lion", lr=0.1, weight_decay=0.1), paramwise_cfg=dict(flat_decay_mult=0.0))
        with pytest.raises(ConfigError, match=r"4 parameters .*\(0\.weight, 0\.bias, 1\.weight and others\): call it"):
            build_optim_wrapper(model, cfg)

    def test_parameters_that_a_subclass_leaves_out_are_told(self, caplog):
        class HeadOnly(DefaultOptimWrapperConstructor):
            def add_params(self, params, module, prefix="", is_dcn_module=None):
                params += [{"params": [param]} for param in module.fc.parameters() if param.requires_grad]

        model = Block()
        model.fc.bias.requires_grad_(False)
        with (
            caplog.at_level("INFO", "optimzoo"),
            pytest.warns(OptimzooWarning, match=r"never train: 5 .*\(scale, conv"),
        ):
            HeadOnly(dict(optimizer=SGD), dict(norm_decay_mult=0.0))(model)
        assert "frozen, and in no group, so that they never train: 1 parameters (fc.bias)" in caplog.text

    @pytest.mark.parametrize(
        "wrap",
        [
            nn.DataParallel,
            AveragedModel,
            BaseAveragedModel,
            lambda model: torch.compile(nn.DataParallel(model), backend="eager"),
        ],
        ids=["parallel", "averaged", "mmengine", "compiled"],
    )
    def test_a_wrapped_model_keeps_the_names_inside_the_wrapper(self, wrap):
        names = [name for name, _ in Block().named_parameters()]
        model = wrap(Block())
        assert build_optim_wrapper(model, dict(optimizer=SGD)).optimizer.param_groups[0]["param_names"] == names
        assert build_optimizer(model, SGD).param_groups[0]["param_names"] == names

    def test_a_model_with_a_child_called_module_is_no_wrapper(self):
        model = nn.ModuleDict({"module": nn.Linear(1, 1)})
        names = build_optim_wrapper(model, dict(optimizer=SGD)).optimizer.param_groups[0]["param_names"]
        assert names == ["module.weight", "module.bias"]


class TestSubclasses:
    def test_add_params_may_be_overridden_as_in_mmengine(self):
        class Halving(DefaultOptimWrapperConstructor):
            def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
                super().__init__(optim_wrapper_cfg, paramwise_cfg=None)
                self.factor = paramwise_cfg.get("factor")
                super().__init__(optim_wrapper_cfg, paramwise_cfg)

            def add_params(self, params, module, prefix="", lr=None):
                lr = self.base_lr if lr is None else lr
                for _, param in module.named_parameters(recurse=False):
                    params.append({"params": [param], "lr": lr})
                for name, child in module.named_children():
                    self.add_params(params, child, f"{prefix}.{name}" if prefix else name, lr=lr * self.factor)

        wrapper = Halving(dict(optimizer=SGD), dict(factor=0.5))(Block())
        lrs = {name: g["lr"] for g in wrapper.optimizer.param_groups for name in g["param_names"]}
        assert lrs["scale"] == 0.1
        assert lrs["fc.weight"] == 0.05

    def test_rows_that_a_subclass_makes_anew_for_each_parameter_are_not_mixed_up(self):
        class Anew(Paramwise):
            def deciding(self, at):
                factor = float(at.name.rpartition(".")[2])
                return [replace(self.custom[0], multiplies={"lr": factor})]

        class Own(DefaultOptimWrapperConstructor):
            def _read_paramwise(self):
                return Anew(**vars(super()._read_paramwise()))

            def param_options(self, *arguments):
                self._decided.clear()  # as if the constructor asked for one parameter again and again
                return super().param_options(*arguments)

        model = nn.ParameterList(nn.Parameter(torch.ones(1)) for _ in range(100))
        wrapper = Own(dict(optimizer=dict(type="SGD", lr=1.0)), dict(custom_keys={"": dict(lr_mult=2.0)}))(model)
        lrs = {name: g["lr"] for g in wrapper.optimizer.param_groups for name in g["param_names"]}
        assert lrs == {str(number): float(number) for number in range(100)}

    def test_a_key_that_a_subclass_may_read_is_only_a_warning_where_it_is_nearly_a_known_one(self):
        class Other(DefaultOptimWrapperConstructor):
            pass

        Other(dict(optimizer=SGD), dict(num_layers=12))
        with pytest.warns(OptimzooWarning, match="is it meant for Other.*Did you mean 'bias_lr_mult'"):
            Other(dict(optimizer=SGD), dict(bias_lr_mlt=12))

    def test_a_key_that_the_source_of_a_subclass_names_is_its_own(self):
        class Deeper(DefaultOptimWrapperConstructor):
            def add_params(self, params, module, prefix="", is_dcn_module=None):
                self.rate = self.paramwise_cfg.get("layer_decay_rate")
                super().add_params(params, module, prefix, is_dcn_module)

        class Deepest(Deeper):
            pass

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            constructor = Deepest(dict(optimizer=SGD), dict(layer_decay_rate=0.5))
        constructor(nn.Linear(1, 1))
        assert constructor.rate == 0.5


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch.compile, as it is imported
@pytest.mark.parametrize(
    "paramwise_cfg",
    [
        dict(custom_keys={"body.0": dict(lr_mult=0.1)}),
        dict(rules=[dict(match="body.0.*", lr_mult=0.1)]),
        dict(rules=[dict(match="body.0.weight", lr_mult=0.1), dict(match="body.0.bias", lr_mult=0.1)]),
    ],
)
def test_rules_know_a_compiled_part_by_the_names_of_the_plain_model(paramwise_cfg):
    model = torch.nn.ModuleDict({"body": torch.nn.Sequential(torch.nn.Linear(2, 2)), "head": torch.nn.Linear(2, 1)})
    cfg = dict(optimizer=dict(type="SGD", lr=1.0), paramwise_cfg=paramwise_cfg)
    plain = build_optim_wrapper(model, cfg)
    model["body"] = torch.compile(model["body"])
    compiled = build_optim_wrapper(model, cfg)
    rates = [{n: g["lr"] for g in w.optimizer.param_groups for n in g["param_names"]} for w in (plain, compiled)]
    assert rates[0] == rates[1]
    assert rates[1]["body.0.weight"] == 0.1
