"""Stopping and going on: in a fresh process, with a changed config, from mmengine's states."""

import copy
import json
import random

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, build_param_scheduler
from optimzoo.builtin import CURVES
from optimzoo.errors import CheckpointError
from optimzoo.schedulers import CosineAnnealingLR, LinearLR, MultiStepLR, ParamScheduler, SchedulerGroup

STEPS = 30

CONFIGS = {
    "Constant": dict(factor=0.0, begin=2, end=9),
    "CosineAnnealing": dict(T_max=7, eta_min_ratio=0.1),
    "CosineRestart": dict(periods=[5, 9], restart_weights=[1, 0.5]),
    "Exponential": dict(gamma=0.9),
    "InverseSqrt": dict(warmup=6),
    "Linear": dict(start_factor=0.0, begin=3, end=20),
    "MultiStep": dict(milestones=[4, 9, 9]),
    "OneCycle": dict(eta_max=[0.3, 0.7], end=25),
    "Poly": dict(power=0.9, eta_min_ratio=0.01, end=25),
    "QuadraticWarmup": dict(end=12),
    "ReduceOnPlateau": dict(patience=1, cooldown=1, factor=0.5, min_value=[0.1, 0.2]),
    "Sequence": dict(curves=[dict(type="Linear", start_factor=0, steps=6), dict(type="Exponential", gamma=0.8)]),
    "Step": dict(step_size=4),
    "WSD": dict(warmup=4, decay=8, end=28),
}
RUN = """
import json, sys, torch
from torch import nn
from optimzoo import build_param_scheduler

def optimizer():
    return torch.optim.SGD([{"params": nn.Parameter(torch.zeros(1)), "lr": lr} for lr in (1.0, 0.3)], lr=1.0)

def course(optimizer, group, begin, end):
    found = []
    for step in range(begin, end):
        found.append([g["lr"] for g in optimizer.param_groups])
        for schedule in group:
            schedule.step()
            if schedule.need_val_args:
                schedule.step({"loss": (step * 7 % 5) / 5})
    return found
"""


def in_a_fresh_process(run, tmp_path, code):
    (tmp_path / "go.py").write_text(RUN + code)
    return json.loads(run(tmp_path / "go.py", path=[str(p) for p in _paths()]).stdout)


def _paths():
    import optimzoo
    import optimzoo_plugins

    return {optimzoo.__path__[0].rpartition("/")[0], optimzoo_plugins.__path__[0].rpartition("/")[0]}


def optimizer_of(*lrs, **kwargs):
    groups = [{"params": nn.Parameter(torch.zeros(1)), "lr": lr} for lr in lrs or (1.0,)]
    return torch.optim.SGD(groups, lr=1.0, **kwargs)


def advance(group, iterations):
    for _ in range(iterations):
        for schedule in group:
            schedule.step()


def lrs(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def test_every_curve_continues_in_a_fresh_process_as_if_it_had_never_stopped(run, tmp_path):
    assert {*CONFIGS, "Lambda"} == set(CURVES), "a new curve wants a line in CONFIGS"
    scope: dict = {}
    exec(RUN, scope)
    chosen = random.Random(4)
    expected, stops, cfgs = {}, {}, {}
    for curve, arguments in CONFIGS.items():
        chain = [{"type": f"{curve}LR", **arguments}, dict(type="MultiStepLR", milestones=[3, 12], gamma=0.7)]
        cfgs[curve], stops[curve] = chain, chosen.randrange(1, STEPS - 1)
        whole, first = scope["optimizer"](), scope["optimizer"]()
        expected[curve] = scope["course"](whole, build_param_scheduler(whole, chain), 0, STEPS)[stops[curve] :]
        group = build_param_scheduler(first, chain)
        scope["course"](first, group, 0, stops[curve])
        torch.save({"optimizer": first.state_dict(), "schedule": group.state_dict()}, tmp_path / f"{curve}.pt")
    (tmp_path / "cfgs.json").write_text(json.dumps([cfgs, stops]))
    found = in_a_fresh_process(
        run,
        tmp_path,
        f"""
cfgs, stops = json.load(open("cfgs.json"))
found = {{}}
for curve, cfg in cfgs.items():
    for order in ("optimizer", "schedule"), ("schedule", "optimizer"):
        own = optimizer()
        parts = {{"optimizer": own, "schedule": build_param_scheduler(own, cfg)}}
        state = torch.load(f"{{curve}}.pt", weights_only=True)
        for name in order:
            parts[name].load_state_dict(state[name])
        found.setdefault(curve, []).append(course(own, parts["schedule"], stops[curve], {STEPS}))
print(json.dumps(found))
""",
    )
    for curve in CONFIGS:
        assert found[curve] == [expected[curve]] * 2, curve


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
    def test_config_goes_on_as_if_the_new_schedule_had_run_from_the_start(self, schedule_first, cfg):
        whole = optimizer_of(1.0, 0.5)
        new = build_param_scheduler(whole, cfg, max_iters=40)
        advance(new, 12)
        saved = self.saved(COSINE)
        optimizer, group = self.resumed(cfg, saved, "config", schedule_first=schedule_first)
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

    @pytest.mark.parametrize(
        ("other", "said"),
        [
            (lambda o: MultiStepLR(o, [3]), "it was a LinearLR, and is a MultiStepLR"),
            (lambda o: LinearLR(o, 0.2, end=5), "start_factor of LinearLR was 0.1, and is 0.2"),
        ],
    )
    def test_a_single_schedule_refuses_the_state_of_another(self, other, said):
        state = LinearLR(optimizer_of(), 0.1, end=5).state_dict()
        with pytest.raises(CheckpointError, match=said):
            other(optimizer_of()).load_state_dict(state)


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
    second.step()
    second.load_state_dict(state)
    second.step()
    assert (lrs(optimizer), second._turns) == ([1.0], 2)
    with pytest.raises(CheckpointError, match="low of Alternate was 0.5, and is 0.25"):
        Alternate(optimizer, 0.25).load_state_dict(state)


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
