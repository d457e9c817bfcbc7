"""Stopping and going on: in a fresh process, with a changed config, from mmengine's states."""

import copy
import functools
import json

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, OptimWrapperDict, StepOutcome, build_optim_wrapper, build_param_scheduler
from optimzoo.errors import CheckpointError, OptimzooWarning
from optimzoo.schedules import CosineAnnealingLR, LinearLR, MultiStepLR, ParamScheduler, SchedulerGroup


def optimizer_of(*lrs, **kwargs):
    groups = [{"params": nn.Parameter(torch.zeros(1)), "lr": lr} for lr in lrs or (1.0,)]
    return torch.optim.SGD(groups, lr=1.0, **kwargs)


def advance(group, iterations):
    for _ in range(iterations):
        for schedule in group:
            schedule.step()


def lrs(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


COSINE = dict(type="CosineAnnealingLR", by_epoch=False)


class TestChange:
    """A run of 20 steps is resumed at 12 with another horizon."""

    def saved(self, cfg, steps=12):
        optimizer = optimizer_of(1.0, 0.5)
        group = build_param_scheduler(optimizer, cfg, max_iters=20)
        for _ in range(steps):
            for schedule in group:
                schedule.step()
            group.counts["iter"] += 1
        return optimizer.state_dict(), group.state_dict()

    def resumed(self, cfg, saved, on_change, max_iters=40, schedule_first=False):
        optimizer = optimizer_of(1.0, 0.5)
        group = build_param_scheduler(optimizer, cfg, max_iters=max_iters)
        before = copy.deepcopy(saved)
        parts = [(optimizer.load_state_dict, saved[0]), (lambda s: group.load_state_dict(s, on_change), saved[1])]
        for load, state in reversed(parts) if schedule_first else parts:
            load(state)
        assert saved == before
        return optimizer, group

    def test_another_horizon_is_an_error_that_names_it_and_the_choices(self):
        with pytest.raises(CheckpointError) as caught:
            self.resumed(COSINE, self.saved(COSINE), "error")
        assert "param_scheduler[0]: end of CosineAnnealingLR was 20, and is 40" in str(caught.value)
        assert all(choice in str(caught.value) for choice in ("'restore'", "'config'", "'error'"))

    @pytest.mark.parametrize("schedule_first", [False, True])
    def test_restore_goes_on_as_if_nothing_had_changed(self, schedule_first):
        same_optimizer, same = self.resumed(COSINE, self.saved(COSINE), "error", max_iters=20)
        optimizer, group = self.resumed(COSINE, self.saved(COSINE), "restore", schedule_first=schedule_first)
        for _ in range(10):
            advance(same, 1), advance(group, 1)
            assert lrs(optimizer) == lrs(same_optimizer)
        assert group.state_dict()["schedulers"] == same.state_dict()["schedulers"]

    @pytest.mark.parametrize("schedule_first", [False, True])
    @pytest.mark.parametrize(
        "cfg",
        [
            COSINE,
            [
                dict(type="LinearLR", by_epoch=False, start_factor=0, end=5),
                dict(type="PolyLR", by_epoch=False, begin=5),
            ],
            dict(type="OneCycleLR", by_epoch=False, eta_max=0.3),
            [],
        ],
    )
    @pytest.mark.parametrize("then", [COSINE, dict(type="OneCycleLR", by_epoch=False, eta_max=3.0)], ids=str)
    def test_config_goes_on_as_if_the_new_schedule_had_run_from_the_start(self, schedule_first, cfg, then):
        whole = optimizer_of(1.0, 0.5)
        new = build_param_scheduler(whole, cfg, max_iters=40)
        advance(new, 12)
        optimizer, group = self.resumed(cfg, self.saved(then), "config", schedule_first=schedule_first)
        for _ in range(10):
            assert lrs(optimizer) == lrs(whole)
            advance(new, 1), advance(group, 1)

    def test_a_later_load_of_the_optimizer_is_left_alone_once_training_goes_on(self):
        saved = self.saved(COSINE)
        optimizer, group = self.resumed(COSINE, saved, "config")
        wrapper_outcome = _moved(optimizer)
        group.step(wrapper_outcome)
        optimizer.load_state_dict(saved[0])
        assert lrs(optimizer) == [g["lr"] for g in saved[0]["param_groups"]]

    def test_restore_brings_back_another_curve_and_another_number_of_them(self):
        old = [dict(type="LinearLR", by_epoch=False, end=5), dict(type="StepLR", by_epoch=False, step_size=7)]
        optimizer, group = self.resumed(COSINE, self.saved(old), "restore")
        assert [type(schedule).__name__ for schedule in group] == ["LinearLR", "StepLR"]
        before = lrs(optimizer)
        advance(group, 2)
        assert lrs(optimizer) == pytest.approx([0.1 * lr for lr in before])

    def test_what_cannot_be_restored_says_so(self):
        optimizer = optimizer_of()
        halve = build_param_scheduler(optimizer, dict(type="LambdaLR", function=lambda step: 0.5**step))
        with pytest.raises(CheckpointError, match="LambdaLR cannot be restored: function: .*config in Python"):
            build_param_scheduler(optimizer, COSINE, max_iters=9).load_state_dict(halve.state_dict(), "restore")

    def test_an_unknown_choice_is_an_error(self):
        with pytest.raises(ValueError, match="on_change: 'error' or 'restore' or 'config' is wanted"):
            SchedulerGroup().load_state_dict({"schedulers": []}, on_change="keep")

    @pytest.mark.parametrize("state", [{}, {"schedulers": 3}, [{"a": 1}], None])
    def test_what_is_no_state_is_refused(self, state):
        with pytest.raises(CheckpointError, match="no state of parameter schedules"):
            SchedulerGroup().load_state_dict(state)

    def test_a_single_schedule_refuses_the_state_of_another_curve(self):
        state = LinearLR(optimizer_of(), 0.1, end=5).state_dict()
        with pytest.raises(CheckpointError, match="it was a LinearLR, and is a MultiStepLR"):
            MultiStepLR(optimizer_of(), [3]).load_state_dict(state)


def _moved(optimizer):
    from optimzoo import StepOutcome

    optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
    optimizer.step()
    return StepOutcome.UPDATED


class TestStateOfMmengine:
    """A list of dicts with every attribute of the schedules, as its Runner saves it."""

    def states(self, end=20):
        return [
            dict(
                param_name="lr", begin=0, end=end, by_epoch=False, base_values=[1.0], last_step=7, _global_step=7,
                verbose=False, T_max=20, eta_min=0.0, eta_min_ratio=None, _last_value=[0.5],
            )
        ]  # fmt: skip

    def schedule(self):
        optimizer = optimizer_of()
        return optimizer, build_param_scheduler(optimizer, COSINE, max_iters=20)

    def test_it_continues(self):
        optimizer, group = self.schedule()
        group.load_state_dict(self.states())
        advance(group, 2)
        whole, other = self.schedule()
        advance(other, 9)
        optimizer.param_groups[0]["lr"] = whole.param_groups[0]["lr"]  # comes with mmengine's optimizer state
        advance(group, 1), advance(other, 1)
        assert lrs(optimizer) == lrs(whole)
        assert group.counts["iter"] == 7

    def test_another_window_is_noticed(self):
        with pytest.raises(CheckpointError, match="end of CosineAnnealingLR was 30, and is 20"):
            self.schedule()[1].load_state_dict(self.states(end=30))


def test_a_class_of_ones_own_keeps_its_counters_and_arguments():
    class Alternate(ParamScheduler):
        def __init__(self, optimizer, low, **kwargs):
            self.low = low
            self._turns = 0
            super().__init__(optimizer, "lr", **kwargs)

        def _get_value(self):
            self._turns += 1
            return [base * (self.low if self._turns % 2 else 1) for base in self.base_values]

    optimizer = optimizer_of()
    first = Alternate(optimizer, 0.5)
    state = json.loads(json.dumps(first.state_dict()))
    second = Alternate(optimizer, 0.5)
    optimizer.step()
    second.step()
    second.load_state_dict(state)
    second.step()
    assert (lrs(optimizer), second._turns) == ([1.0], 2)
    third = SchedulerGroup([Alternate(optimizer, 0.25)])
    with pytest.raises(CheckpointError, match="low of Alternate was 0.5, and is 0.25"):
        third.load_state_dict([state])
    with pytest.warns(OptimzooWarning, match="low of Alternate was 0.5, and is 0.25 in the program"):
        third[0].load_state_dict(state)
    assert third[0].low == 0.5


def test_tensor_values_are_saved_as_numbers_and_restored_in_place():
    def built():
        optimizer = optimizer_of(torch.tensor(1.0), torch.tensor(0.5))
        return optimizer, SchedulerGroup([LinearLR(optimizer, 0.0, end=4), CosineAnnealingLR(optimizer, T_max=9)])

    first, group = built()
    advance(group, 2)
    state = json.loads(json.dumps(group.state_dict()))
    second, resumed = built()
    held = [g["lr"] for g in second.param_groups]
    resumed.load_state_dict(state)
    for tensor, source in zip(held, lrs(first)):
        tensor.copy_(source)
    advance(group, 3), advance(resumed, 3)
    assert lrs(first) == held == [g["lr"] for g in second.param_groups]
    assert all(now is then for now, then in zip(lrs(second), held))


def test_a_wrapper_with_base_settings_is_replayed_whole():
    def built(end):
        wrapper = OptimWrapper(optimizer_of(1.0, 0.5))
        return wrapper, build_param_scheduler(wrapper, dict(type="LinearLR", by_epoch=False, start_factor=0, end=end))

    wrapper, group = built(9)
    for _ in range(4):
        group.step(wrapper.update_params(wrapper.optimizer.param_groups[0]["params"][0].sum()))
    state = copy.deepcopy((wrapper.state_dict(), group.state_dict()))
    second, other = built(17)
    other.load_state_dict(state[1], on_change="config")
    second.load_state_dict(state[0])
    assert second.get_lr() == {"base_lr": [0.25], "lr": [0.25, 0.125]}


CHAIN = [
    dict(type="LinearLR", by_epoch=False, start_factor=0.0, end=4),
    dict(type="CosineAnnealingLR", by_epoch=False, T_max=20),
]
NO_DECAY = dict(norm_decay_mult=0.0, bias_decay_mult=0.0)
SLOW = dict(custom_keys={"0.": dict(lr_mult=0.1)})


class TestOtherGroups:
    """A run is resumed with other parameter-wise settings, so that its groups are others."""

    def built(self, paramwise_cfg):
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        cfg = dict(optimizer=dict(type="AdamW", lr=1.0), paramwise_cfg=paramwise_cfg)
        wrapper = build_optim_wrapper(model, cfg)
        return model, wrapper, build_param_scheduler(wrapper, CHAIN)

    def train(self, model, wrapper, schedule, steps):
        for _ in range(steps):
            schedule.step(wrapper.update_params(model(torch.ones(3, 2)).sum()))

    def resumed(self, then, now, stop, schedule_first):
        model, wrapper, schedule = self.built(then)
        self.train(model, wrapper, schedule, stop)
        state = copy.deepcopy((wrapper.state_dict(), schedule.state_dict()))
        model, wrapper, schedule = self.built(now)
        parts = [(wrapper, state[0]), (schedule, state[1])]
        for part, saved in reversed(parts) if schedule_first else parts:
            part.load_state_dict(saved)
        return model, wrapper, schedule

    def lr_after(self, steps):
        run = self.built(None)
        self.train(*run, steps)
        return run[1].get_lr()["lr"][0]

    @pytest.mark.filterwarnings("ignore:.*come from saved groups that differ in weight_decay")
    @pytest.mark.parametrize("schedule_first", [False, True])
    @pytest.mark.parametrize(("then", "now"), [(None, NO_DECAY), (NO_DECAY, None)])
    @pytest.mark.parametrize("stop", [0, 10])
    def test_every_group_goes_on_where_its_parameters_were(self, then, now, stop, schedule_first):
        model, wrapper, schedule = self.resumed(then, now, stop, schedule_first)
        for step in range(stop, stop + 3):
            values = [group["lr"] for group in wrapper.param_groups]
            assert values == pytest.approx([self.lr_after(step)] * len(values))
            self.train(model, wrapper, schedule, 1)

    @pytest.mark.filterwarnings("ignore:.*come from saved groups that differ")
    @pytest.mark.parametrize("schedule_first", [False, True])
    def test_a_group_that_comes_of_groups_that_differ_is_taken_to_where_its_schedules_are(self, schedule_first):
        with pytest.warns(OptimzooWarning, match="the lr of group 0 is not in the checkpoint: .* schedules are, 0.5"):
            model, wrapper, schedule = self.resumed(SLOW, None, 10, schedule_first)
        for step in range(10, 13):
            assert wrapper.get_lr()["lr"] == pytest.approx([self.lr_after(step)])
            self.train(model, wrapper, schedule, 1)

    def test_a_value_set_by_hand_once_all_is_loaded_stays(self):
        _, wrapper, schedule = self.resumed(None, NO_DECAY, 10, True)
        for group in wrapper.param_groups:
            group["lr"] = 0.125
        schedule.step(StepOutcome.SKIPPED)
        assert wrapper.get_lr()["lr"] == pytest.approx([0.125 * self.lr_after(11) / self.lr_after(10)] * 2)

    @pytest.mark.parametrize("schedule_first", [False, True])
    def test_a_run_may_be_rolled_back_again_and_again(self, schedule_first):
        optimizer = optimizer_of(1.0)
        group = build_param_scheduler(optimizer, CHAIN)
        advance(group, 3)
        kept = copy.deepcopy([optimizer.state_dict(), group.state_dict()])
        at_3 = lrs(optimizer)
        for _ in range(3):
            advance(group, 2)
            pairs = list(zip([optimizer, group], kept))
            for part, state in reversed(pairs) if schedule_first else pairs:
                part.load_state_dict(copy.deepcopy(state))
            assert lrs(optimizer) == at_3

    def test_a_group_that_no_schedule_has_met_when_the_run_is_saved_joins_when_it_goes_on(self):
        def added(steps):
            optimizer = optimizer_of(1.0)
            group = build_param_scheduler(optimizer, CHAIN)
            advance(group, steps)
            optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 0.5})
            return optimizer, group

        whole, expected = added(6)
        optimizer, group = added(0)
        optimizer.load_state_dict(copy.deepcopy(whole.state_dict()))
        group.load_state_dict(expected.state_dict())
        advance(expected, 1), advance(group, 1)
        assert lrs(optimizer) == lrs(whole)
        assert lrs(whole)[1] == pytest.approx(lrs(whole)[0] / 2)


