import pytest
from tests.core.grouping import SGD, Block, groups_of
from torch import nn

from optimzoo import DefaultOptimWrapperConstructor, build_optim_wrapper
from optimzoo.errors import ConfigError, OptimzooWarning


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
def test_each_is_named_with_its_place(paramwise_cfg, path, said):
    with pytest.raises(ConfigError) as caught:
        DefaultOptimWrapperConstructor(dict(optimizer=SGD), paramwise_cfg)
    assert (caught.value.path, said in str(caught.value)) == (path, True), str(caught.value)


def test_a_decay_multiplier_without_a_decay_to_multiply_is_an_error():
    with pytest.raises(
        ConfigError, match=r"norm_decay_mult: it multiplies weight_decay, .*set optimizer\.weight_decay"
    ):
        DefaultOptimWrapperConstructor(dict(optimizer=dict(type="SGD", lr=0.1)), dict(norm_decay_mult=0.0))
    DefaultOptimWrapperConstructor(dict(optimizer=dict(type="AdamW")), dict(norm_decay_mult=0.0))  # 0.01 by default


def test_a_custom_key_that_matches_nothing_is_a_warning_or_strictly_an_error():
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
def test_a_multiplier_that_meets_no_parameter_is_a_warning_or_strictly_an_error(key, said):
    model = nn.Linear(2, 2, bias=False)
    with pytest.warns(OptimzooWarning, match=f"paramwise_cfg.{key}: no parameter meets it: {said}"):
        groups_of(model, {key: 0.0})
    with pytest.raises(ConfigError, match=f"paramwise_cfg.{key}: no parameter meets it"):
        groups_of(model, {key: 0.0, "strict": True})


def test_a_multiplier_beside_what_it_multiplies_does_nothing_and_is_a_warning():
    custom = {"fc": dict(lr=0.5, lr_mult=2.0)}
    with pytest.warns(OptimzooWarning, match=r"custom_keys\['fc'\]\.lr_mult: lr stands beside it and decides"):
        assert groups_of(Block(), dict(custom_keys=custom))["fc.bias"]["lr"] == 0.5


def test_a_multiplier_that_custom_keys_leave_nothing_to_is_said_to_have_no_effect():
    model = nn.ModuleDict(dict(backbone=nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), head=nn.Linear(2, 2)))
    cfg = dict(norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.1)))
    told = "paramwise_cfg.norm_decay_mult: a custom key decides, alone, for every parameter that it is for"
    with pytest.warns(OptimzooWarning, match=told) as warned:
        groups_of(model, cfg)
    assert len(warned) == 1  # the head has a bias
    cfg["custom_keys"]["backbone"]["decay_mult"] = 0.5  # as meant
    groups_of(model, cfg)


def test_a_custom_key_in_the_shadow_of_longer_ones_is_said_to_be():
    custom = {"fc": dict(), "fc.weight": dict(), "fc.bias": dict()}
    with pytest.warns(OptimzooWarning, match=r"custom_keys\['fc'\]: every parameter that it matches has a"):
        groups_of(Block(), dict(custom_keys=custom))


def test_a_multiplier_that_is_nearly_spelt_right_is_a_warning_or_strictly_an_error():
    with pytest.warns(OptimzooWarning, match=r"'decay_multi' is no multiplier.*Did you mean 'decay_mult'"):
        groups_of(Block(), dict(custom_keys={"fc": dict(decay_multi=0.1)}))
    with pytest.raises(ConfigError, match="'decay_multi' is no multiplier"):
        groups_of(Block(), dict(custom_keys={"fc": dict(decay_multi=0.1)}, strict=True))


@pytest.mark.parametrize(
    ("cfg", "path", "said"),
    [
        (SGD, "optim_wrapper.type", "'SGD' is an optimizer: it stands under 'optimizer', with its arguments"),
        (
            dict(optimizer=SGD, optimzer=SGD),
            "optim_wrapper.optimzer",
            "has no argument 'optimzer'. Did you mean 'optimizer'?",
        ),
        (dict(optimizer=SGD, paramwse_cfg={}), "optim_wrapper.paramwse_cfg", "Did you mean 'paramwise_cfg'?"),
    ],
)
def test_a_wrapper_s_mistake_is_named_with_its_place(cfg, path, said):
    with pytest.raises(ConfigError) as caught:
        build_optim_wrapper(Block(), cfg)
    places = {f"{problem.path}": problem.problem for problem in caught.value.problems}
    assert said in places[path], places


def test_parameters_are_no_model():
    with pytest.raises(ConfigError, match="model: a torch.nn.Module is wanted, got .*; build_optimizer takes param"):
        build_optim_wrapper(Block().parameters(), dict(optimizer=SGD))
