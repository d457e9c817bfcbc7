"""Schedules that are built on an optimizer whose state is loaded already, and then loaded themselves."""

import copy

import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper, build_param_scheduler
from optimzoo.schedules import ConstantLR
from optimzoo.trainers.torch import torch_scheduler

WARM = dict(type="LinearLR", by_epoch=False, start_factor=0.1, end=8)
COSINE = dict(type="CosineAnnealingLR", by_epoch=False, begin=4, T_max=30)
HALF = dict(type="ConstantMomentum", by_epoch=False, factor=0.5, end=20)
FIRST_LAYER = dict(type="ConstantLR", by_epoch=False, factor=0.5, end=6, groups="0.*")
CYCLE = dict(type="OneCycleLR", by_epoch=False, eta_max=2.0, total_steps=40)
SLOW = dict(custom_keys={"0.": dict(lr_mult=0.1)})


class Run:
    """A model, an optimizer, and its schedules, which begin with those of ``state``."""

    def __init__(self, schedules, paramwise_cfg=None, state=None, loaded_first=True):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        optimizer = dict(type="AdamW", lr=1.0)
        self.wrapper = build_optim_wrapper(self.model, dict(optimizer=optimizer, paramwise_cfg=paramwise_cfg))
        self.schedule = None if state and loaded_first else build_param_scheduler(self.wrapper, schedules)
        if state:
            self.wrapper.load_state_dict(state[0])
            self.schedule = self.schedule or build_param_scheduler(self.wrapper, schedules)
            self.schedule.load_state_dict(state[1])

    def values(self, steps):
        seen = []
        for _ in range(steps):
            seen.append([(group["lr"], group["betas"]) for group in self.wrapper.param_groups])
            self.schedule.step(self.wrapper.update_params(self.model(torch.ones(3, 2)).sum()))
        return seen

    def state(self):
        return copy.deepcopy((self.wrapper.state_dict(), self.schedule.state_dict()))


@pytest.mark.parametrize("stop", [0, 4, 10])
@pytest.mark.parametrize(
    ("schedules", "paramwise_cfg"),
    [([WARM], None), ([COSINE], SLOW), ([WARM, COSINE, HALF], SLOW), ([FIRST_LAYER, WARM], SLOW), ([CYCLE], None)],
)
def test_they_go_on_where_they_were(schedules, paramwise_cfg, stop):
    run = Run(schedules, paramwise_cfg)
    run.values(stop)
    state, onwards = run.state(), run.values(10)
    assert Run(schedules, paramwise_cfg, state).values(10) == onwards


def test_a_second_load_changes_nothing():
    run = Run([WARM, COSINE])
    run.values(6)
    state, onwards = run.state(), run.values(5)
    again = Run([WARM, COSINE], state=state)
    again.schedule.load_state_dict(state[1])
    assert again.values(5) == onwards


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: [torch_scheduler(optimizer, [WARM])],
        lambda optimizer: [torch_scheduler(optimizer, [WARM, COSINE])],
        lambda optimizer: [torch_scheduler(optimizer, [CYCLE])],
    ],
)
@pytest.mark.parametrize("stop", [0, 4, 10])
def test_those_for_a_scheduler_of_torch_go_on_too(make, stop):
    def optimizer():
        weight = nn.Parameter(torch.zeros(1))
        weight.grad = torch.zeros(1)
        return torch.optim.SGD([weight], lr=1.0, momentum=0.9)

    def values(optimizer, schedules, steps):
        seen = []
        for _ in range(steps):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            for schedule in schedules:
                schedule.step()
        return seen

    first, second = optimizer(), optimizer()
    schedules = make(first)
    values(first, schedules, stop)
    state = copy.deepcopy((first.state_dict(), [schedule.state_dict() for schedule in schedules]))
    second.load_state_dict(state[0])
    others = make(second)
    for schedule, saved in zip(others, state[1]):
        schedule.load_state_dict(saved)
    assert values(second, others, 10) == values(first, schedules, 10)


@pytest.mark.parametrize("stop", [0, 3])
def test_two_by_themselves_keep_the_rate_that_is_loaded_after_they_were_built(stop):
    first, second = (torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0) for _ in range(2))
    schedules, others = ([ConstantLR(o, 0.1, end=8), ConstantLR(o, 0.5, end=6)] for o in (first, second))
    for _ in range(stop):
        first.step()
        for schedule in schedules:
            schedule.step()
    second.load_state_dict(first.state_dict())
    for schedule, other in zip(schedules, others):
        other.load_state_dict(schedule.state_dict())
    assert second.param_groups[0]["lr"] == first.param_groups[0]["lr"] == 0.05
