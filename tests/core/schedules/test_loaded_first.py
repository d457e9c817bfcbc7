"""Schedules that are built on an optimizer whose state is loaded already, and then loaded themselves."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ChainedScheduler, SequentialLR

from optimzoo import PARAM_SCHEDULERS, OptimzooWarning, StepOutcome, build_optim_wrapper, build_param_scheduler
from optimzoo.schedules import ConstantLR, LinearLR, SchedulerGroup
from optimzoo.trainers.torch import torch_scheduler

WARM = dict(type="LinearLR", by_epoch=False, start_factor=0.1, end=8)
COSINE = dict(type="CosineAnnealingLR", by_epoch=False, begin=4, T_max=30)
HALF = dict(type="ConstantMomentum", by_epoch=False, factor=0.5, end=20)
HALVED = dict(type="ConstantLR", by_epoch=False, factor=0.5, end=7)
DECAY = dict(type="ExponentialLR", by_epoch=False, gamma=0.9)
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


def together(optimizer, *cfgs):
    return [torch_scheduler(optimizer, list(cfgs))]


def each_by_itself(optimizer, *cfgs):
    return [PARAM_SCHEDULERS.build({**cfg, "optimizer": optimizer}) for cfg in cfgs]


def several_of_torch(optimizer, *cfgs):
    return [torch_scheduler(optimizer, cfg) for cfg in cfgs]


def chained(optimizer, *cfgs):
    return [ChainedScheduler(several_of_torch(optimizer, *cfgs), optimizer=optimizer)]


def in_sequence(optimizer, *cfgs):
    return [SequentialLR(optimizer, several_of_torch(optimizer, *cfgs), milestones=[4])]


class Plain:
    """Two groups under an optimizer of torch's, and schedules of it."""

    def __init__(self, make, cfgs):
        self.make, self.cfgs = make, cfgs
        groups = [dict(params=[nn.Parameter(torch.zeros(1))], lr=lr) for lr in (1.0, 0.1)]
        self.optimizer = torch.optim.SGD(groups, lr=1.0, momentum=0.9)
        self.schedules = []

    def build(self):
        self.schedules = self.make(self.optimizer, *self.cfgs)
        return self

    def load(self, state, turn):
        self.optimizer.load_state_dict(copy.deepcopy(state[0]))
        self.build()
        for schedule, saved in list(zip(self.schedules, state[1]))[::turn]:
            schedule.load_state_dict(saved)
        return self

    def state(self):
        return copy.deepcopy((self.optimizer.state_dict(), [schedule.state_dict() for schedule in self.schedules]))

    def values(self, steps):
        seen = []
        for _ in range(steps):
            seen.append([group["lr"] for group in self.optimizer.param_groups])
            self.optimizer.step()
            for schedule in self.schedules:
                schedule.step()
        return seen


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("stop", [0, 3, 10])
@pytest.mark.parametrize("cfgs", [(WARM, COSINE), (HALVED, DECAY), (DECAY, WARM)])
@pytest.mark.parametrize("make", [together, each_by_itself, several_of_torch, chained, in_sequence])
def test_however_they_are_held_they_go_on(make, cfgs, stop, turn):
    run = Plain(make, cfgs).build()
    run.values(stop)
    state, onwards = run.state(), run.values(10)
    assert Plain(make, cfgs).load(state, turn).values(10) == onwards


def test_a_group_that_is_added_before_they_are_built_joins_them():
    run = Plain(together, (WARM, DECAY)).build()
    run.values(3)
    state = run.state()
    for each in (run, other := Plain(together, (WARM, DECAY))):
        if each is other:
            other.optimizer.load_state_dict(state[0])
        each.optimizer.add_param_group(dict(params=[nn.Parameter(torch.zeros(1))], lr=0.5))
    other.build()
    with pytest.warns(OptimzooWarning, match="lr of group 2 is not in the checkpoint"):
        other.schedules[0].load_state_dict(state[1][0])
    assert other.values(8)[1:] == [[pytest.approx(value) for value in values] for values in run.values(8)[1:]]


def test_states_of_mmengine_go_on():
    run = Plain(each_by_itself, (HALVED, DECAY)).build()
    run.values(3)
    state, onwards = run.state(), run.values(8)
    listed = [{k: v for k, v in {**each["args"], **each}.items() if k not in ("args", "type")} for each in state[1]]
    other = Plain(lambda optimizer, *cfgs: [], ())
    other.optimizer.load_state_dict(state[0])
    group = build_param_scheduler(other.optimizer, [HALVED, DECAY])
    group.load_state_dict(listed)
    assert [g["lr"] for g in other.optimizer.param_groups] == onwards[0]


