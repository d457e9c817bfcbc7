"""An update by weighted losses is that of the mean over all samples of its window."""

import copy
import math

import pytest
import torch
from torch import nn

from optimzoo import StepOutcome, build_optim_wrapper
from optimzoo.errors import OptimzooError

SIZES = [4, 5, 2, 7, 1, 4, 4, 3, 10, 2]
BATCHES = torch.randn(sum(SIZES), 3, generator=torch.Generator().manual_seed(0)).split(SIZES)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def train(model, batches, weight=None, counts=1, **kwargs):
    cfg = dict(optimizer=dict(type="SGD", lr=0.5, momentum=0.9), accumulative_counts=counts, **kwargs)
    wrapper = build_optim_wrapper(model, cfg)
    wrapper.initialize_count_status(model, 0, len(batches))
    outcomes = []
    for x in batches:
        loss = model(x).square().mean()  # outside of the context, whose autocast would round
        outcomes.append(wrapper.update_params(loss, **({} if weight is None else dict(weight=weight(len(x))))))
    return wrapper, outcomes


def assert_close(mine, theirs, atol):
    for (name, ours), other in zip(mine.named_parameters(), theirs.parameters()):
        assert torch.allclose(ours, other, rtol=0, atol=atol), name


@pytest.mark.parametrize("counts", [1, 2, 3, 4, 7])
@pytest.mark.parametrize(
    "weight", [int, float, torch.tensor, lambda n: n / 1000], ids=["int", "float", "tensor", "share"]
)
@pytest.mark.parametrize("clip_grad", [None, dict(max_norm=0.1)], ids=["unclipped", "clipped"])
def test_it_equals_the_update_by_the_joined_batches_the_remainder_included(counts, weight, clip_grad):
    model, twin = network(), network()
    wrapper, outcomes = train(model, BATCHES, weight, counts, clip_grad=clip_grad)
    joined = [torch.cat(BATCHES[start : start + counts]) for start in range(0, len(BATCHES), counts)]
    train(twin, joined, clip_grad=clip_grad)
    assert_close(model, twin, 1e-5)
    assert outcomes.count(StepOutcome.UPDATED) == wrapper.update_count == math.ceil(len(BATCHES) / counts)


@pytest.mark.parametrize("scale", ["dynamic", 1024.0])
def test_so_it_does_under_a_loss_scale(scale):
    model, twin = network(), network()
    train(model, BATCHES, lambda n: n * 4096, 3, type="AmpOptimWrapper", dtype="float16", loss_scale=scale)
    joined = [torch.cat(BATCHES[start : start + 3]) for start in range(0, len(BATCHES), 3)]
    train(twin, joined)
    assert_close(model, twin, 1e-5)


def test_equal_weights_are_no_weights_to_the_bit():
    model, twin = network(), network()
    train(model, BATCHES[:1] * 6, lambda n: 4096, 3)
    train(twin, BATCHES[:1] * 6, None, 3)
    assert_close(model, twin, 0)


def test_a_batch_of_no_weight_changes_nothing_wherever_it_stands():
    for empty in range(3):
        model, twin = network(), network()
        train(model, BATCHES[:3], lambda n, empty=empty: 0 if n == len(BATCHES[empty]) else n, 3)
        train(twin, [x for x in BATCHES[:3] if len(x) != len(BATCHES[empty])], int, 2)
        assert_close(model, twin, 1e-6)


@pytest.mark.parametrize("wrong", [-1, math.inf, math.nan, "many", True])
def test_what_is_no_weight_is_refused(wrong):
    with pytest.raises(OptimzooError, match="a weight is the number of samples or tokens"):
        train(network(), BATCHES, lambda n: wrong)


def test_weights_that_add_up_to_nothing_are_refused():
    with pytest.raises(OptimzooError, match="add up to 0"):
        train(network(), BATCHES, lambda n: 0, 2)


@pytest.mark.parametrize("order", [(None, 1), (1, None)])
def test_some_losses_with_a_weight_and_some_without_are_refused(order):
    weights = iter(order)
    with pytest.raises(OptimzooError, match="all have a weight, or none"):
        train(network(), BATCHES, lambda n: next(weights), 2)


def test_a_window_that_is_resumed_keeps_its_weights():
    model = network()
    cfg = dict(optimizer=dict(type="SGD", lr=0.5), accumulative_counts=3)
    wrapper = build_optim_wrapper(model, cfg)

    def update(model, wrapper, x):
        return wrapper.update_params(model(x).square().mean(), weight=len(x))

    for x in BATCHES[:2]:
        update(model, wrapper, x)
    twin, state = copy.deepcopy(model), copy.deepcopy(wrapper.state_dict())
    for mine, theirs in zip(twin.parameters(), model.parameters()):
        mine.grad = theirs.grad.clone()
    resumed = build_optim_wrapper(twin, cfg)
    resumed.load_state_dict(state)
    assert update(model, wrapper, BATCHES[2]) is update(twin, resumed, BATCHES[2]) is StepOutcome.UPDATED
    assert_close(model, twin, 0)
