import copy

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from optimzoo.errors import ConfigError


@pytest.fixture
def gan():
    return nn.ModuleDict(
        {
            "generator": nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)),
            "discriminator": nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 1, bias=False)}),
        }
    )


def sgd(lr=0.1, **kwargs):
    return dict(optimizer=dict(type="SGD", lr=lr), **kwargs)


def names(wrapper):
    return [name for group in wrapper.optimizer.param_groups for name in group["param_names"]]


def test_each_child_module_gets_a_wrapper_with_settings_of_its_own(gan):
    cfg = dict(
        generator=dict(
            optimizer=dict(type="AdamW", lr=0.1),
            paramwise_cfg=dict(norm_decay_mult=0.0),
            clip_grad=dict(max_norm=1.0),
        ),
        discriminator=sgd(accumulative_counts=2),
    )
    before = copy.deepcopy(cfg)
    wrappers = build_optim_wrapper(gan, cfg)
    assert cfg == before
    assert isinstance(wrappers, OptimWrapperDict)
    generator, discriminator = wrappers.values()
    assert (generator.clip_grad_kwargs, discriminator._accumulative_counts) == ({"max_norm": 1.0}, 2)
    assert [g["param_names"] for g in generator.optimizer.param_groups] == [
        ["generator.0.weight", "generator.0.bias"],
        ["generator.1.weight", "generator.1.bias"],
    ]
    assert wrappers.explain("generator.1.bias") == "generator, group 1 (lr 0.1, weight_decay 0.0): norm_decay_mult"
    assert names(discriminator) == [n for n, _ in gan.named_parameters() if n.startswith("discriminator")]


def test_a_member_may_be_a_module_deeper_down_and_the_constructor_may_be_named(gan):
    cfg = {
        "constructor": "MultiOptimWrapperConstructor",
        "generator": sgd(),
        "discriminator.body": sgd(),
        "discriminator.head": sgd(),
    }
    assert list(build_optim_wrapper(gan, cfg)) == ["generator", "discriminator.body", "discriminator.head"]


def test_a_built_wrapper_may_be_a_member(gan):
    built = OptimWrapper(torch.optim.SGD(gan["generator"].parameters(), lr=1.0))
    assert build_optim_wrapper(gan, dict(generator=built, discriminator=sgd()))["generator"] is built


def test_a_member_may_have_a_built_optimizer(gan):
    built = torch.optim.SGD(gan["generator"].parameters(), lr=1.0)
    cfg = dict(generator=dict(optimizer=built, accumulative_counts=2), discriminator=sgd())
    assert build_optim_wrapper(gan, cfg)["generator"].optimizer is built


def test_patterns_give_muon_the_matrices_and_the_rest_to_another():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    matrices = ["layers.*.linear?.weight", "re:.*proj(_|\\.)weight"]
    wrappers = build_optim_wrapper(
        model,
        dict(
            matrices=dict(optimizer=dict(type="Muon", lr=0.02), modules=matrices),
            vectors=dict(optimizer=dict(type="AdamW", lr=1e-3), modules=["*.norm?", "*bias"]),
        ),
    )
    assert names(wrappers["matrices"]) == [n for n, p in model.named_parameters() if p.ndim == 2]
    before = copy.deepcopy(model.state_dict())
    loss = model(torch.randn(2, 3, 8)).square().mean() + sum(p.square().sum() for p in model.parameters())
    wrappers["matrices"].backward(loss)
    for wrapper in wrappers.values():
        wrapper.step()
    assert not any(torch.equal(before[name], value) for name, value in model.state_dict().items() if value.any())


def test_under_patterns_the_constructor_sees_the_modules_and_their_whole_names(gan):
    settings = sgd(modules="*", paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={"discriminator": dict(lr_mult=2)}))
    settings["optimizer"]["weight_decay"] = 0.1
    wrapper = build_optim_wrapper(gan, dict(all=settings))["all"]
    assert wrapper.explain("generator.1.weight") == "group 1 (lr 0.1, weight_decay 0.0): norm_decay_mult"
    assert wrapper.explain("discriminator.head.weight").startswith("group 2 (lr 0.2")


def test_one_wrapper_over_the_parameters_that_a_pattern_names(gan):
    cfg = dict(constructor="MultiOptimWrapperConstructor", modules=".*head", accumulative_counts=4, **sgd())
    wrapper = build_optim_wrapper(gan, cfg)
    assert isinstance(wrapper, OptimWrapper)
    assert names(wrapper) == ["discriminator.head.weight"]


def test_frozen_parameters_may_be_anywhere_or_nowhere(gan):
    gan["discriminator"].requires_grad_(False)
    assert list(build_optim_wrapper(gan, dict(generator=sgd()))) == ["generator"]
    both = dict(
        weights=sgd(modules=["generator.*.weight", "discriminator"]),
        biases=sgd(modules=["generator.*.bias", "discriminator"]),
    )
    assert len(build_optim_wrapper(gan, both)) == 2