def test_a_schedule_that_only_the_program_has_leaves_what_was_loaded():
    run = Plain(together, (DECAY,)).build()
    run.values(3)
    state = run.state()
    other = Plain(lambda optimizer, *cfgs: [], ())
    other.optimizer.load_state_dict(state[0])
    other.optimizer.param_groups[0]["initial_momentum"] = other.optimizer.param_groups[1]["initial_momentum"] = 0.9
    group = build_param_scheduler(other.optimizer, [DECAY, HALF])
    group.load_state_dict(state[1][0]["schedules"], on_change="restore")
    assert [g["momentum"] for g in other.optimizer.param_groups] == [0.9, 0.9]


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


@pytest.mark.parametrize("stop", [0, 5])
@pytest.mark.parametrize(
    "build",
    [
        lambda o: build_param_scheduler(o, WARM),
        lambda o: LinearLR(o, by_epoch=False, start_factor=0.1, end=8),
        lambda o: torch_scheduler(o, WARM, total_updates=20),
    ],
)
def test_a_state_of_the_optimizer_alone_is_told(build, stop):
    def step():
        nn.functional.mse_loss(model(torch.ones(1, 2)), torch.ones(1, 1)).backward()
        optimizer.step()
        schedule.step(*[StepOutcome.UPDATED][: isinstance(schedule, SchedulerGroup)])

    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = build(optimizer)
    for _ in range(stop):
        step()
    saved = copy.deepcopy(optimizer.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = build(optimizer)
    optimizer.load_state_dict(saved)
    if stop:
        with pytest.warns(
            OptimzooWarning, match=r"the schedule's was not: it begins anew, from a lr of .* of 0\.1\. Load"
        ):
            step()
    step()


def test_a_torch_scheduler_that_is_stepped_first_is_told():
    model = nn.Linear(2, 1)
    scheduler = torch_scheduler(torch.optim.SGD(model.parameters(), lr=1.0), WARM, total_updates=20)
    model(torch.ones(1, 2)).sum().backward()
    with pytest.warns(OptimzooWarning, match="no optimizer has made a step yet"):
        scheduler.step()


@pytest.mark.parametrize("zero_first", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_a_step_that_a_scaler_passes_over_is_in_order(zero_first, fused):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, fused=fused)
    scheduler = torch_scheduler(optimizer, WARM, total_updates=20)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(model(torch.ones(1, 2)).sum() * torch.inf).backward()
    scaler.step(optimizer)
    scaler.update()
    if zero_first:
        optimizer.zero_grad()
    scheduler.step()
    assert scheduler.last_epoch == 1


def test_updates_that_a_load_takes_back_are_not_those_of_the_schedule():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch_scheduler(optimizer, dict(type="ExponentialLR", gamma=0.5), updates_per_epoch=2)
    states = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    for _ in range(2):  # as a search of the rate does
        optimizer.step()
    for part, state in zip((optimizer, scheduler), states):
        part.load_state_dict(state)
    rates = []
    for _ in range(4):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1.0, 0.5, 0.5, 0.25]


def test_groups_that_share_a_tensor_rate_in_a_state_have_their_own_when_loaded():
    def build(lr, rules):
        wrapper = build_optim_wrapper(
            nn.Linear(2, 1), dict(optimizer=dict(type="Adam", lr=lr), paramwise_cfg=dict(rules=rules))
        )
        return wrapper, build_param_scheduler(wrapper, HALVED)

    rates = []
    for lr in (0.1, torch.tensor(0.1)):
        wrapper, schedule = build(lr, [])
        schedule.step(StepOutcome.SKIPPED)
        states = copy.deepcopy((wrapper.state_dict(), schedule.state_dict()))
        wrapper, schedule = build(lr, [dict(match="bias", lr_mult=0.1)])
        wrapper.load_state_dict(states[0])
        schedule.load_state_dict(states[1], on_change="config")
        rates.append(wrapper.get_lr()["lr"])
    assert rates[0] == pytest.approx([0.05, 0.005])
    assert rates[1] == pytest.approx(rates[0])
