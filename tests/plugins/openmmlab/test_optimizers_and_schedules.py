"""LARS, Lamb and OpenMMLab's schedules give the numbers of the originals, which were run on the same inputs."""

import pytest
import torch
from torch import nn

from optimzoo import OPTIMIZERS, OptimWrapper, build_optim_wrapper, build_optimizer, build_param_scheduler
from optimzoo.errors import ConfigError, MissingDependencyError, OptimzooWarning


def trained(name, of_group, arguments):
    """The parameters after four steps from gradients that are written down here."""
    w = nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))
    b, c = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.tensor([0.25, -0.5]))
    groups = [{"params": [w, b]}, {"params": [c], "weight_decay": 0.0, **of_group}]
    optimizer = build_optimizer(groups, dict(type=name, **arguments))
    for step in range(4):
        w.grad = torch.tensor([[1.0, -1.0], [2.0, 0.5]]) * (step + 1)
        b.grad, c.grad = torch.tensor([0.3, -0.1]), torch.tensor([0.2, 0.4 * (step - 1)])
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in (w, b, c)]).tolist()


@pytest.mark.parametrize(
    ("name", "of_group", "arguments", "expected"),
    [
        (
            "mmpretrain.LARS",
            {},
            dict(lr=0.5, momentum=0.9, weight_decay=0.1, eta=0.02),
            [0.8685842, -1.8609419, 0.2486317, 2.9151866, -0.5271425, 0.1757141, 0.2204497, -0.497347],
        ),
        (
            "mmpretrain.LARS",
            dict(lars_exclude=True),
            dict(lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
            [0.9982165, -1.9981188, 0.4965796, 2.9988639, -0.1229111, 0.0409704, 0.007118, -0.596596],
        ),
        (
            "openmmlab.LARS",
            {},
            dict(lr=0.1),
            [0.9993961, -1.999396, 0.4987921, 2.9996977, -0.030009, 0.010003, 0.2498806, -0.5000542],
        ),
        (
            "mmpretrain.LARS",
            dict(lars_exclude=True),
            dict(lr=0.1, momentum=0.5, dampening=0.25, eps=1.0),
            [0.9993798, -1.9993798, 0.4987597, 2.9996901, -0.0562531, 0.018751, 0.14875, -0.53],
        ),
        (
            "Lamb",
            {},
            dict(lr=0.05),
            [0.6480862, -1.6446034, 0.1498272, 2.6411214, -0.0578808, 0.0578797, 0.068097, -0.4044455],
        ),
        (
            "mmpretrain.Lamb",
            {},
            dict(lr=0.05, weight_decay=0.0, max_grad_norm=100.0),
            [0.8058205, -1.8058205, 0.3058204, 2.8058207, -0.1999993, 0.199998, 0.050001, -0.4465521],
        ),
        (
            "Lamb",
            {},
            dict(lr=0.05, always_adapt=True, trust_clip=True, bias_correction=False),
            [0.646311, -1.6454765, 0.1467183, 2.6446617, -0.1829863, 0.1828895, 0.1597647, -0.4581583],
        ),
        (
            "Lamb",
            {},
            dict(lr=0.05, grad_averaging=False, betas=(0.8, 0.9), eps=0.01),
            [0.6450441, -1.6443181, 0.140976, 2.6521337, -0.2675848, 0.2293209, -0.5198483, -0.1064188],
        ),
    ],
)
def test_four_steps_end_where_mmpretrains_do(name, of_group, arguments, expected):
    assert trained(name, of_group, arguments) == pytest.approx(expected, abs=3e-7)


@pytest.mark.parametrize("name", ["Lamb", "mmpretrain.LARS"])
def test_the_gradients_stay_as_they_are(name):
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.full((2,), 5.0)
    build_optimizer([parameter], dict(type=name, lr=0.1)).step()
    assert parameter.grad.tolist() == [5.0, 5.0]


@pytest.mark.parametrize(
    ("name", "arguments", "path"),
    [
        ("mmpretrain.LARS", dict(lr=0.1, nesterov=True), "nesterov"),
        ("mmpretrain.LARS", dict(lr=0.1, momentum=-1), "momentum"),
        ("mmpretrain.LARS", {}, "lr"),
        ("Lamb", dict(max_grad_norm=0), "max_grad_norm"),
        ("Lamb", dict(betas=(0.9, 2.0)), "betas"),
    ],
)
def test_an_argument_out_of_its_range_is_named(name, arguments, path):
    with pytest.raises(ConfigError, match=rf"^optimizer\.{path}|^optimizer: {path}|{path}"):
        build_optimizer(nn.Linear(1, 1), dict(type=name, **arguments))


class TestScopes:
    @pytest.mark.parametrize(("scope", "plugin"), [("mmpretrain", "openmmlab"), ("mmdet", "bitsandbytes")])
    def test_the_mark_of_a_scope_beside_a_name_is_heeded_where_the_scope_has_the_name(self, scope, plugin):
        cls, _ = OPTIMIZERS.resolve(dict(type="LARS", _scope_=scope))
        assert OPTIMIZERS.entry_of(cls).plugin == plugin

    def test_a_config_of_mmpretrain_builds_as_it_is_meant(self):
        cfg = dict(
            optimizer=dict(type="mmpretrain.LARS", lr=4.8, weight_decay=1e-6, momentum=0.9),
            paramwise_cfg=dict(custom_keys={"bias": dict(decay_mult=0, lars_exclude=True)}),
        )
        wrapper = build_optim_wrapper(nn.Linear(2, 1), cfg)
        assert [group.get("lars_exclude") for group in wrapper.optimizer.param_groups] == [None, True]

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of bitsandbytes, at import
    def test_the_other_lars_says_whose_reads_lars_exclude(self):
        rules = dict(custom_keys={"bias": dict(lars_exclude=True)})
        with pytest.warns(OptimzooWarning, match=r"nothing reads it\. mmpretrain\.LARS would read it"):
            build_optim_wrapper(
                nn.Linear(2, 1), dict(optimizer=dict(type="LARS", lr=1.0, momentum=0.9), paramwise_cfg=rules)
            )

    def test_hybrid_adam_says_which_library_it_needs(self):
        with pytest.raises(MissingDependencyError, match="needs the library 'colossalai', .* torch 2.5.1 or older"):
            OPTIMIZERS.get("HybridAdam")


def course(schedule, steps, key="lr"):
    """The values of two groups at each step."""
    groups = [
        dict(params=[nn.Parameter(torch.ones(1))], lr=0.1, weight_decay=0.2),
        dict(params=[nn.Parameter(torch.ones(1))], lr=0.4, weight_decay=0.0),
    ]
    wrapper = OptimWrapper(torch.optim.SGD(groups, lr=0.1))
    scheduler = build_param_scheduler(wrapper, dict(by_epoch=False, **schedule))
    values = []
    for _ in range(steps):
        values.append([group[key] for group in wrapper.optimizer.param_groups])
        scheduler.step(wrapper.update_params(sum(group["params"][0].sum() for group in groups)))
    return values


RATIO = [0.1, 0.1, 0.079470056, 0.058229806, 0.035845713, 0.01, 0.01, 0.01]
STAIRS = [0.1, 0.1, 0.002, 0.02, 0.02, 0.013333333, 0.013333333, 0.006666667, 0.006666667, 0.006666667, 0.006666667]
SIAMESE = [0.1, 0.02, 0.027594593, 0.038073079, 0.052530556, 0.072477966, 0.072477966, 0.072477966]
DOWN = [0.2, 0.2, 0.178033009, 0.125, 0.071966991, 0.05, 0.071966991, 0.071966991, 0.071966991]
UP = [0.2, 0.228647451, 0.303647451, 0.396352549, 0.471352549, 0.5, 0.471352549, 0.396352549, 0.303647451]


@pytest.mark.parametrize(
    ("schedule", "first", "second"),
    [
        (
            dict(type="mmseg.PolyLRRatio", eta_min_ratio=0.1, power=0.9, begin=1, end=6),
            RATIO,
            [4 * value for value in RATIO],
        ),
        (
            dict(type="LinearLrInterval", interval=2, start_factor=0.02, end_factor=0, begin=2, end=9),
            STAIRS,
            [0.4, 0.4, 0.008, *STAIRS[3:]],
        ),
        (
            dict(type="mmtrack.SiamRPNExpLR", start_factor=0.2, end_factor=1.0, begin=1, end=6, endpoint=False),
            SIAMESE,
            [4 * value for value in SIAMESE],
        ),
        (
            dict(type="SiamRPNExpLR", start_factor=1.0, end_factor=0.1, end=5),
            [0.1, 0.056234133, 0.031622777, 0.017782794, 0.01, 0.01],
            [0.4, 0.22493653, 0.126491106, 0.071131176, 0.04, 0.04],
        ),
        (dict(type="CosineAnnealingWeightDecay", T_max=5, eta_min=0.5), UP, [0] * 9),
        (
            dict(type="mmpretrain.CosineAnnealingWeightDecay", T_max=4, eta_min_ratio=0.25, begin=1, end=7),
            DOWN,
            [0] * 9,
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*proportions are lost")
def test_a_schedule_has_the_values_of_the_original(schedule, first, second):
    key = "weight_decay" if "Decay" in schedule["type"] else "lr"
    found = course(schedule, len(first), key)
    assert [value for value, _ in found] == pytest.approx(first, abs=1e-8)
    assert [value for _, value in found] == pytest.approx(second, abs=1e-8)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            dict(mode="min", factor=0.5, patience=1, cooldown=1, min_lr=0.03),
            [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.03, 0.03, 0.03, 0.03],
        ),
        (
            dict(mode="max", factor=0.5, patience=0, threshold_mode="abs", threshold=0.5),
            [0.1, 0.05, 0.025, 0.0125, 0.00625, 0.003125, 0.0015625, 0.00078125, 0.000390625, 0.000390625],
        ),
    ],
)
def test_reduce_lr_reduces_when_mmagics_does(arguments, expected):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    schedule = build_param_scheduler(optimizer, dict(type="ReduceLR", monitor="psnr", **arguments))
    found = []
    for metric in (3.0, 2.0, 2.0, 2.5, 1.9, 1.9, 1.9, 1.9, 1.9, 5.0):
        optimizer.step()
        schedule.step(metrics=dict(psnr=metric))
        found.append(optimizer.param_groups[0]["lr"])
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("schedule", "path"),
    [
        (dict(type="LinearLrInterval", interval=0, end=9), "interval"),
        (dict(type="LinearLrInterval", interval=10, end=9), "interval"),
        (dict(type="SiamRPNExpLR", start_factor=0.0, end=9), "start_factor"),
        (dict(type="SiamRPNExpLR", end_factor=2.0, end=9), "end_factor"),
        (dict(type="SiamRPNExpLR"), "end"),
        (dict(type="ReduceLR", mode="less"), "mode"),
    ],
)
def test_a_mistake_in_a_schedule_is_named(schedule, path):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(ConfigError) as caught:
        build_param_scheduler(optimizer, schedule)
    assert caught.value.path == f"param_scheduler.{path}"
