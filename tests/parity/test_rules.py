"""Parameter-wise rules: the same settings for every parameter, by name, as mmengine gives."""

import copy
import sys
from types import ModuleType

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.optim import build_optim_wrapper as mm_build_optim_wrapper
from mmengine.optim.optimizer import default_constructor
from torch import nn

from optimzoo import build_optim_wrapper
from optimzoo.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore::optimzoo.errors.OptimzooWarning")  # of keys that match nothing

ADAMW = dict(type="AdamW", lr=0.1, weight_decay=0.5, fused=False)


class DeformConv2d(nn.Module):
    """What the rules see of mmcv's class."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2, 1, 1))
        self.bias = nn.Parameter(torch.ones(2))
        self.conv_offset = nn.Conv2d(2, 4, 1)


@pytest.fixture(autouse=True, scope="module")
def _mmcv():
    """Let mmengine believe that mmcv, with this module's deformable convolution, is installed."""
    ops = ModuleType("mmcv.ops")
    ops.DeformConv2d = ops.ModulatedDeformConv2d = DeformConv2d
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mmcv", ModuleType("mmcv"))
        patch.setitem(sys.modules, "mmcv.ops", ops)
        patch.setattr(default_constructor, "mmcv_full_available", lambda: True)
        yield


def settings_by_name(wrapper, model):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    hidden = ("params", "param_names", "lr_mult", "decay_mult")
    return {
        names[id(parameter)]: {key: value for key, value in group.items() if key not in hidden}
        for group in wrapper.optimizer.param_groups
        for parameter in group["params"]
        if parameter.requires_grad  # the frozen ones are in no group of mmengine's where there are rules
    }


def both(model, paramwise_cfg, optimizer=ADAMW):
    cfg = dict(optimizer=optimizer, paramwise_cfg=paramwise_cfg)
    theirs = settings_by_name(mm_build_optim_wrapper(model, copy.deepcopy(cfg)), model)
    return settings_by_name(build_optim_wrapper(model, cfg), model), theirs


