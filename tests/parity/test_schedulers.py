"""Schedules give the numbers of mmengine at every step."""

import mmengine.optim
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import optimzoo.schedulers
from optimzoo import build_param_scheduler

EPOCH = 5
STEPS = 60

window = st.builds(lambda begin, length: dict(begin=begin, end=begin + length), st.integers(0, 12), st.integers(2, 30))
fractions = st.floats(0.01, 1)
curves = st.one_of(
    st.tuples(st.just("Constant"), st.fixed_dictionaries({"factor": fractions})),
    st.tuples(st.just("Linear"), st.fixed_dictionaries({"start_factor": fractions, "end_factor": fractions})),
    st.tuples(
        st.just("MultiStep"),
        st.fixed_dictionaries({"milestones": st.lists(st.integers(1, 30), max_size=4), "gamma": fractions}),
    ),
    st.tuples(
        st.just("CosineAnnealing"),
        st.one_of(
            st.fixed_dictionaries({"T_max": st.integers(2, 30), "eta_min": st.floats(0, 0.01)}),
            st.fixed_dictionaries({"T_max": st.integers(2, 30), "eta_min_ratio": st.floats(0, 0.5)}),
            st.just({}),
        ),
    ),
)
schedules = st.lists(st.tuples(curves, window, st.booleans()), min_size=1, max_size=4)
values = st.lists(st.floats(1e-4, 1), min_size=1, max_size=5)


def optimizer_of(values, cls=torch.optim.SGD):
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": v, "momentum": v / 2, "weight_decay": v} for v in values]
    return cls(groups, lr=values[0])


def course(optimizer, schedulers, key):
    """The values of every group before each step: iterations, and an epoch after every few of them."""
    found = []
    for step in range(STEPS):
        found.append([group[key] for group in optimizer.param_groups])
        optimizer.step()
        for scheduler in schedulers:
            if not scheduler.by_epoch:
                scheduler.step()
        if (step + 1) % EPOCH == 0:
            for scheduler in schedulers:
                if scheduler.by_epoch:
                    scheduler.step()
    return found


FAMILIES = {
    "LR": ("lr", {}),
    "Momentum": ("momentum", {}),
    "ParamScheduler": ("weight_decay", {"param_name": "weight_decay"}),
}


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=120, deadline=None)
@given(schedules=schedules, values=values)
def test_any_chain_of_schedules_on_any_groups(family, schedules, values):
    key, extra = FAMILIES[family]
    mine, theirs = optimizer_of(values), optimizer_of(values)
    built_mine, built_theirs = [], []
    for (curve, arguments), window, by_epoch in schedules:
        keywords = {**extra, **arguments, **window, "by_epoch": by_epoch}
        built_mine.append(getattr(optimzoo.schedulers, curve + family)(mine, **keywords))
        built_theirs.append(getattr(mmengine.optim, curve + family)(theirs, **keywords))
    for step, (ours, oracle) in enumerate(zip(course(mine, built_mine, key), course(theirs, built_theirs, key))):
        assert ours == pytest.approx(oracle, rel=1e-9, abs=1e-15), f"step {step}"
    if all(curve in ("Constant", "MultiStep") for (curve, _), _, _ in schedules):
        assert [g[key] for g in mine.param_groups] == [g[key] for g in theirs.param_groups]


@settings(max_examples=100, deadline=None)
@given(schedules=schedules, values=values)
def test_epochs_turned_into_iterations(schedules, values):
    mine, theirs = optimizer_of(values), optimizer_of(values)
    built_mine, built_theirs = [], []
    for (curve, arguments), window, _ in schedules:
        cfg = {"type": f"{curve}LR", **arguments, **window, "convert_to_iter_based": True}
        built_mine += build_param_scheduler(mine, cfg, epoch_length=EPOCH)
        cls = getattr(mmengine.optim, f"{curve}LR")
        built_theirs.append(cls.build_iter_from_epoch(theirs, **arguments, **window, epoch_length=EPOCH))
    for ours, oracle in zip(course(mine, built_mine, "lr"), course(theirs, built_theirs, "lr")):
        assert ours == pytest.approx(oracle, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("last_step", [0, 3, 7])
def test_resuming_by_last_step_alone(last_step):
    found = []
    for module in (optimzoo.schedulers, mmengine.optim):
        optimizer = optimizer_of([0.5])
        first = module.LinearLR(optimizer, start_factor=0.1, end=10)
        for _ in range(last_step):
            optimizer.step()
            first.step()
        second = module.LinearLR(optimizer, start_factor=0.1, end=10, last_step=last_step)
        found.append(course(optimizer, [second], "lr"))
    for ours, oracle in zip(*found):
        assert ours == pytest.approx(oracle, rel=1e-12)


def test_the_first_beta_of_adam_is_its_momentum():
    found = []
    for module in (optimzoo.schedulers, mmengine.optim):
        optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], betas=(0.8, 0.9))
        found.append(course(optimizer, [module.CosineAnnealingMomentum(optimizer, T_max=7, eta_min=0.5)], "betas"))
    ours, oracle = ([groups[0] for groups in side] for side in found)
    assert [b[0] for b in ours] == pytest.approx([b[0] for b in oracle], rel=1e-12)
    assert {b[1] for b in ours} == {0.9}
