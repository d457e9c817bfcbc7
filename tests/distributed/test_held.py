"""What FSDP2 and DDP keep of gradients between exchanges belongs to its window, as in one process without them."""

import warnings

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from optimzoo import build_optim_wrapper
from optimzoo.errors import ConfigError, OptimzooWarning
from optimzoo.transplant import convert_state

X = torch.linspace(-1, 2, 36).view(12, 3)
ROWS = X.split(1)
SGD = dict(type="SGD", lr=0.1, momentum=0.9, fused=False)
LOW = MixedPrecisionPolicy(param_dtype=torch.float32, reduce_dtype=torch.float64)
"""With which FSDP2 keeps the gradients that it has not exchanged in another place."""


@pytest.fixture(autouse=True)
def _group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def shard(model, **kwargs):
    return fully_shard(model, mesh=init_device_mesh("cpu", (1,)), **kwargs)


def weights(model):
    return [getattr(p, "full_tensor", lambda p=p: p)().detach().clone() for p in model.state_dict().values()]


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))


def train(wrapper, model, batches):
    for batch in batches:
        with wrapper.optim_context(model):
            loss = model(batch).square().mean()
        wrapper.update_params(loss)


class Pair(nn.Module):
    """Two members, which a loss may use one of, or both."""

    def __init__(self):
        super().__init__()
        self.g, self.d = linear(), linear()

    def forward(self, x, which):
        x = self.g(x) if "g" in which else x
        return (self.d(x) if "d" in which else x).square().mean()


def trained_in_turn(around, counts, turns):
    torch.manual_seed(0)
    inner = Pair()
    model = around(inner)
    cfg = {n: dict(optimizer=SGD, accumulative_counts=c) for n, c in zip("gd", counts)}
    wrappers = build_optim_wrapper(inner if around is DistributedDataParallel else model, cfg)
    for row in ROWS:
        for name, which in turns:
            with wrappers[name].optim_context(model):
                loss = model(row, which)
            wrappers[name].update_params(loss)
    return weights(inner)


@pytest.mark.parametrize("turns", [[("g", "g"), ("d", "d")], [("g", "gd"), ("d", "gd")], [("d", "gd"), ("g", "gd")]])
@pytest.mark.parametrize("counts", [(1, 1), (2, 2), (2, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize(
    "around", [shard, lambda model: DistributedDataParallel(model, find_unused_parameters=True)], ids=["fsdp2", "ddp"]
)
def test_members_with_losses_of_their_own_accumulate_as_without(around, counts, turns):
    alone = trained_in_turn(lambda model: model, counts, turns)
    assert all(map(torch.allclose, trained_in_turn(around, counts, turns), alone))


@pytest.mark.parametrize("policy", [MixedPrecisionPolicy(), LOW])
@pytest.mark.parametrize("leave", ["a new run", "a state of before", "another wrapper", "another that does not wait"])
def test_a_window_that_is_left_before_its_end_leaves_nothing(leave, policy):
    model = shard(linear(), mp_policy=policy)
    before = weights(model)
    wrapper = build_optim_wrapper(model, dict(optimizer=SGD, accumulative_counts=2))
    start = wrapper.state_dict()
    train(wrapper, model, [1e3 * X])
    if leave == "a new run":
        wrapper.initialize_count_status(model, 0, -1)
    elif leave == "a state of before":
        wrapper.load_state_dict(start)
    else:
        counts = 2 if leave == "another wrapper" else 1
        wrapper = build_optim_wrapper(model, dict(optimizer=SGD, accumulative_counts=counts))
    other = linear()
    alone = build_optim_wrapper(other, dict(optimizer=SGD, accumulative_counts=wrapper._accumulative_counts))
    train(alone, other, ROWS[:2])
    with pytest.warns(OptimzooWarning, match="4 parameters had gradients of a window .* that was left before its end"):
        train(wrapper, model, ROWS[:2])
    assert all(map(torch.allclose, weights(model), weights(other)))
    assert not torch.equal(weights(model)[0], before[0])


def test_a_window_that_is_full_leaves_nothing_to_tell():
    model = shard(linear())
    wrapper = build_optim_wrapper(model, dict(optimizer=SGD, accumulative_counts=3))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        train(wrapper, model, ROWS)
    assert (wrapper.update_count, told) == (4, [])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method")
@pytest.mark.parametrize("foreach", [False, True])
def test_a_compiled_step_is_told_not_to_be_one_and_is_right(foreach):
    found = []
    for around, compiled in ((shard, True), (lambda model: model, False)):
        model = around(linear())
        optimizer = dict(SGD, foreach=foreach)
        wrapper = build_optim_wrapper(model, dict(optimizer=optimizer, flatten=True, compile=compiled))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            train(wrapper, model, ROWS)
        assert any("it goes on uncompiled" in str(each.message) for each in told) is compiled
        found.append(weights(model))
    assert all(map(torch.allclose, *found))


def test_a_state_for_shares_is_not_converted():
    model = shard(linear())
    wrapper = build_optim_wrapper(model, dict(optimizer=SGD))
    with pytest.raises(ConfigError, match="optim_wrapper: its parameters are shares of FSDP2's"):
        convert_state(wrapper, model, wrapper.state_dict())
