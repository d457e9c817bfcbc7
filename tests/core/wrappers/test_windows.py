"""Windows of accumulation: which iterations make an update, and how each of their losses counts."""

import contextlib
import copy

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, StepOutcome
from optimzoo.errors import OptimzooError, OptimzooWarning


@pytest.fixture
def linear():
    model = nn.Linear(2, 1, bias=False)
    nn.init.ones_(model.weight)
    return model


def sgd(model, **kwargs):
    return OptimWrapper(torch.optim.SGD(model.named_parameters(), lr=0.1), **kwargs)


def batches(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, 2, generator=generator) for _ in range(count)]


def test_its_updates_equal_those_of_the_joined_batches_the_remainder_included(linear):
    twin, xs = copy.deepcopy(linear), batches(7)
    wrapper = sgd(linear, accumulative_counts=3)
    wrapper.initialize_count_status(linear, 0, 7)
    outcomes = [wrapper.update_params(linear(x).square().mean()) for x in xs]
    big = sgd(twin)
    for part in (xs[:3], xs[3:6], xs[6:]):
        big.update_params(twin(torch.cat(part)).square().mean())
    assert torch.allclose(linear.weight, twin.weight, atol=1e-7)
    assert [o is StepOutcome.UPDATED for o in outcomes] == [False, False, True, False, False, True, True]
    assert wrapper.update_count == 3


@pytest.mark.parametrize("length", [2, 3])
def test_going_past_the_end_that_it_was_told_of_is_an_error(length, linear):
    wrapper = sgd(linear, accumulative_counts=2)
    wrapper.initialize_count_status(linear, 0, length)
    for _ in range(length):
        wrapper.update_params(linear(torch.ones(1, 2)).sum())
    with pytest.raises(OptimzooError, match=f"iteration {length + 1} is past the end, {length}"):
        wrapper.update_params(linear(torch.ones(1, 2)).sum())


@pytest.mark.parametrize("loaded", [False, True])
def test_a_run_that_is_made_longer_begins_with_a_whole_window(loaded, linear, caplog):
    twin, xs = copy.deepcopy(linear), batches(12)
    wrapper = sgd(linear, accumulative_counts=4)
    for begin, stop, length in ((0, 6, 6), (6, 8, 12), (8, 12, 12)):
        if loaded:
            saved, wrapper = wrapper.state_dict(), sgd(linear, accumulative_counts=4)
            wrapper.load_state_dict(saved)
        wrapper.initialize_count_status(linear, begin, length)
        for x in xs[begin:stop]:
            wrapper.update_params(linear(x).square().mean())
    big = sgd(twin)
    for part in (xs[:4], xs[4:6], xs[6:10], xs[10:]):
        big.update_params(twin(torch.cat(part)).square().mean())
    assert torch.allclose(linear.weight, twin.weight, atol=1e-7)
    assert not caplog.records


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loaded", [None, "before it is told the length", "afterwards"])
@pytest.mark.parametrize(("length", "done", "then", "windows"), [(6, 5, 8, (4, 4)), (8, 5, 7, (4, 3))])
def test_a_length_that_changes_inside_a_window_leaves_its_losses_alike(
    length, done, then, windows, loaded, weighted, linear
):
    twin, xs = copy.deepcopy(linear), batches(then)
    weights = [float(1 + i) if weighted else None for i in range(then)]
    wrapper = sgd(linear, accumulative_counts=4)
    wrapper.initialize_count_status(linear, 0, length)
    for i in range(done):
        wrapper.update_params(linear(xs[i]).square().mean(), weight=weights[i])
    if loaded:
        saved, wrapper = wrapper.state_dict(), sgd(linear, accumulative_counts=4)
        if loaded == "afterwards":
            wrapper.initialize_count_status(linear, 0, then)
        wrapper.load_state_dict(saved)
    if loaded != "afterwards":
        wrapper.initialize_count_status(linear, done, then)
    for i in range(done, then):
        wrapper.update_params(linear(xs[i]).square().mean(), weight=weights[i])
    big, first = sgd(twin), 0
    for count in windows:
        shares = torch.tensor([weights[i] or 1.0 for i in range(first, first + count)])
        losses = torch.stack([twin(x).square().mean() for x in xs[first : first + count]])
        big.update_params((losses * shares).sum() / shares.sum())
        first += count
    assert torch.allclose(linear.weight, twin.weight, atol=1e-7)


@pytest.mark.parametrize(("saved_with", "done"), [(4, 4), (1, 4), (4, 6)])
def test_with_another_count_the_next_window_begins_where_the_run_is(saved_with, done, linear):
    before = sgd(linear, accumulative_counts=saved_with)
    for x in batches(done):
        before.update_params(linear(x).square().mean())
    after = sgd(linear, accumulative_counts=3)
    told = pytest.warns(OptimzooWarning, match="was 4 and is 3: the gradients of the 2 iterations in a window")
    with told if done == 6 else contextlib.nullcontext():
        after.load_state_dict(before.state_dict())
    linear.zero_grad()  # which a later process would not have
    twin, xs = copy.deepcopy(linear), batches(3, seed=1)
    outcomes = [after.update_params(linear(x).square().mean()).value for x in xs]
    assert outcomes == ["accumulating", "accumulating", "updated"]
    sgd(twin).update_params(twin(torch.cat(xs)).square().mean())
    assert torch.allclose(linear.weight, twin.weight, atol=1e-7)


def test_gradients_are_exchanged_only_in_the_iteration_that_updates(linear):
    entered = []

    class Distributed(nn.Module):
        def no_sync(self):
            entered.append(wrapper.inner_count)
            return torch.no_grad()

    wrapper = sgd(linear, accumulative_counts=3)
    for _ in range(6):
        with wrapper.optim_context(Distributed()):
            pass
        wrapper.update_params(linear(torch.ones(1, 2)).sum())
    assert entered == [0, 1, 3, 4]


def test_sharded_models_are_told_before_each_backward_pass(linear):
    told = []

    class Sharded(nn.Module):
        def set_requires_gradient_sync(self, value):
            told.append(value)

    wrapper = sgd(linear, accumulative_counts=2)
    wrapper.initialize_count_status(linear, 0, 3)
    for _ in range(3):
        with wrapper.optim_context(Sharded()):
            pass
        wrapper.update_params(linear(torch.ones(1, 2)).sum())
    assert told == [False, True, True]


def test_batch_norm_and_a_broken_window_are_pointed_out(model, caplog):
    sgd(model, accumulative_counts=2).initialize_count_status(model, 3, 10)
    assert "resumed inside an accumulation window" in caplog.text
    assert "the model has batch norm" in caplog.text


@pytest.mark.parametrize("kept", [False, True])
def test_a_state_from_inside_a_window_wants_its_gradients(kept, linear):
    first, second = batches(2)
    wrapper = sgd(linear, accumulative_counts=2)
    wrapper.update_params(linear(first).square().mean())
    other = copy.deepcopy(linear)
    other.weight.grad = linear.weight.grad.clone() if kept else None
    resumed = sgd(other, accumulative_counts=2)
    resumed.load_state_dict(wrapper.state_dict())
    told = contextlib.nullcontext() if kept else pytest.warns(OptimzooWarning, match="first gradients are lost")
    with told:
        outcome = resumed.update_params(other(second).square().mean())
    assert outcome is StepOutcome.UPDATED
    wrapper.update_params(linear(second).square().mean())
    assert torch.equal(linear.weight, other.weight) is kept