class Plain(nn.Module):
    """Parameters of its own, of several shapes."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.ones(2))
        self.scale = nn.Parameter(torch.ones(3))
        self.pos_embed = nn.Parameter(torch.ones(1, 2, 2))


LEAVES = [
    lambda: nn.Conv2d(2, 4, 1),
    lambda: nn.Conv2d(2, 2, 1, groups=2),
    lambda: nn.Conv1d(2, 4, 1, bias=False),
    lambda: nn.Linear(2, 3),
    lambda: nn.Embedding(3, 2),
    lambda: nn.LayerNorm(2),
    lambda: nn.BatchNorm2d(2),
    lambda: nn.GroupNorm(1, 2),
    lambda: nn.InstanceNorm2d(2, affine=True),
    DeformConv2d,
    Plain,
]
NAMES = ["backbone", "head", "norm", "conv_offset", "bias", "layers", "embed"]
KEYS = [*NAMES, "back", ".bias", "backbone.norm", "head.layers", "norm.weight", "scale", "weight", "pos_embed", "."]
MULTIPLIERS = st.sampled_from([0, 0.0, 0.1, 0.5, 1, 1.0, 3])
RULES = ("bias_lr_mult", "bias_decay_mult", "norm_decay_mult", "flat_decay_mult", "dwconv_decay_mult")


@st.composite
def models(draw):
    def tree(level):
        members = nn.ModuleDict()
        for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)):
            nested = level < 3 and draw(st.booleans())
            members[name] = tree(level + 1) if nested else draw(st.sampled_from(LEAVES))()
        return members

    model = tree(0)
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if len(linears) > 1 and draw(st.booleans()):
        linears[1].weight = linears[0].weight
    for parameter in list(model.parameters())[1:]:
        parameter.requires_grad_(draw(st.integers(0, 5)) > 0)
    return model


@st.composite
def paramwise_cfgs(draw):
    cfg = draw(st.dictionaries(st.sampled_from([*RULES, "dcn_offset_lr_mult"]), MULTIPLIERS))
    custom = st.fixed_dictionaries(
        {},
        optional=dict(
            lr_mult=MULTIPLIERS,
            decay_mult=MULTIPLIERS,
            lr=st.just(0.7),
            eps=st.just(1e-6),
            betas=st.just((0.5, 0.9)),
            lars_exclude=st.booleans(),
        ),
    )
    keys = draw(st.dictionaries(st.sampled_from(KEYS), custom, max_size=4))
    return {**cfg, **({"custom_keys": keys} if keys else {})}


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(models(), paramwise_cfgs(), st.booleans(), st.booleans())
def test_any_rules_give_any_model_the_settings_that_mmengine_gives(model, paramwise_cfg, merged, decays):
    optimizer = {**ADAMW, "type": "SGD"} if not decays else ADAMW
    paramwise_cfg = {**paramwise_cfg, "bypass_duplicate": True, "merge_groups": merged}
    ours, theirs = both(model, paramwise_cfg, optimizer)
    assert ours == theirs


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.ones(1, 2, 2))
        self.backbone = nn.Sequential(
            nn.Conv2d(2, 2, 1, groups=2), nn.BatchNorm2d(2), DeformConv2d(), nn.Conv2d(2, 2, 1), nn.LayerNorm(2)
        )
        self.head = nn.ModuleDict({"reg": nn.Linear(2, 4), "embed": nn.Embedding(3, 2)})
        self.backbone[3].weight.requires_grad_(False)


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize(
    "paramwise_cfg",
    [
        {},
        dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
        dict(bias_lr_mult=2.0, bias_decay_mult=0.0, dwconv_decay_mult=0.3),
        dict(norm_decay_mult=0.0, custom_keys={"pos_embed": dict(decay_mult=0.0), "norm": dict(decay_mult=0.0)}),
        dict(custom_keys={"backbone": dict(lr_mult=0.1, decay_mult=1.0), "backbone.1": dict(lr_mult=1.0)}),
        dict(custom_keys={"reg": dict(lr_mult=10, eps=1e-6), ".bias": dict(lars_exclude=True)}, flat_decay_mult=0.0),
        dict(dcn_offset_lr_mult=0.1, bias_lr_mult=2.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
    ],
    ids=lambda cfg: "-".join(cfg) or "none",
)
def test_the_rules_of_public_configs_give_the_settings_that_mmengine_gives(paramwise_cfg, merged):
    ours, theirs = both(Detector(), {**paramwise_cfg, "merge_groups": merged})
    assert ours == theirs


def test_without_merging_the_groups_are_in_the_order_of_mmengine():
    model, cfg = Detector(), dict(optimizer=ADAMW, paramwise_cfg=dict(merge_groups=False, norm_decay_mult=0.0))
    ours, theirs = (build(model, cfg).optimizer.param_groups for build in (build_optim_wrapper, mm_build_optim_wrapper))
    trained = [[id(p) for p in group["params"] if p.requires_grad] for group in ours]
    assert [ids for ids in trained if ids] == [[id(p) for p in group["params"]] for group in theirs]


def test_an_optimizer_may_call_its_first_argument_as_it_likes():
    class Hybrid(torch.optim.SGD):
        def __init__(self, model_params, lr, weight_decay=0.0):
            super().__init__(model_params, lr=lr, weight_decay=weight_decay)

    ours, theirs = both(Detector(), dict(bias_lr_mult=2.0), dict(type=Hybrid, lr=0.1))
    assert ours == theirs


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("kind", ["theirs", "ours, from before frozen parameters were in the groups"])
def test_a_state_that_leaves_frozen_parameters_out_is_loaded_and_trained_on_alike(kind, merged):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    twin = copy.deepcopy(model)
    cfg = dict(optimizer=ADAMW, paramwise_cfg=dict(norm_decay_mult=0.0, merge_groups=merged))
    theirs, ours = mm_build_optim_wrapper(model, copy.deepcopy(cfg)), build_optim_wrapper(twin, cfg)
    x = torch.ones(4, 2)
    theirs.update_params(model(x).square().mean())
    twin.load_state_dict(model.state_dict())
    state = copy.deepcopy(theirs.state_dict())
    if kind != "theirs":
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        for group, own in zip(state["param_groups"], theirs.param_groups):
            group["param_names"] = [names[id(parameter)] for parameter in own["params"]]
    ours.load_state_dict(state)
    for wrapper, each in ((theirs, model), (ours, twin)):
        wrapper.update_params(each(x).square().mean())
    torch.testing.assert_close(list(model.parameters()), list(twin.parameters()))
    twin[0].requires_grad_(True)
    before = twin[0].weight.clone()
    ours.update_params(twin(torch.randn(4, 2)).square().mean())
    assert not torch.equal(before, twin[0].weight)


class TestWhatIsDifferent:
    @pytest.mark.parametrize(
        ("module", "rule"),
        [
            (nn.RMSNorm(2), "norm_decay_mult"),
            (type("T5LayerNorm", (Plain,), {})(), "norm_decay_mult"),
            (nn.Conv1d(2, 2, 1, groups=2), "dwconv_decay_mult"),
            (nn.Conv3d(2, 2, 1, groups=2), "dwconv_decay_mult"),
        ],
        ids=["RMSNorm", "by name", "1-D", "3-D"],
    )
    def test_kinds_of_module_that_mmengine_does_not_count(self, module, rule):
        ours, theirs = both(nn.Sequential(module, nn.Linear(2, 2)), {rule: 0.0})
        touched = {f"0.{name}" for name, _ in module.named_parameters()}
        assert {name for name in ours if ours[name] != theirs[name]} == touched
        assert {ours[name]["weight_decay"] for name in touched} == {0.0}

    def test_a_shared_parameter_without_bypass_duplicate_is_an_error_that_names_the_cure(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        model[1].weight = model[0].weight
        cfg = dict(optimizer=ADAMW, paramwise_cfg=dict(bias_lr_mult=2.0))
        with pytest.raises(ConfigError, match=r"'0\.weight' is shared.*bypass_duplicate=True"):
            build_optim_wrapper(model, cfg)
        with pytest.raises(ValueError, match="more than one parameter group"):
            mm_build_optim_wrapper(model, copy.deepcopy(cfg))

    def test_whole_numbers_among_the_betas_build(self):
        optimizer = dict(type="Adam", lr=0.1, betas=(0, 0.99))
        assert build_optim_wrapper(nn.Linear(1, 1), dict(optimizer=optimizer)).defaults["betas"] == (0.0, 0.99)
        with pytest.raises(ValueError, match="betas must be either both floats"):
            mm_build_optim_wrapper(nn.Linear(1, 1), dict(optimizer=optimizer))

    def test_a_multiplier_acts_on_the_optimizers_default_too(self):
        model, optimizer = nn.Linear(1, 1), dict(type="AdamW")  # lr 0.001 and weight decay 0.01 by default
        rule = dict(custom_keys={"bias": dict(lr_mult=10.0)}, bias_decay_mult=0.0)
        found = settings_by_name(build_optim_wrapper(model, dict(optimizer=optimizer, paramwise_cfg=rule)), model)
        assert (found["bias"]["lr"], found["weight"]["lr"]) == (0.01, 0.001)
        with pytest.raises(ValueError, match="base_wd should not be None"):
            mm_build_optim_wrapper(model, dict(optimizer=optimizer, paramwise_cfg=rule))

    def test_multipliers_do_not_stay_in_the_group(self):
        model = nn.Linear(1, 1)
        cfg = dict(optimizer=ADAMW, paramwise_cfg=dict(custom_keys={"bias": dict(lr_mult=0.1)}))
        ours, theirs = (build(model, cfg).optimizer for build in (build_optim_wrapper, mm_build_optim_wrapper))
        assert [any("lr_mult" in group for group in built.param_groups) for built in (ours, theirs)] == [False, True]
