"""A wrapper trained by hand in several processes, with the exchanges of gradients counted."""

import torch
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from optimzoo import build_optim_wrapper

ITERATIONS, COUNTS = 7, 3
UPDATES = 3
X = torch.randn(ITERATIONS, 8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
CFG = dict(
    optimizer=dict(type="AdamW", lr=0.1),
    paramwise_cfg=dict(bias_decay_mult=0.0),
    clip_grad=dict(max_norm=0.1),
    accumulative_counts=COUNTS,
    nonfinite="raise",
)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def train(model, parts=slice(None), weighted=False):
    """Train on a part of every batch, and return the norm of each update's gradient."""
    wrapper = build_optim_wrapper(model, CFG)
    wrapper.initialize_count_status(model, 0, ITERATIONS)
    norms = []
    for number, x in enumerate(X):
        part = x[parts(number) if weighted else parts]
        with wrapper.optim_context(model):
            loss = model(part).square().mean()
        wrapper.update_params(loss, weight=len(part) if weighted else None)
        norms.append(wrapper.grad_norm)
    assert wrapper.update_count == UPDATES
    return norms


def own_part():
    rank = torch.distributed.get_rank()
    return slice(rank, None, torch.distributed.get_world_size())


def uneven_part(number):
    """Between 1 and 7 of the 8 rows, and the others."""
    rows = 1 + number * 3 % 7
    return slice(rows) if torch.distributed.get_rank() == 0 else slice(rows, None)


def with_weights(folder):
    inner = network()
    norms = train(DistributedDataParallel(inner), uneven_part, weighted=True)
    torch.save((inner.state_dict(), norms), f"{folder}/with_weights-{torch.distributed.get_rank()}.pt")


def with_sharded_weights(folder):
    model = network()
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    norms = train(model, uneven_part, weighted=True)
    whole = {name: value.full_tensor() for name, value in model.state_dict().items()}
    torch.save((whole, norms), f"{folder}/with_sharded_weights-{torch.distributed.get_rank()}.pt")


def with_ddp(folder):
    inner, reductions = network(), []
    model = DistributedDataParallel(inner)

    def count(state, bucket):
        reductions.append(bucket.index())
        return allreduce_hook(state, bucket)

    model.register_comm_hook(None, count)
    norms = train(model, own_part())
    assert len(reductions) == UPDATES, reductions
    torch.save((inner.state_dict(), norms), f"{folder}/with_ddp-{torch.distributed.get_rank()}.pt")


def clipped_by_the_largest(sharded=False):
    """Train a model with a parameter of one number, of which one of two processes has no share."""
    model = network().append(nn.Linear(2, 1)).double()
    if sharded:
        fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    wrapper = build_optim_wrapper(
        model, dict(optimizer=dict(type="SGD", lr=0.1), clip_grad=dict(max_norm=0.1, norm_type="inf"))
    )
    norms = []
    for x in X:
        wrapper.update_params(model(x).square().mean())
        norms.append(wrapper.grad_norm)
    whole = {name: getattr(p, "full_tensor", lambda p=p: p)().detach() for name, p in model.named_parameters()}
    return whole, norms


def with_a_share_of_nothing(folder):
    torch.save(clipped_by_the_largest(sharded=True), f"{folder}/largest-{torch.distributed.get_rank()}.pt")


class Reductions(TorchDispatchMode):
    """Notes every exchange of sharded gradients."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "reduce_scatter" in str(func):
            self.seen.append(func)
        return func(*args, **(kwargs or {}))


def with_fsdp2(folder):
    model = network()
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    model(X[0])  # which leaves the root gathered, as an evaluation does
    with Reductions() as reductions:
        norms = train(model, own_part())
    assert len(reductions.seen) == UPDATES, reductions.seen
    whole = {name: value.full_tensor() for name, value in model.state_dict().items()}
    torch.save((whole, norms), f"{folder}/with_fsdp2-{torch.distributed.get_rank()}.pt")


def with_an_overflow_on_one_rank(folder):
    model = network().float()
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    cfg = dict(type="AmpOptimWrapper", dtype="float16", use_fsdp=True, loss_scale=dict(init_scale=64.0))
    wrapper = build_optim_wrapper(model, {**CFG, **cfg, "accumulative_counts": 1})
    outcomes = []
    for factor in (1.0, torch.inf if torch.distributed.get_rank() else 1.0, 1.0):
        with wrapper.optim_context(model):
            loss = model(X[0].float()).float().square().mean()
        outcomes.append(wrapper.update_params(loss * factor).value)
    torch.save((outcomes, wrapper.loss_scaler.get_scale()), f"{folder}/overflow-{torch.distributed.get_rank()}.pt")
