import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from optimzoo import DefaultOptimWrapperConstructor, build_optim_wrapper, build_optimizer
from optimzoo.errors import ConfigError, OptimzooWarning

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


class BaseAveragedModel(nn.Module):
    """Goes by the name of mmengine's class."""

    def __init__(self, model):
        super().__init__()
        self.module = model
        self.register_buffer("steps", torch.tensor(0))


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


@pytest.mark.parametrize("norm", [nn.RMSNorm(4), nn.GroupNorm(2, 4), nn.InstanceNorm1d(4, affine=True), LlamaRMSNorm()])
def test_every_kind_of_norm_is_a_norm(norm):
    found = settings_of(nn.Sequential(norm, nn.Linear(2, 2)), dict(norm_decay_mult=0.0), "weight_decay")
    assert {name: value for name, value in found.items() if value == 0.0}.keys() == {
        f"0.{name}" for name, _ in norm.named_parameters()
    }


NAMED = """LayerNorm T5LayerNorm DebertaLayerNorm CohereLayerNorm Pix2StructLayerNorm VitDetLayerNorm UMT5LayerNorm
LongT5LayerNorm Qwen3NextRMSNorm Qwen3NextRMSNormGated LayerNorm2d LayerNormFp32 RmsNorm RmsNorm2dFp32 SimpleNorm
SimpleNorm2d EvoNorm2dB0 EvoNorm2dS0a FilterResponseNormTlu2d FilterResponseNormAct2d GlobalResponseNorm GRN ActNorm
BatchNormAct2d GroupNorm1 Layernorm ScaleNorm""".split()  # noqa: SIM905
NOT_NAMED = ["NormLinear", "LayerNormMLP", "NormedConv2d", "Normalizer", "Transform", "GRNN", "WeightNormConv2d"]


@pytest.mark.parametrize("name", [*NAMED, *NOT_NAMED])
def test_norms_that_libraries_define_themselves_are_known_by_the_names_of_their_classes(name):
    own = type(name, (LlamaRMSNorm,), {})()
    found = settings_of(nn.Sequential(own, nn.LayerNorm(2)), dict(norm_decay_mult=0.0), "weight_decay")
    assert found["0.weight"] == (0.0 if name in NAMED else 0.01)
    rules = [dict(module="norm", decay_mult=0.0)]
    assert settings_of(nn.Sequential(own, nn.LayerNorm(2)), dict(rules=rules), "weight_decay") == found


def test_what_holds_a_norm_and_more_is_no_norm_though_it_is_called_so():
    pre_norm = type("PreNorm", (nn.Sequential,), {})(nn.LayerNorm(2), nn.Linear(2, 2))
    found = settings_of(pre_norm, dict(rules=[dict(module="norm", decay_mult=0.0)]), "weight_decay")
    assert found == {"0.weight": 0.0, "0.bias": 0.0, "1.weight": 0.01, "1.bias": 0.01}


def test_a_class_that_is_called_a_norm_can_be_excluded():
    model = nn.Sequential(LlamaRMSNorm(), nn.LayerNorm(4))
    found = settings_of(model, dict(norm_decay_mult=0.0, not_norms=["LlamaRMSNorm"]), "weight_decay")
    assert found == {"0.weight": 0.01, "1.weight": 0.0, "1.bias": 0.0}
    rules = [dict(module="norm", decay_mult=0.0)]
    assert settings_of(model, dict(rules=rules, not_norms=["LlamaRMSNorm"]), "weight_decay") == found
    with pytest.warns(OptimzooWarning, match=r"not_norms: no .* class 'LamaRMSNorm'. Did you mean 'LlamaRMSNorm'"):
        settings_of(model, dict(norm_decay_mult=0.0, not_norms=["LamaRMSNorm"]), "weight_decay")


