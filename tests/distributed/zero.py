"""ZeRO trained beside the optimizer that it shards."""

import copy
import warnings

import torch
from torch import nn

from optimzoo import build_optim_wrapper, build_optimizer, build_param_scheduler

CFG = dict(type="ZeroRedundancyOptimizer", optimizer_type="Lion", lr=0.01, weight_decay=0.1)
X = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))


def build(model, optimizer):
    return build_optim_wrapper(model, dict(optimizer=optimizer, paramwise_cfg=dict(bias_lr_mult=2.0)))


def with_heads():
    torch.manual_seed(0)
    mine = nn.Linear(16, 48, bias=False)
    theirs = copy.deepcopy(mine)
    for model, kind in (
        (mine, dict(CFG, optimizer_type="Muon")),
        (theirs, dict(type="Muon", lr=0.01, weight_decay=0.1)),
    ):
        rules = dict(rules=[dict(match="weight", num_heads=6)])
        wrapper = build_optim_wrapper(model, dict(optimizer=kind, paramwise_cfg=rules))
        wrapper.update_params(model(torch.ones(1, 16)).square().mean())
    assert torch.equal(mine.weight, theirs.weight)


def with_gradients_that_come_later():
    mine = [nn.Parameter(torch.ones(8)) for _ in range(4)]
    theirs = copy.deepcopy(mine)
    sgd = dict(lr=0.1, momentum=0.9, fused=True)
    fused = build_optimizer(mine, dict(type="ZeroRedundancyOptimizer", optimizer_type="SGD", **sgd))
    plain = build_optimizer(theirs, dict(type="SGD", **sgd))
    for update in range(3):
        for params, optimizer in ((mine, fused), (theirs, plain)):
            for number, parameter in enumerate(params):
                parameter.grad = torch.ones(8) if update >= number - 1 else None
            optimizer.step()
    for ours, oracle in zip(mine, theirs):
        assert torch.equal(ours, oracle)


def of_a_class_that_keeps_more_than_states():
    kind = dict(type="ZeroRedundancyOptimizer", optimizer_type="pytorch_optimizer.StableSPAM", lr=0.01)
    optimizer = build_optimizer(nn.Linear(3, 2), kind)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        optimizer.state_dict()
    assert "total_step of StableSPAM are not saved" in "".join(str(each.message) for each in told)


def with_a_schedule_of_the_betas():
    """A key that the config does not set is there before the first step."""
    mine = nn.Linear(3, 2)
    theirs = copy.deepcopy(mine)
    for model, kind in (
        (mine, dict(type="ZeroRedundancyOptimizer", optimizer_type="AdamW")),
        (theirs, dict(type="AdamW")),
    ):
        wrapper = build_optim_wrapper(model, dict(optimizer=kind))
        schedules = build_param_scheduler(
            wrapper,
            [
                dict(type="ExponentialMomentum", gamma=0.5, by="update"),
                dict(type="LinearLR", start_factor=0.1, by="update", end=3),
            ],
        )
        for _ in range(4):
            schedules.step(wrapper.update_params(model(X).square().mean()))
        assert wrapper.get_momentum()["momentum"] == [0.9 / 16]
    assert all(map(torch.equal, mine.parameters(), theirs.parameters()))


def sharded(folder):
    torch.manual_seed(0)
    mine = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    theirs = copy.deepcopy(mine)
    pairs = [(mine, build(mine, CFG)), (theirs, build(theirs, dict(type="Lion", lr=0.01, weight_decay=0.1)))]

    def train():
        for model, wrapper in pairs:
            for _ in range(3):
                wrapper.update_params(model(X).square().mean())
        for ours, oracle in zip(mine.parameters(), theirs.parameters()):
            assert torch.equal(ours, oracle)

    train()
    assert len(pairs[0][1].optimizer.optim.state) < 4
    saved = [pairs[0][1].optimizer.state_dict()]
    assert (saved[0] == {}) is (torch.distributed.get_rank() > 0)
    torch.distributed.broadcast_object_list(saved, 0)
    pairs[0] = (mine, build(mine, CFG))
    pairs[0][1].load_state_dict(saved[0])
    train()
    with_heads()
    with_gradients_that_come_later()
    with_a_schedule_of_the_betas()
    of_a_class_that_keeps_more_than_states()
    (folder / "zero-equals").touch()