class TestConditions:
    def test_they_stand_beside_patterns_or_alone_and_rest_takes_what_is_left(self, gan):
        cfg = dict(
            rest=sgd(),  # its place among the members is no matter
            matrices=sgd(modules="generator", ndim=2),
            norms=sgd(module="norm", max_numel=2),
            head=sgd(match="discriminator.*", role="head"),
        )
        wrappers = build_optim_wrapper(gan, cfg)
        assert {name: names(wrapper) for name, wrapper in wrappers.items()} == {
            "rest": ["generator.0.bias", "discriminator.body.weight", "discriminator.body.bias"],
            "matrices": ["generator.0.weight"],
            "norms": ["generator.1.weight", "generator.1.bias"],
            "head": ["discriminator.head.weight"],
        }
        assert list(wrappers) == list(cfg)

    def test_a_child_of_that_name_is_what_rest_trains(self, gan):
        model = nn.ModuleDict({"rest": nn.Linear(1, 1), "other": nn.Linear(1, 1)})
        with pytest.raises(ConfigError, match=r"1 parameters belong to no optimizer: other\.bias"):
            build_optim_wrapper(model, dict(a=sgd(match="other", ndim=2), rest=sgd()))

    def test_rest_takes_what_built_members_leave_and_has_rules_of_its_own(self, gan):
        built = OptimWrapper(torch.optim.SGD(gan["generator"].named_parameters(), lr=1.0))
        rest = sgd(paramwise_cfg=dict(rules=[dict(ndim=1, lr_mult=2.0)]))
        wrappers = build_optim_wrapper(gan, dict(generator=built, rest=rest))
        assert wrappers.get_lr()["rest.lr"] == [0.1, 0.2]

    def test_one_wrapper_over_the_parameters_that_meet_a_condition(self, gan):
        cfg = dict(constructor="MultiOptimWrapperConstructor", ndim=1, **sgd())
        assert names(build_optim_wrapper(gan, cfg)) == [n for n, p in gan.named_parameters() if p.ndim == 1]

    @pytest.mark.parametrize(
        ("cfg", "path", "said"),
        [
            (dict(a=sgd(ndim=5)), "a.ndim", "no parameter meets ndim=5"),
            (dict(a=sgd(ndim=2, role="norm")), "a.ndim", "no parameter meets ndim=2, role='norm'"),
            (dict(a=sgd(modules="*.bias", ndim=2)), "a.ndim", "ndim=2 among those that 'modules' name"),
            (dict(a=sgd(ndim="two")), "a.ndim", "a whole number of at least 0"),
            (dict(a=sgd(role="nrom")), "a.role", "Did you mean 'norm'"),
            (dict(a=sgd(modules="*"), rest=sgd()), "rest", "no parameter is left: a train all of them"),
            (dict(a=sgd(ndim=1)), "", "take them all by rest=dict(optimizer=...)"),
        ],
        ids=str,
    )
    def test_a_mistake_is_named_with_its_place(self, cfg, path, said, gan):
        with pytest.raises(ConfigError) as caught:
            build_optim_wrapper(gan, cfg)
        assert caught.value.path == f"optim_wrapper.{path}".rstrip(".")
        assert said in str(caught.value)


def test_the_model_is_left_as_it_is(gan):
    model, before = gan, copy.deepcopy(gan)
    build_optim_wrapper(model, dict(a=sgd(modules="generator"), b=sgd(modules="discriminator")))
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in before.named_parameters()]


@pytest.mark.parametrize(
    ("cfg", "path", "said"),
    [
        (dict(generator=sgd()), "optim_wrapper", "3 parameters belong to no optimizer: discriminator.body.weight, "),
        (
            dict(generator=sgd(), rest=sgd(modules=["*.bias", "discriminator"])),
            "optim_wrapper",
            r"2 parameters belong to more than one optimizer: generator.0.bias (generator and rest), ",
        ),
        (dict(generatr=sgd(), discriminator=sgd()), "optim_wrapper.generatr", "no module 'generatr'"),
        (dict(a=sgd(modules=["genrator"])), "optim_wrapper.a.modules", "names no parameter. Did you mean 'generator'"),
        (dict(a=sgd(modules=["re:("])), "optim_wrapper.a.modules", "no regular expression"),
        (dict(generator=sgd(), clip_grad=3), "optim_wrapper.clip_grad", "every key is a member"),
        (dict(generator=sgd(), paramwise_cfg={}), "optim_wrapper.paramwise_cfg", "of its own"),
        (
            dict(generator=sgd(), discriminator=dict(optimizer=dict(type="SDG"))),
            "optim_wrapper.discriminator.optimizer.type",
            "Did you mean 'SGD'",
        ),
        (dict(generator=sgd(), discriminator=dict(lr=1)), "optim_wrapper.discriminator", "'optimizer' is missing"),
        (dict(generator=sgd(clipgrad=1)), "optim_wrapper.generator.clipgrad", "Did you mean 'clip_grad'"),
        (dict(generator=sgd(lr=-1.0)), "optim_wrapper.generator.optimizer.lr", "a number of at least 0"),
        (dict(generator=sgd(modules=3)), "optim_wrapper.generator.modules", "a pattern of names, or a list of them"),
        (dict(constructor="MultiOptimWrapperConstructor", **sgd()), "optim_wrapper.modules", "a list of name patterns"),
    ],
)
def test_a_mistake_is_named_with_its_place(cfg, path, said, gan):
    with pytest.raises(ConfigError) as caught:
        build_optim_wrapper(gan, cfg)
    assert [p for p in caught.value.problems if p.path == path and said in str(p)], str(caught.value)