@pytest.mark.parametrize("on_change", ["restore", "config"])
@pytest.mark.parametrize("cfg", [COSINE, dict(type="OneCycleLR", by_epoch=False, eta_max=[1.0, 2.0])])
def test_per_group_lists_and_later_groups_outlive_a_changed_horizon(cfg, on_change):
    def built(max_iters):
        wrapper = OptimWrapper(optimizer_of(1.0, 2.0))
        return wrapper, build_param_scheduler(wrapper, cfg, max_iters=max_iters)

    wrapper, group = built(20)
    advance(group, 5)
    group.counts["iter"] = 5
    whole, expected = built({"restore": 20, "config": 40}[on_change])
    advance(expected, 5)
    resumed, other = built(40)
    resumed.load_state_dict(wrapper.state_dict())
    other.load_state_dict(group.state_dict(), on_change)
    for each in (whole, resumed):
        each.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 2.0})
    advance(expected, 3), advance(other, 3)
    assert resumed.get_lr()["lr"] == pytest.approx(whole.get_lr()["lr"])
    assert whole.get_lr()["lr"][2] == pytest.approx(whole.get_lr()["lr"][1])


class TestUpdatesOfSeveralOptimizers:
    """A generator that makes one update in an iteration, and a discriminator that makes two."""

    def built(self, gamma=0.5):
        members = {name: OptimWrapper(optimizer_of(1.0)) for name in ("gen", "disc")}
        cfg = dict(type="ExponentialLR", gamma=gamma, by="update")
        wrappers = OptimWrapperDict(**members)
        return wrappers, build_param_scheduler(wrappers, cfg)

    def train(self, wrappers, schedule, iterations):
        for _ in range(iterations):
            for name in ("disc", "disc", "gen"):
                wrapper = wrappers[name]
                outcome = wrapper.update_params(wrapper.optimizer.param_groups[0]["params"][0].sum())
            schedule.step(outcome)

    @pytest.mark.parametrize("schedule_first", [False, True])
    @pytest.mark.parametrize("gamma", [0.5, 0.25])
    def test_they_count_from_the_first_iteration_on_and_apart(self, schedule_first, gamma):
        wrappers, schedule = self.built()
        self.train(wrappers, schedule, 3)
        state = copy.deepcopy((wrappers.state_dict(), schedule.state_dict()))
        wrappers, schedule = self.built(gamma)
        parts = [(wrappers.load_state_dict, state[0]), (lambda s: schedule.load_state_dict(s, "config"), state[1])]
        for load, saved in reversed(parts) if schedule_first else parts:
            load(saved)
        self.train(wrappers, schedule, 2)
        assert wrappers.get_lr() == {"gen.lr": [gamma**5], "disc.lr": [gamma**10]}


class Halving:
    def __call__(self, step):
        return 0.5**step


@pytest.mark.parametrize("function", [functools.partial(pow, 0.5), Halving()])
def test_a_function_that_is_an_object_can_be_saved_and_goes_on(function):
    optimizer = optimizer_of()
    group = build_param_scheduler(optimizer, dict(type="LambdaLR", function=function))
    advance(group, 3)
    state = json.loads(json.dumps(group.state_dict()))
    other = build_param_scheduler(optimizer, dict(type="LambdaLR", function=copy.copy(function)))
    other.load_state_dict(state)
    optimizer.param_groups[0]["lr"] = 0.5**3
    advance(other, 1)
    assert lrs(optimizer) == [0.5**4]
