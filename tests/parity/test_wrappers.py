"""Training through the wrappers gives the numbers of mmengine, and their states are read by one another."""

import copy

import mmengine.optim
import pytest
import torch
from torch import nn

import optimzoo

ITERATIONS = 20
PARAMWISE = dict(norm_decay_mult=0.0, bias_lr_mult=2.0, custom_keys={"0": dict(lr_mult=0.5)})
OPTIMIZERS = [
    dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=0.1),
    dict(type="AdamW", lr=0.01, weight_decay=0.1),
]
X = torch.randn(ITERATIONS, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda cfg: cfg["type"])
each_paramwise = pytest.mark.parametrize("paramwise_cfg", [None, PARAMWISE], ids=["one group", "groups"])


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2)).double()


def build(module, model, optimizer, paramwise_cfg=None, **kwargs):
    return module.build_optim_wrapper(
        model, dict(type="OptimWrapper", optimizer=dict(optimizer), paramwise_cfg=paramwise_cfg, **kwargs)
    )


def train(model, wrapper, iterations):
    for i in iterations:
        with wrapper.optim_context(model):
            loss = model(X[i]).square().mean() * (i + 1)
        wrapper.update_params(loss)


def assert_equal(mine, theirs):
    for (name, ours), oracle in zip(mine.named_parameters(), theirs.parameters()):
        assert torch.allclose(ours, oracle, rtol=0, atol=1e-12), name


@each_optimizer
@each_paramwise
@pytest.mark.parametrize("counts", [1, 3, 4, 7])
@pytest.mark.parametrize(
    "clip_grad",
    [None, dict(max_norm=0.5), dict(max_norm=0.5, norm_type=3.0), dict(type="value", clip_value=0.05)],
    ids=["unclipped", "norm", "norm 3", "value"],
)
def test_training(optimizer, paramwise_cfg, counts, clip_grad):
    models = []
    for module in (optimzoo, mmengine.optim):
        model = network()
        wrapper = build(
            module, model, optimizer, paramwise_cfg, accumulative_counts=counts, clip_grad=copy.deepcopy(clip_grad)
        )
        wrapper.initialize_count_status(model, 0, ITERATIONS)
        train(model, wrapper, range(ITERATIONS))
        models.append(model)
    assert_equal(*models)


@pytest.mark.parametrize("counts", [1, 3, 4])
@pytest.mark.parametrize("max_counts", [-1, 10, 20])
def test_when_gradients_are_used_exchanged_and_weighted(counts, max_counts):
    def course(module):
        parameter = nn.Parameter(torch.ones(1, dtype=torch.float64))
        wrapper = module.OptimWrapper(torch.optim.SGD([parameter], lr=0.1), accumulative_counts=counts)
        wrapper.initialize_count_status(nn.Linear(1, 1), 0, max_counts)
        found = []
        for _ in range(10):
            found.append((wrapper.should_sync(), wrapper.scale_loss(torch.tensor(1.0)).item()))
            wrapper.backward(parameter.sum())
            found.append((wrapper.should_update(), wrapper.inner_count))
        return found

    assert course(optimzoo) == course(mmengine.optim)


@each_optimizer
@each_paramwise
@pytest.mark.parametrize("merge", [True, False])
def test_a_state_of_mmengine_is_resumed(optimizer, paramwise_cfg, merge):
    theirs = network()
    saved = build(mmengine.optim, theirs, optimizer, paramwise_cfg)
    train(theirs, saved, range(10))
    for group in saved.param_groups:
        group["lr"] *= 0.5
    mine = copy.deepcopy(theirs)
    resumed = build(
        optimzoo, mine, {**optimizer, "fused": False}, paramwise_cfg and dict(paramwise_cfg, merge_groups=merge)
    )
    state = copy.deepcopy(saved.state_dict())
    before = list(state)
    resumed.load_state_dict(state)
    assert list(state) == before
    rates = resumed.get_lr()
    assert rates.get("base_lr") == saved.get_lr().get("base_lr")
    assert set(rates["lr"]) == set(saved.get_lr()["lr"])
    train(theirs, saved, range(10, ITERATIONS))
    train(mine, resumed, range(10, ITERATIONS))
    assert_equal(mine, theirs)


@each_optimizer
@each_paramwise
def test_a_state_is_resumed_by_mmengine_under_its_layout(optimizer, paramwise_cfg):
    mine = network()
    cfg = {**optimizer, "fused": False}
    saved = build(optimzoo, mine, cfg, paramwise_cfg and dict(paramwise_cfg, merge_groups=False))
    train(mine, saved, range(10))
    theirs = copy.deepcopy(mine)
    resumed = build(mmengine.optim, theirs, optimizer, paramwise_cfg)
    resumed.load_state_dict(copy.deepcopy(saved.state_dict()))
    assert resumed.get_lr() == saved.get_lr()
    train(mine, saved, range(10, ITERATIONS))
    train(theirs, resumed, range(10, ITERATIONS))
    assert_equal(mine, theirs)


@each_paramwise
def test_what_is_logged_and_printed(paramwise_cfg):
    ours, oracle = (build(m, network(), OPTIMIZERS[0], paramwise_cfg) for m in (optimzoo, mmengine.optim))
    if paramwise_cfg is None:
        assert (ours.get_lr(), ours.get_momentum()) == (oracle.get_lr(), oracle.get_momentum())
    assert ours.get_lr().keys() == oracle.get_lr().keys()
    assert set(ours.get_lr()["lr"]) == set(oracle.get_lr()["lr"])
    assert repr(ours).splitlines()[:3] == repr(oracle).splitlines()[:3]


def test_several_optimizers():
    def pair(module):
        torch.manual_seed(0)
        wrappers = {
            name: module.OptimWrapper(torch.optim.Adam(network().parameters(), lr=lr, betas=(0.8, 0.9)))
            for name, lr in (("generator", 0.1), ("discriminator", 0.4))
        }
        return module.OptimWrapperDict(**wrappers)

    ours, oracle = pair(optimzoo), pair(mmengine.optim)
    assert ours.get_lr() == oracle.get_lr()
    assert ours.get_momentum() == oracle.get_momentum()
    assert list(ours.state_dict()) == list(oracle.state_dict())
    assert list(ours.param_groups) == list(oracle.param_groups)
    ours.load_state_dict(oracle.state_dict())
    assert (len(ours), "generator" in ours, list(ours.keys())) == (
        len(oracle),
        "generator" in oracle,
        list(oracle.keys()),
    )