class TestBiasesByOtherNames:
    def model(self):
        return nn.ModuleDict({"attention": nn.MultiheadAttention(4, 1, add_bias_kv=True), "rnn": nn.GRU(4, 4)})

    OTHERS = ("attention.in_proj_bias", "attention.bias_k", "attention.bias_v", "rnn.bias_ih_l0", "rnn.bias_hh_l0")

    @pytest.mark.parametrize("key", ["bias_decay_mult", "bias_lr_mult"])
    def test_mmengines_key_leaves_them_and_says_so_once(self, key):
        with pytest.warns(OptimzooWarning) as said:
            settings_of(self.model(), {key: 0.0}, "weight_decay")
        (warning,) = said
        assert str(warning.message).startswith(f"paramwise_cfg.{key}: it is for parameters called 'bias', and leaves ")
        assert "all_biases=True takes them too" in str(warning.message)

    @pytest.mark.parametrize("taken", [True, False])
    def test_they_are_taken_or_left_as_the_config_says(self, taken):
        found = settings_of(self.model(), dict(bias_decay_mult=0.0, all_biases=taken), "weight_decay")
        assert {name for name, decay in found.items() if decay == 0.0} == {
            "attention.out_proj.bias", *(self.OTHERS if taken else ())
        }  # fmt: skip

    @pytest.mark.parametrize("quiet", [dict(bias_decay_mult=1.0), dict(bias_decay_mult=0.0, flat_decay_mult=0.0)])
    def test_nothing_is_said_where_it_makes_no_difference(self, quiet):
        model = nn.ModuleDict({"rnn": nn.GRU(4, 4), "linear": nn.Linear(4, 4)})
        settings_of(model, quiet, "weight_decay")

    def test_a_table_of_biases_is_none(self):
        model = nn.Linear(2, 2)
        model.relative_position_bias_table = nn.Parameter(torch.ones(9, 2))
        model.position_bias = nn.Parameter(torch.ones(3, 3))
        found = settings_of(model, dict(bias_decay_mult=0.0, all_biases=True), "weight_decay")
        assert [name for name, decay in found.items() if decay == 0.0] == ["bias"]


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


