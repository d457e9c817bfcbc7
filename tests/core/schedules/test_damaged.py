"""A state that is damaged is refused by the name and the value of what is wrong with it, and nothing has changed."""

import copy
import math

import pytest
import torch
from torch import nn

from optimzoo import build_param_scheduler
from optimzoo.errors import CheckpointError
from optimzoo.schedules import LinearLR, OneCycleLR, ReduceOnPlateauLR, SequenceLR

MISSING = object()


def sgd(*lrs):
    return torch.optim.SGD([{"params": nn.Parameter(torch.zeros(1)), "lr": lr} for lr in lrs or (1.0, 0.5)], lr=1.0)


def changed(state, key, value):
    state = copy.deepcopy(state)
    if value is MISSING:
        del state[key]
    else:
        state[key] = value
    return state


def all_of(optimizer, schedule):
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    return copy.deepcopy((groups, schedule.state_dict()))


INNER = dict(type="Sequence", curves=[dict(type="Step", step_size=2, steps=3), dict(type="Exponential", gamma=0.9)])
SINGLE = {
    "LinearLR": lambda optimizer: LinearLR(optimizer, 0.1, end=9),
    "OneCycleLR": lambda optimizer: OneCycleLR(optimizer, eta_max=[1.0, 2.0], total_steps=9),
    "ReduceOnPlateauLR": ReduceOnPlateauLR,
    "SequenceLR": lambda optimizer: SequenceLR(optimizer, [dict(type="Linear", steps=3), INNER]),
}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("key", ["last_step", "_global_step", "pending"])
@pytest.mark.parametrize("value", [-5, 10**30, None, "3", math.nan, 1.5, [1], True, MISSING])
def test_a_counter_that_is_none_is_refused_by_name(name, key, value):
    optimizer = sgd()
    schedule = SINGLE[name](optimizer)
    before = all_of(optimizer, schedule)
    with pytest.raises(CheckpointError, match=f"the state of {name} is damaged: {key}: ") as caught:
        schedule.load_state_dict(changed(schedule.state_dict(), key, value))
    assert value is MISSING or str(value) in str(caught.value)
    assert all_of(optimizer, schedule) == before


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("LinearLR", "type", 3),
        ("LinearLR", "args", [1]),
        ("LinearLR", "args", {1: 2}),
        ("LinearLR", "_last_value", ["x", 1.0]),
        ("LinearLR", "_last_value", [math.nan, 1.0]),
        ("LinearLR", "_before_zero", 3),
        ("OneCycleLR", "_tops", [None, 1.0]),
        ("ReduceOnPlateauLR", "best", "x"),
        ("ReduceOnPlateauLR", "num_bad_epochs", -1),
        ("ReduceOnPlateauLR", "cooldown_counter", 0.5),
        ("SequenceLR", "schedules", MISSING),
        ("SequenceLR", "schedules", [None, None]),
        ("SequenceLR", "schedules", []),
    ],
)
def test_so_is_any_other_value(name, key, value):
    optimizer = sgd()
    schedule = SINGLE[name](optimizer)
    if name == "ReduceOnPlateauLR":
        schedule.step({"loss": 1.0})
    before = all_of(optimizer, schedule)
    with pytest.raises(CheckpointError, match=f"is damaged: {key}"):
        schedule.load_state_dict(changed(schedule.state_dict(), key, value))
    assert all_of(optimizer, schedule) == before


def test_a_counter_deep_in_a_sequence_is_named_with_its_place():
    schedule = SINGLE["SequenceLR"](sgd())
    state = copy.deepcopy(schedule.state_dict())
    state["schedules"][1]["schedules"][0]["last_step"] = None
    with pytest.raises(CheckpointError, match=r"schedules\[1\]\.schedules\[0\]\.last_step: .* got None"):
        schedule.load_state_dict(state)


@pytest.mark.parametrize("state", [None, 3, "x", [], {}])
def test_what_is_no_state_of_a_schedule_is_refused(state):
    with pytest.raises(CheckpointError, match="this is no state of a schedule"):
        LinearLR(sgd()).load_state_dict(state)


GROUP = {
    "schedulers": [[None, None], [3, {}]],
    "optimizers": [MISSING, None, 3, [0], [-1, 0], ["x", 0], [5, 0]],
    "counts": [MISSING, None, {"iter": 1}, dict(iter=-1, epoch=0), dict(iter=[1], epoch=0), dict(iter=10**30, epoch=0)],
    "updates": [MISSING, None, 3, [None], [-1], [math.nan], [10**30]],
    "values": [MISSING, None, [None], [{"lr": None}], [{"lr": ["x"]}], [{"lr": [math.nan]}]],
}


@pytest.mark.parametrize("on_change", ["error", "restore", "config"])
@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in GROUP.items() for value in values])
def test_a_group_of_schedules_refuses_what_is_damaged_in_its_own(key, value, on_change):
    if value == [5, 0] and on_change == "config":
        return  # what acts on which is the config's affair
    optimizer = sgd()
    group = build_param_scheduler(optimizer, [dict(type="LinearLR", end=9), dict(type="CosineAnnealingLR", T_max=20)])
    before = all_of(optimizer, group)
    with pytest.raises(CheckpointError, match=key):
        group.load_state_dict(changed(group.state_dict(), key, value), on_change)
    assert all_of(optimizer, group) == before


@pytest.mark.parametrize("on_change", ["error", "restore"])
@pytest.mark.parametrize("index", [0, 1])
def test_and_in_that_of_each_of_them(index, on_change):
    cfg = [dict(type="LinearLR", end=9), dict(type="MultiStepLR", milestones=[3])]
    state = build_param_scheduler(sgd(), cfg).state_dict()
    state["schedulers"][index]["_last_value"] = [None, 1.0]
    optimizer = sgd()
    group = build_param_scheduler(optimizer, cfg if on_change == "error" else [*cfg, dict(type="LinearLR", end=3)])
    before = all_of(optimizer, group)
    with pytest.raises(CheckpointError, match=rf"schedulers\[{index}\]\._last_value"):
        group.load_state_dict(state, on_change)
    assert all_of(optimizer, group) == before


def test_groups_that_the_optimizer_does_not_have_yet_are_told():
    state = changed(LinearLR(sgd()).state_dict(), "pending", 2)
    with pytest.raises(CheckpointError, match="pending: 2 groups were added to the optimizer, which has 2"):
        LinearLR(sgd()).load_state_dict(state)
