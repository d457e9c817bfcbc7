"""Deep copies and pickles of schedules go on as the original does, and by themselves."""

import copy
import pickle

import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper, build_param_scheduler
from optimzoo.schedules import CosineAnnealingLR, LinearLR

CHAIN = [
    dict(type="LinearLR", start_factor=0.0, by="update", end=4),
    dict(type="CosineAnnealingLR", by="update", begin=4, end=12, eta_min_ratio=0.1),
    dict(type="MultiStepLR", milestones=[5], by="iter", groups="*.bias"),
    dict(type="SequenceMomentum", by="iter", curves=[dict(type="Step", step_size=2, gamma=0.9)]),
    dict(type="ReduceOnPlateauParamScheduler", param_name="weight_decay", patience=0),
]


def pickled(value):
    return pickle.loads(pickle.dumps(value))


def parts():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    optimizer = dict(type="SGD", lr=1e-2, momentum=0.9, weight_decay=0.1)
    wrapper = build_optim_wrapper(model, dict(optimizer=optimizer, paramwise_cfg=dict(bias_lr_mult=2.0)))
    return model, wrapper, build_param_scheduler(wrapper, CHAIN)


def train(parts, steps):
    model, wrapper, schedule = parts
    found = []
    for step in range(steps):
        outcome = wrapper.update_params(model(torch.ones(4, 2)).square().mean())
        schedule.step(outcome, metrics={"loss": float(step % 3)})
        found.append([(g["lr"], g["momentum"], g["weight_decay"]) for g in wrapper.param_groups])
    return found


@pytest.mark.parametrize("twin", [copy.deepcopy, pickled])
@pytest.mark.parametrize("when", [0, 1, 5])
@pytest.mark.parametrize("loaded", [False, True])
def test_a_copy_of_a_run_goes_on_as_the_run_does(twin, when, loaded):
    original = parts()
    train(original, when)
    if loaded:
        state = copy.deepcopy((original[1].state_dict(), original[2].state_dict()))
        original[2].load_state_dict(state[1])
        original[1].load_state_dict(state[0])
    second = twin(original)
    before = original[1].get_lr()
    found = train(second, 6)
    assert original[1].get_lr() == before
    assert train(original, 6) == found
    assert second[2].state_dict() == original[2].state_dict()


@pytest.mark.parametrize("twin", [copy.deepcopy, pickled])
def test_a_copy_made_between_two_loads_mends_what_the_second_brings(twin):
    run = parts()
    train(run, 5)
    state = copy.deepcopy((run[1].state_dict(), run[2].state_dict()))
    fresh = parts()
    fresh[2].load_state_dict(state[1], on_change="config")
    second = twin(fresh)
    second[1].load_state_dict(state[0])
    assert [g["lr"] for g in second[1].param_groups] == pytest.approx([g["lr"] for g in run[1].param_groups])


@pytest.mark.parametrize("twin", [copy.deepcopy, pickled])
def test_single_schedules_keep_sharing_the_optimizer_that_is_copied_with_them(twin):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    pair = [LinearLR(optimizer, 0.5, end=4), CosineAnnealingLR(optimizer, T_max=8)]
    optimizer.step()
    for schedule in pair:
        schedule.step()
    state = pair[0].state_dict()
    pair[0].load_state_dict(state)
    copies = twin([optimizer, *pair])
    for own, first, second in ([optimizer, *pair], copies):
        assert first.optimizer is own is second.optimizer
        for _ in range(3):
            first.step(), second.step()
    assert optimizer.param_groups == copies[0].param_groups
    assert optimizer.param_groups[0] is not copies[0].param_groups[0]


def test_a_group_of_schedules_is_no_sequence_that_others_rebuild():
    from collections.abc import Sequence

    _, wrapper, schedule = parts()
    assert not isinstance(schedule, Sequence)
    assert (len(schedule), len(list(schedule)), len(schedule[1:3])) == (5, 5, 2)
    assert schedule[0].target is wrapper
