import re

import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper
from optimzoo.errors import ConfigError

ADAMW = dict(type="AdamW", lr=0.1, weight_decay=0.5)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(2, 2)
        self.v_proj = nn.Linear(2, 2, bias=False)


class ModulatedDeformConv2d(nn.Module):
    """Goes by the name of mmcv's class."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2, 1, 1))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv1d(2, 2, 1, groups=2, bias=False), nn.BatchNorm1d(2), Attention())
        self.offset = ModulatedDeformConv2d()
        self.embed = nn.Embedding(3, 2)
        self.head = nn.Linear(2, 3)


DEPTHWISE = ["backbone.0.weight"]
NORM = ["backbone.1.weight", "backbone.1.bias"]
Q, V = ["backbone.2.q_proj.weight", "backbone.2.q_proj.bias"], ["backbone.2.v_proj.weight"]
HEAD = ["head.weight", "head.bias"]


def groups_of(*rules, model=None, optimizer=ADAMW, **paramwise_cfg):
    cfg = dict(optimizer=optimizer, paramwise_cfg=dict(rules=list(rules), **paramwise_cfg))
    wrapper = build_optim_wrapper(model or Net(), cfg)
    return {name: group for group in wrapper.optimizer.param_groups for name in group["param_names"]}


@pytest.mark.parametrize(
    ("conditions", "matched"),
    [
        (dict(match="backbone.*"), DEPTHWISE + NORM + Q + V),
        (dict(match="backbone"), DEPTHWISE + NORM + Q + V),
        (dict(match="*_proj"), Q + V),
        (dict(match="*.bias"), [NORM[1], Q[1], HEAD[1]]),
        (dict(match="head.weight"), HEAD[:1]),
        (dict(match=r"re:.*\.(q|v)_proj\..*"), Q + V),
        (dict(match=r"re:h.ad"), HEAD),
        (dict(module="norm"), NORM),
        (dict(module="conv"), DEPTHWISE),
        (dict(module="dwconv"), DEPTHWISE),
        (dict(module="dcn"), ["offset.weight"]),
        (dict(module="embedding"), ["embed.weight"]),
        (dict(module="linear"), Q + V + HEAD),
        (dict(module="Attention"), Q + V),
        (dict(module="_BatchNorm"), NORM),
        (dict(ndim=1), NORM + Q[1:] + HEAD[1:]),
        (dict(ndim=2, module="linear", match="backbone"), [Q[0], *V]),
    ],
    ids=str,
)
def test_a_rule_holds_for_the_parameters_that_meet_all_its_conditions(conditions, matched):
    groups = groups_of(dict(**conditions, lr_mult=0.5))
    assert sorted(name for name, group in groups.items() if group["lr"] == 0.05) == sorted(matched)


def test_the_multipliers_of_all_matching_rules_multiply_and_the_last_of_other_settings_stands():
    groups = groups_of(
        dict(match="backbone", lr_mult=0.5, eps=1e-3),
        dict(module="linear", lr_mult=0.1, decay_mult=0.5, eps=1e-4),
        dict(ndim=1, decay_mult=0.0),
        dict(match="head.bias", lr=0.3, amsgrad=True),
    )
    keys = ("lr", "weight_decay", "eps", "amsgrad")
    assert [groups[Q[0]][key] for key in keys] == pytest.approx([0.005, 0.25, 1e-4, False])
    assert [groups[NORM[0]][key] for key in keys] == pytest.approx([0.05, 0.0, 1e-3, False])
    assert [groups["head.bias"][key] for key in keys] == pytest.approx([0.03, 0.0, 1e-4, True])


def test_rules_come_on_top_of_the_other_keys():
    groups = groups_of(
        dict(match="head", lr_mult=0.5), custom_keys={"head": dict(lr_mult=10.0)}, norm_decay_mult=0.0, bias_lr_mult=2.0
    )
    assert (groups["head.bias"]["lr"], groups[NORM[0]]["weight_decay"], groups[Q[1]]["lr"]) == (0.5, 0.0, 0.2)


def test_rules_act_on_the_groups_of_a_subclass_and_on_layer_decay():
    cfg = dict(
        optimizer=ADAMW,
        constructor="LayerDecayOptimWrapperConstructor",
        paramwise_cfg=dict(decay_factor=0.5, rules=[dict(match="head", lr_mult=10.0)]),
    )
    wrapper = build_optim_wrapper(Net(), cfg)
    assert {g["param_names"][0]: g["lr"] for g in wrapper.optimizer.param_groups}["head.weight"] == 0.5
    assert wrapper.param_rules["head.weight"] == "level 1, rules[0]"


@pytest.mark.parametrize(("merged", "count"), [(True, 2), (False, 10)])
def test_parameters_with_equal_settings_share_a_group_unless_told_otherwise(merged, count):
    groups = groups_of(dict(match="*.bias", decay_mult=0.0), merge_groups=merged)
    assert len({id(group) for group in groups.values()}) == count


def test_rules_hold_for_frozen_parameters_too():
    model = Net()
    model.backbone.requires_grad_(False)
    groups = groups_of(dict(match="backbone", lr_mult=0.1), model=model)
    assert groups.keys() == {*DEPTHWISE, *NORM, *Q, *V, *HEAD, "embed.weight", "offset.weight"}
    assert groups[V[0]]["lr"] == pytest.approx(0.01)


PLUGIN = """
import torch
from optimzoo import hookimpl