class TestMistakes:
    @pytest.mark.parametrize(
        ("paramwise_cfg", "path", "said"),
        [
            (3, "paramwise_cfg", "a dict is wanted"),
            (dict(bias_lr=1), "paramwise_cfg.bias_lr", "Did you mean 'bias_lr_mult'"),
            (dict(xyz=1), "paramwise_cfg.xyz", "It reads custom_keys, "),
            (dict(custom_keys={0: dict(lr_mult=0.1)}), "paramwise_cfg.custom_keys[0]", "put it in quotes"),
            (dict(bias_lr_mult="2"), "paramwise_cfg.bias_lr_mult", "a number is wanted"),
            (dict(bias_lr_mult=-1), "paramwise_cfg.bias_lr_mult", "a number of at least 0 is wanted"),
            (dict(norm_decay_mult=float("nan")), "paramwise_cfg.norm_decay_mult", "a number of at least 0 is wanted"),
            (dict(flat_decay_mult=float("inf")), "paramwise_cfg.flat_decay_mult", "a finite one, got inf"),
            (dict(not_norms="L2Norm"), "paramwise_cfg.not_norms", "a list of names of classes is wanted"),
            (dict(custom_keys={"fc": dict(lr_mult=-2)}), "paramwise_cfg.custom_keys['fc'].lr_mult", "at least 0"),
            (
                dict(custom_keys={"fc": dict(momentum="x")}),
                "paramwise_cfg.custom_keys['fc'].momentum",
                "wants a number",
            ),
            (dict(bypass_duplicate="yes"), "paramwise_cfg.bypass_duplicate", "true or false is wanted"),
            (dict(custom_keys=["a"]), "paramwise_cfg.custom_keys", "a dict of dicts"),
            (dict(custom_keys={"fc": 0.1}), "paramwise_cfg.custom_keys['fc']", "a dict such as"),
            (
                dict(custom_keys={"fc": dict(lr_mult="x")}),
                "paramwise_cfg.custom_keys['fc'].lr_mult",
                "a number is wanted",
            ),
        ],
    )
    def test_each_is_named_with_its_place(self, paramwise_cfg, path, said):
        with pytest.raises(ConfigError) as caught:
            DefaultOptimWrapperConstructor(dict(optimizer=SGD), paramwise_cfg)
        assert (caught.value.path, said in str(caught.value)) == (path, True), str(caught.value)

    def test_a_decay_multiplier_without_a_decay_to_multiply_is_an_error(self):
        with pytest.raises(
            ConfigError, match=r"norm_decay_mult: it multiplies weight_decay, .*set optimizer\.weight_decay"
        ):
            DefaultOptimWrapperConstructor(dict(optimizer=dict(type="SGD", lr=0.1)), dict(norm_decay_mult=0.0))
        DefaultOptimWrapperConstructor(dict(optimizer=dict(type="AdamW")), dict(norm_decay_mult=0.0))  # 0.01 by default

    def test_a_custom_key_that_matches_nothing_is_a_warning_or_strictly_an_error(self):
        with pytest.warns(
            OptimzooWarning, match=r"custom_keys\['nrom'\]: no parameter's name contains it. Did you mean 'norm'"
        ):
            groups_of(Block(), dict(custom_keys={"nrom": dict(lr_mult=0.1)}))
        with pytest.raises(ConfigError, match=r"custom_keys\['nrom'\]: no parameter's name"):
            groups_of(Block(), dict(custom_keys={"nrom": dict(lr_mult=0.1)}, strict=True))

    @pytest.mark.parametrize(
        ("key", "said"),
        [
            ("norm_decay_mult", "it is for all parameters of normalization layers"),
            ("bias_lr_mult", "it is for parameters called `bias`"),
            ("dcn_offset_lr_mult", "it is for the offset layers"),
            ("dwconv_decay_mult", "it is for all parameters of depthwise convolutions"),
            ("flat_decay_mult", "it is for one-dimensional parameters"),
        ],
    )
    def test_a_multiplier_that_meets_no_parameter_is_a_warning_or_strictly_an_error(self, key, said):
        model = nn.Linear(2, 2, bias=False)
        with pytest.warns(OptimzooWarning, match=f"paramwise_cfg.{key}: no parameter meets it: {said}"):
            groups_of(model, {key: 0.0})
        with pytest.raises(ConfigError, match=f"paramwise_cfg.{key}: no parameter meets it"):
            groups_of(model, {key: 0.0, "strict": True})

    def test_a_multiplier_beside_what_it_multiplies_does_nothing_and_is_a_warning(self):
        custom = {"fc": dict(lr=0.5, lr_mult=2.0)}
        with pytest.warns(OptimzooWarning, match=r"custom_keys\['fc'\]\.lr_mult: lr stands beside it and decides"):
            assert groups_of(Block(), dict(custom_keys=custom))["fc.bias"]["lr"] == 0.5

    def test_a_custom_key_in_the_shadow_of_longer_ones_is_said_to_be(self):
        custom = {"fc": dict(), "fc.weight": dict(), "fc.bias": dict()}
        with pytest.warns(OptimzooWarning, match=r"custom_keys\['fc'\]: every parameter that it matches has a"):
            groups_of(Block(), dict(custom_keys=custom))

    def test_a_multiplier_that_is_nearly_spelt_right_is_a_warning_or_strictly_an_error(self):
        with pytest.warns(OptimzooWarning, match=r"'decay_multi' is no multiplier.*Did you mean 'decay_mult'"):
            groups_of(Block(), dict(custom_keys={"fc": dict(decay_multi=0.1)}))
        with pytest.raises(ConfigError, match="'decay_multi' is no multiplier"):
            groups_of(Block(), dict(custom_keys={"fc": dict(decay_multi=0.1)}, strict=True))


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

    def test_a_key_that_a_subclass_may_read_is_only_a_warning_where_it_is_nearly_a_known_one(self):
        class Other(DefaultOptimWrapperConstructor):
            pass

        Other(dict(optimizer=SGD), dict(num_layers=12))
        with pytest.warns(OptimzooWarning, match="is it meant for Other.*Did you mean 'bias_lr_mult'"):
            Other(dict(optimizer=SGD), dict(bias_lr_mlt=12))


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
