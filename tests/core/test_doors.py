"""What comes through the doors of the builders: other spellings, other people's containers, numbers and classes."""

import types
from collections import UserDict, UserList

import numpy
import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, Runner, build_optim_wrapper, build_optimizer, build_param_scheduler
from optimzoo.errors import ConfigError, OptimzooWarning
from optimzoo.values import MAX_NODES, plain

SGD = dict(type="SGD", lr=0.1)


class Quits(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        raise SystemExit(0)


class Hollow(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1):
        pass


class Idle:
    def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
        pass

    def __call__(self, model):
        pass


class Exits(Idle):
    def __call__(self, model):
        raise SystemExit(0)


class Stub:
    def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
        pass


@pytest.mark.parametrize(
    ("cfg", "path", "said"),
    [
        (dict(optimizer=dict(type=Quits)), "optim_wrapper.optimizer", "SystemExit"),
        (dict(optimizer=dict(type=Hollow)), "optim_wrapper.optimizer", "Hollow has no param_groups"),
        (dict(optimizer=SGD, constructor=Idle), "optim_wrapper.constructor", "Idle must return an optimizer wrapper"),
        (dict(optimizer=SGD, constructor=Exits), "optim_wrapper", "Exits failed: .*SystemExit"),
        (dict(optimizer=SGD, constructor=Stub), "optim_wrapper.constructor", "cannot be used as a constructor"),
        (
            dict(optimizer=SGD, constructor=dict(type=Idle, x=1)),
            "optim_wrapper.constructor",
            "with the key 'type' alone",
        ),
        (dict(optimizer=SGD, lr=0.1), "optim_wrapper.lr", "It belongs in 'optimizer'"),
        (dict(optimizer=SGD, norm_decay_mult=0), "optim_wrapper.norm_decay_mult", "It belongs in 'paramwise_cfg'"),
        (
            dict(optimizer=dict(SGD, norm_decay_mult=0)),
            "optim_wrapper.optimizer.norm_decay_mult",
            "It belongs in 'paramwise_cfg', beside 'optimizer'",
        ),
        (dict(optimizer=SGD, paramwise_cfg=dict(lr=1)), "optim_wrapper.paramwise_cfg.lr", "It belongs in 'optimizer'"),
        (
            dict(optimizer=dict(SGD, clip_grad=dict(max_norm=1))),
            "optim_wrapper.optimizer.clip_grad",
            "It belongs beside 'optimizer'",
        ),
        (dict(optimizer=dict(SGD, lr="high")), "optim_wrapper.optimizer.lr", "wants a number for 'lr'.*got 'high'"),
        (dict(optimizer=dict(SGD, lr=float("nan"))), "optim_wrapper.optimizer.lr", "at least 0 is wanted, got nan"),
        (dict(optimizer=dict(SGD, lr=[0.1])), "optim_wrapper.optimizer.lr", "a number"),
        (dict(optimizer=dict(SGD, lr=10**400)), "optimizer.lr", "too large"),
        (dict(optimizer={**SGD, None: 1}), "optim_wrapper.optimizer[None]", "has no argument None"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_told_with_its_place(cfg, path, said):
    with pytest.raises(ConfigError, match=said) as caught:
        build_optim_wrapper(nn.Linear(2, 1), cfg)
    assert caught.value.path.endswith(path)


def test_spellings_of_documents_are_understood():
    model = nn.Linear(2, 1)
    cfg = dict(optimizer=dict(SGD, weight_decay=0.1), constructor=dict(type="DefaultOptimWrapperConstructor"))
    assert build_optim_wrapper(model, cfg).get_lr() == {"lr": [0.1]}
    inside = dict(optimizer=dict(SGD, weight_decay=0.1, paramwise_cfg=dict(bias_decay_mult=0.0)))
    with pytest.warns(OptimzooWarning, match="read as optim_wrapper.paramwise_cfg, where it belongs"):
        wrapper = build_optim_wrapper(model, inside)
    assert sorted(group["weight_decay"] for group in wrapper.optimizer.param_groups) == [0.0, 0.1]
    with pytest.raises(ConfigError, match="write it once"):
        build_optim_wrapper(model, {**inside, "paramwise_cfg": {}})


def foreign(value):
    """Return ``value`` in mappings and sequences that are neither dicts nor lists."""
    if isinstance(value, dict):
        return types.MappingProxyType({key: foreign(item) for key, item in value.items()})
    return UserList(map(foreign, value)) if isinstance(value, list) else value


def omegaconf(value):
    return pytest.importorskip("omegaconf").OmegaConf.create(value)


@pytest.mark.parametrize("wrap", [foreign, UserDict, omegaconf])
def test_any_mapping_and_any_sequence_is_taken(wrap, tmp_path):
    rules = dict(rules=[dict(match="weight", lr_mult=0.5)])
    cfg = dict(optimizer=dict(SGD, lr=1.0), paramwise_cfg=rules, clip_grad=dict(max_norm=1.0))
    wrapper = build_optim_wrapper(nn.Linear(2, 1), wrap(cfg))
    schedule = wrap(dict(type="MultiStepLR", milestones=[3, 6], by_epoch=False))
    assert list(build_param_scheduler(wrapper, schedule)[0].milestones) == [3, 6]
    assert sorted(wrapper.get_lr()["lr"]) == [0.5, 1.0]
    data = [(torch.ones(2), torch.ones(1)) for _ in range(4)]
    run = dict(optim_wrapper=wrap(cfg), param_scheduler=schedule, train_cfg=wrap(dict(max_epochs=1)))
    loader = torch.utils.data.DataLoader(data)
    runner = Runner(nn.Linear(2, 1), tmp_path, loader, loss=lambda m, b: m(b[0]).mean(), hooks=UserList(), **run)
    assert runner.config["param_scheduler"]["milestones"] == [3, 6]


def test_numbers_of_numpy_become_those_of_python():
    wrapper = build_optim_wrapper(
        nn.Linear(2, 1),
        dict(
            optimizer=dict(type="AdamW", lr=numpy.float64(1e-3), betas=(numpy.float32(0.5), 0.9)),
            accumulative_counts=numpy.int64(2),
        ),
    )
    group = wrapper.optimizer.param_groups[0]
    assert [type(v) for v in (group["lr"], *group["betas"], wrapper._accumulative_counts)] == [float] * 3 + [int]
    assert type(build_optimizer(nn.Linear(2, 1), dict(type="SGD", lr=numpy.float32(0.5))).defaults["lr"]) is float


@pytest.mark.parametrize("name", ["AdamW", "Lion"])
@pytest.mark.parametrize(
    "place",
    [
        lambda betas: dict(optimizer=betas),
        lambda betas: dict(paramwise_cfg=dict(custom_keys={"weight": betas})),
        lambda betas: dict(paramwise_cfg=dict(rules=[dict(match="*weight", **betas)])),
    ],
    ids=["optimizer", "custom_keys", "rules"],
)
def test_arrays_of_numpy_are_lists_and_what_has_no_length_is_told(place, name):
    def build(betas):
        cfg = place(dict(betas=betas))
        cfg["optimizer"] = dict(type=name, lr=0.1, **cfg.get("optimizer", {}))
        return build_optim_wrapper(nn.Linear(2, 1), cfg).optimizer.param_groups[0]["betas"]

    betas = build(numpy.array([0.5, 0.75]))
    assert ([*betas], {*map(type, betas)}) == ([0.5, 0.75], {float})
    for wrong in (torch.tensor(0.5), numpy.array(0.5), numpy.array([0.5])):
        with pytest.raises(ConfigError, match=rf"\.betas: {name} wants 2 numbers"):
            build(wrong)


def test_objects_in_a_config_stay_themselves():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    rate = torch.tensor(0.1)
    copied = plain(dict(optimizer=optimizer, lr=rate, cls=OptimWrapper))
    assert copied["optimizer"] is optimizer
    assert copied["lr"] is rate
    assert copied["cls"] is OptimWrapper


def test_what_is_too_large_or_too_deep_for_a_config_is_refused():
    endless = []
    endless.append(endless)
    doubled = [1]
    for _ in range(20):
        doubled = [doubled, doubled]
    for value, said in ((endless, "too deeply"), (doubled, f"more than {MAX_NODES} values")):
        with pytest.raises(ConfigError, match=said):
            build_optim_wrapper(nn.Linear(2, 1), dict(optimizer=dict(SGD, x=value)))