class Projected(torch.optim.SGD):
    pass

@hookimpl
def optimzoo_register(zoo):
    zoo.optimizer("Projected", Projected, group_keys=("rank", "use_muon"))
"""
BUILDS = """
import torch
from optimzoo import build_optim_wrapper
from optimzoo.errors import ConfigError

def ranks(**paramwise_cfg):
    cfg = dict(optimizer=dict(type="Projected", lr=0.1), paramwise_cfg=paramwise_cfg)
    return [group.get("rank") for group in build_optim_wrapper(torch.nn.Linear(2, 2), cfg).optimizer.param_groups]

assert ranks(rules=[dict(match="bias", rank=4)]) == [None, 4]
assert ranks(custom_keys=dict(bias=dict(rank=4))) == [None, 4]
for key in ("use_moun", "ranks", "other"):
    try:
        ranks(rules=[{"match": "bias", key: True}])
    except ConfigError as error:
        print(error)
"""


def test_a_rule_sets_what_only_the_groups_of_an_optimizer_have_as_its_plugin_declares(install_plugin, run):
    said = run("-W", "error", "-c", BUILDS, path=[install_plugin(PLUGIN)]).stdout.splitlines()
    assert [line.partition("key ")[2] for line in said[:2]] == [
        "'use_moun'. Did you mean 'use_muon'?",
        "'ranks'. Did you mean 'rank'?",
    ]
    assert "rules[0].other: Projected has no argument 'other'" in said[2]


class TestMistakes:
    @pytest.mark.parametrize(
        ("rule", "path", "said"),
        [
            (dict(match="bakbone.*", lr_mult=1), "rules[0].match", "Did you mean 'backbone'"),
            (dict(match="q_proj", lr_mult=1), "rules[0].match", "Did you mean '*.q_proj'"),
            (dict(match="bias", lr_mult=1), "rules[0].match", "Did you mean '*.bias'"),
            (dict(match="head", lr_mult=-1), "rules[0].lr_mult", "a number of at least 0"),
            (dict(match="head", decay_mult=float("nan")), "rules[0].decay_mult", "a number of at least 0"),
            (dict(match="re:ead", lr_mult=1), "rules[0].match", "no parameter of the model meets match='re:ead'"),
            (dict(module="Atention", lr_mult=1), "rules[0].module", "Did you mean 'Attention'"),
            (dict(module="GroupNorm", lr_mult=1), "rules[0].module", "Did you mean"),
            (dict(ndim=5, lr_mult=1), "rules[0].ndim", "no parameter of the model meets ndim=5"),
            (dict(ndim=1, module="embedding", lr_mult=1), "rules[0]", "no parameter meets all of its conditions"),
            (dict(match="re:(", lr_mult=1), "rules[0].match", "'(' is no regular expression: "),
            (dict(match=3, lr_mult=1), "rules[0].match", "a pattern such as 'backbone.*' is wanted, got 3"),
            (dict(module=nn.Linear, lr_mult=1), "rules[0].module", "a kind of module (norm, conv"),
            (dict(ndim="1", lr_mult=1), "rules[0].ndim", "a whole number of at least 0"),
            (dict(lr_mult=1), "rules[0]", "it needs match or module or ndim"),
            (dict(match="head"), "rules[0]", "it sets nothing"),
            (dict(match="head", lr_mult="x"), "rules[0].lr_mult", "a number is wanted, got 'x'"),
            (dict(match="head", lr_mul=1), "rules[0].lr_mul", "Did you mean 'lr_mult'"),
            (dict(match="head", wd=0.1), "rules[0].wd", "Did you mean 'weight_decay'"),
            (dict(match="head", xyz=0.1), "rules[0].xyz", "AdamW has no argument 'xyz'. It takes lr, betas,"),
            (dict(match="head", params=[]), "rules[0].params", "neither a rule nor AdamW has a key 'params'"),
            (dict(match="head", eps="tiny"), "rules[0].eps", "wants a number for 'eps'"),
            (dict(match="head", name=3), "rules[0].name", "what the group is to be called is wanted, got 3"),
            ("head", "rules[0]", "a dict such as {'match': 'head.*', 'lr_mult': 10} is wanted"),
        ],
        ids=str,
    )
    def test_each_is_named_with_its_place(self, rule, path, said):
        with pytest.raises(ConfigError) as caught:
            groups_of(rule)
        assert caught.value.path == f"optim_wrapper.paramwise_cfg.{path}"
        assert said in str(caught.value)

    def test_rules_come_in_a_list(self):
        with pytest.raises(ConfigError, match=r"paramwise_cfg\.rules: a list of dicts is wanted"):
            build_optim_wrapper(Net(), dict(optimizer=ADAMW, paramwise_cfg=dict(rules=dict(match="head"))))

    def test_a_rule_for_the_second_name_of_a_shared_parameter_says_the_first(self):
        model = nn.ModuleDict({"embed": nn.Embedding(3, 2), "head": nn.Linear(2, 3)})
        model["head"].weight = model["embed"].weight
        with pytest.raises(ConfigError, match=r"'head\.weight' is shared.* first name, 'embed\.weight'"):
            groups_of(dict(match="head.weight", lr_mult=0.1), model=model, bypass_duplicate=True)

    def test_all_of_them_are_told_at_once(self):
        with pytest.raises(ConfigError) as caught:
            groups_of(dict(match="nowhere", lr_mult=0.1), dict(match="head", lr_mult=0.1), dict(ndim=7, lr_mult=0.1))
        assert [problem.path.rpartition("paramwise_cfg.")[2] for problem in caught.value.problems] == [
            "rules[0].match",
            "rules[2].ndim",
        ]


@pytest.mark.parametrize("name", ["a[0]", "x?", "[!b]*"])
def test_a_name_with_characters_of_a_pattern_is_offered_so_that_it_matches(name):
    sgd = dict(type="SGD", lr=1.0)
    model = nn.ModuleDict({name: nn.Linear(1, 1, bias=False), "other": nn.Linear(1, 1)})
    for read in (
        lambda match: dict(optimizer=sgd, paramwise_cfg=dict(rules=[dict(match=match, lr_mult=2)])),
        lambda match: dict(optimizer=sgd, modules=[match], constructor="MultiOptimWrapperConstructor"),
    ):
        with pytest.raises(ConfigError, match="Did you mean") as caught:
            build_optim_wrapper(model, read(f"{name}.weigth".replace("?", "??").replace("*", "")))
        offered = re.findall(r"Did you mean '(.*?)'", str(caught.value))[0]
        names = [n for g in build_optim_wrapper(model, read(offered)).optimizer.param_groups for n in g["param_names"]]
        assert f"{name}.weight" in names


class NeedsRate(torch.optim.SGD):
    def __init__(self, params, lr, momentum=0.5):
        super().__init__(params, lr=lr, momentum=momentum)


def test_a_rule_says_one_argument_though_the_optimizer_needs_others():
    cfg = dict(optimizer=dict(type=NeedsRate, lr=0.1), paramwise_cfg=dict(rules=[dict(match="*.bias", momentum=0.9)]))
    groups = build_optim_wrapper(nn.Sequential(nn.Linear(2, 2)), cfg).optimizer.param_groups
    assert [(group["param_names"], group["momentum"]) for group in groups] == [(["0.weight"], 0.5), (["0.bias"], 0.9)]


@pytest.mark.parametrize("key", ["bogus", "num_heads", "base_optimizer"])
def test_a_rule_says_what_an_optimizer_inside_another_takes_and_nothing_else(key):
    sam = dict(type="SAM", base_optimizer=dict(type="SGD", lr=0.1))
    model = nn.Linear(4, 4)
    rule = dict(match="bias", momentum=0.5)
    wrapper = build_optim_wrapper(model, dict(optimizer=sam, paramwise_cfg=dict(rules=[rule])))
    assert {g["momentum"] for g in wrapper.optimizer.param_groups if g["param_names"] == ["bias"]} == {0.5}
    with pytest.raises(ConfigError, match=rf"rules\[0\]\.{key}: neither a rule nor SAM has a key"):
        build_optim_wrapper(model, dict(optimizer=sam, paramwise_cfg=dict(rules=[{"match": "bias", key: 2}])))
