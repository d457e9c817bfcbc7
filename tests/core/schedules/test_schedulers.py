import inspect
import math
import re

import pytest
import torch
from tests.conftest import REPO
from torch import nn

import optimzoo.schedules
from optimzoo import OptimWrapper, StepOutcome, build_optim_wrapper, build_optimizer, build_param_scheduler
from optimzoo.errors import CheckpointError, ConfigError
from optimzoo.schedules import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingParamScheduler,
    LinearLR,
    LinearMomentum,
    LinearParamScheduler,
    MultiStepLR,
    ParamScheduler,
    SchedulerGroup,
)


def sgd(lr=1.0, **kwargs):
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr, **kwargs)


def adam(**kwargs):
    return torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=1.0, betas=(0.8, 0.9), **kwargs)


def course(optimizer, schedules, steps, key="lr"):
    """The values of a hyperparameter before each of some steps."""
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0][key])
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    return values


class TestCurves:
    """Against the formulas in the docstrings; tests/parity holds them against mmengine."""

    def test_linear(self):
        optimizer = sgd()
        values = course(optimizer, [LinearLR(optimizer, start_factor=0.1, end_factor=0.5, end=5)], 7)
        assert values == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5])

    def test_linear_from_zero_leaves_zero(self):
        optimizer = sgd()
        assert course(optimizer, [LinearLR(optimizer, start_factor=0.0, end=5)], 6) == [0, 0.25, 0.5, 0.75, 1, 1]

    def test_constant_gives_the_value_back_on_its_last_step(self):
        optimizer = sgd()
        assert course(optimizer, [ConstantLR(optimizer, factor=0.5, end=4)], 6) == [0.5, 0.5, 0.5, 1, 1, 1]

    def test_constant_gives_the_value_back_from_zero_too(self):
        optimizer = sgd()
        assert course(optimizer, [ConstantLR(optimizer, factor=0, end=3)], 4) == [0, 0, 1, 1]

    def test_multi_step_counts_a_milestone_as_often_as_it_is_listed(self):
        optimizer = sgd()
        assert course(optimizer, [MultiStepLR(optimizer, [2, 4, 4], gamma=0.5)], 6) == [1, 1, 0.5, 0.5, 0.125, 0.125]

    @pytest.mark.parametrize("floor", [dict(eta_min=0.2), dict(eta_min_ratio=0.2)])
    def test_cosine_annealing_and_back(self, floor):
        optimizer = sgd()
        values = course(optimizer, [CosineAnnealingLR(optimizer, T_max=4, **floor)], 13)
        formula = [0.2 + 0.4 * (1 + math.cos(math.pi * step / 4)) for step in range(13)]
        assert values == pytest.approx(formula)

    def test_cosine_annealing_takes_one_floor(self):
        with pytest.raises(ConfigError, match="eta_min or eta_min_ratio, not both"):
            CosineAnnealingLR(sgd(), T_max=4, eta_min=0.1, eta_min_ratio=0.1)

    def test_a_ratio_keeps_the_proportions_of_the_groups(self):
        optimizer = torch.optim.SGD([{"params": nn.Parameter(torch.zeros(1)), "lr": lr} for lr in (1.0, 0.1)], lr=1.0)
        schedule = CosineAnnealingLR(optimizer, T_max=4, eta_min_ratio=0.05)
        for _ in range(4):
            optimizer.step()
            schedule.step()
            high, low = (group["lr"] for group in optimizer.param_groups)
            assert high == pytest.approx(10 * low)

    def test_schedules_compose(self):
        optimizer = sgd()
        warmup = LinearLR(optimizer, start_factor=0.5, end=3)
        cosine = CosineAnnealingLR(optimizer, T_max=4, begin=3, end=7)
        values = course(optimizer, [warmup, cosine], 8)
        tail = [0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
        assert values == pytest.approx([0.5, 0.75, 1.0, *tail, tail[-1]])


class TestHyperparameters:
    def test_any_number_in_the_groups(self):
        optimizer = sgd(weight_decay=0.1)
        assert course(optimizer, [LinearParamScheduler(optimizer, "weight_decay", 0.5, end=3)], 3, "weight_decay") == [
            0.05,
            pytest.approx(0.075),
            0.1,
        ]

    def test_an_element_of_a_tuple(self):
        optimizer = adam()
        LinearParamScheduler(optimizer, "betas[1]", 0.5, end=3)
        assert optimizer.param_groups[0]["betas"] == (0.8, 0.45)

    @pytest.mark.parametrize(
        ("optimizer", "key", "value"), [(sgd(momentum=0.8), "momentum", 0.4), (adam(), "betas", (0.4, 0.9))]
    )
    def test_the_momentum_of_either_kind(self, optimizer, key, value):
        LinearMomentum(optimizer, 0.5, end=3)
        assert optimizer.param_groups[0][key] == value

    def test_the_momentum_of_the_groups_that_it_acts_on(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        optimizer = build_optimizer(model, dict(type="Muon", lr=0.1, rest=dict(type="AdamW", lr=0.1)))
        for part, key, value in (("Muon", "momentum", 0.475), ("rest", "betas", (0.45, 0.999))):
            LinearMomentum(optimizer, 0.5, end=3, groups=part)
            assert [group[key] for group in optimizer.param_groups if group["part"] == part] == [value]

    def test_an_optimizer_without_momentum_is_refused(self):
        with pytest.raises(ConfigError, match="neither momentum nor betas"):
            LinearMomentum(torch.optim.Rprop([nn.Parameter(torch.zeros(1))]))

    def test_one_that_only_some_groups_have_is_told_how_to_choose_these(self):
        muon = dict(type="Muon", lr=0.02, rest=dict(type="AdamW", lr=0.001))
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
        with pytest.raises(ConfigError, match="no 'momentum' to schedule. Others have it: groups= chooses those"):
            LinearMomentum(build_optim_wrapper(model, dict(optimizer=muon)))

    def test_a_tensor_is_filled_in_place(self):
        lr = torch.tensor(1.0)
        optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=lr, foreach=False, capturable=True)
        schedule = LinearLR(optimizer, start_factor=0.5, end=3)
        optimizer.step()
        schedule.step()
        assert optimizer.param_groups[0]["lr"] is lr
        assert lr.item() == 0.75

    def test_the_base_settings_of_a_wrapper_follow(self, model):
        cfg = dict(optimizer=dict(type="SGD", lr=1.0), paramwise_cfg=dict(bias_lr_mult=2.0))
        wrapper = build_optim_wrapper(model, cfg)
        LinearLR(wrapper, start_factor=0.5, end=3)
        assert wrapper.get_lr() == {"base_lr": [0.5], "lr": [0.5, 1.0]}

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("momentun", "Did you mean 'momentum'"),
            ("xyz", "They have .*lr"),
            ("betas[5]", "no 'betas' to schedule"),
            ("lr[0]", "lr' is 1.0 and has no element 0"),
            ("nesterov", "not a number"),
            ("a b", "a key such as 'lr'"),
        ],
    )
    def test_what_cannot_be_scheduled_is_explained(self, name, said):
        with pytest.raises(ConfigError, match=said) as caught:
            LinearParamScheduler(sgd(momentum=0.9), name)
        assert caught.value.path == "param_name"


class TestState:
    def schedules(self, optimizer):
        return SchedulerGroup(
            [
                LinearLR(optimizer, start_factor=0.1, end=5),
                CosineAnnealingLR(optimizer, T_max=20, begin=5, eta_min=0.01),
                MultiStepLR(optimizer, [12], gamma=0.5),
            ]
        )

    @pytest.mark.parametrize("stop", [0, 3, 5, 12, 19])
    @pytest.mark.parametrize("optimizer_first", [True, False])
    def test_resuming_equals_never_having_stopped(self, stop, optimizer_first, tmp_path):
        whole = sgd()
        expected = course(whole, self.schedules(whole), 25)
        first = sgd()
        group = self.schedules(first)
        course(first, group, stop)
        torch.save({"optimizer": first.state_dict(), "schedules": group.state_dict()}, tmp_path / "s.pt")
        state = torch.load(tmp_path / "s.pt", weights_only=True)
        second = sgd()
        resumed = self.schedules(second)
        parts = [(second, state["optimizer"]), (resumed, state["schedules"])]
        for part, saved in parts if optimizer_first else reversed(parts):
            part.load_state_dict(saved)
        assert course(second, resumed, 25 - stop) == expected[stop:]

    def test_it_holds_plain_values_only(self):
        def plain(value):
            if isinstance(value, dict):
                return all(map(plain, value.values()))
            return (
                all(map(plain, value))
                if isinstance(value, list)
                else type(value) in (int, float, str, bool, type(None))
            )

        assert plain(self.schedules(sgd()).state_dict())

    def test_another_number_of_schedules_is_an_error(self):
        optimizer = sgd()
        with pytest.raises(CheckpointError, match="holds 3 parameter schedules and the config describes 0"):
            SchedulerGroup().load_state_dict(self.schedules(optimizer).state_dict())

    def test_without_a_state_a_run_goes_on_from_the_last_step_if_the_groups_know_their_initial_values(self):
        optimizer = sgd()
        course(optimizer, [LinearLR(optimizer, start_factor=0.5, end=5)], 2)
        assert LinearLR(optimizer, start_factor=0.5, end=5, last_step=2).base_values == [1.0]
        with pytest.raises(ConfigError, match="group 0 has no 'initial_lr' to resume from at last_step=2"):
            LinearLR(sgd(), end=5, last_step=2)


class TestGroup:
    def group(self, by, wrapper):
        return build_param_scheduler(wrapper, dict(type="LinearLR", start_factor=0.5, end=3, by=by))

    @pytest.mark.parametrize(
        ("by", "outcome", "epoch_end", "steps"),
        [
            ("iter", StepOutcome.UPDATED, False, 1),
            ("iter", StepOutcome.SKIPPED, False, 1),
            ("iter", StepOutcome.ACCUMULATING, False, 1),
            ("iter", None, True, 0),
            ("update", StepOutcome.UPDATED, False, 1),
            ("update", StepOutcome.SKIPPED, False, 0),
            ("update", StepOutcome.ACCUMULATING, True, 0),
            ("epoch", StepOutcome.UPDATED, False, 0),
            ("epoch", StepOutcome.UPDATED, True, 1),
            ("epoch", None, True, 1),
        ],
    )
    def test_each_schedule_steps_by_its_own_unit(self, by, outcome, epoch_end, steps):
        wrapper = OptimWrapper(sgd())
        group = self.group(by, wrapper)
        wrapper.update_params(wrapper.optimizer.param_groups[0]["params"][0].sum())
        wrapper.update_count = int(outcome is StepOutcome.UPDATED)
        group.step(outcome, epoch_end=epoch_end)
        assert wrapper.get_lr()["lr"] == [0.5 + 0.25 * steps]

    def test_it_is_a_sequence(self):
        optimizer = sgd()
        first, second = LinearLR(optimizer, end=3), ConstantLR(optimizer, end=3)
        group = SchedulerGroup([first, second])
        assert (len(group), group[1], list(group[:1])) == (2, second, [first])


class TestFamilies:
    def test_signatures_and_docstrings_are_real(self):
        assert list(inspect.signature(LinearLR).parameters)[:3] == ["optimizer", "start_factor", "end_factor"]
        assert list(inspect.signature(LinearParamScheduler).parameters)[:2] == ["optimizer", "param_name"]
        assert "goes linearly" in inspect.getdoc(LinearLR)
        assert "learning rate" in inspect.getdoc(LinearLR)

    def test_the_curves_own_arguments_may_be_positional_as_in_mmengine_and_the_window_has_names(self):
        schedule = LinearLR(sgd(), 0.5, 1.0, begin=2, end=8)
        assert (schedule.start_factor, schedule.begin, schedule.end) == (0.5, 2, 8)
        assert dict(MultiStepLR(sgd(), [8, 11], 0.2).milestones) == {8: 1, 11: 1}
        with pytest.raises(TypeError, match="positional"):
            LinearLR(sgd(), 0.5, 1.0, 2, 8)

    def test_a_member_is_an_instance_of_its_curve(self):
        assert isinstance(CosineAnnealingLR(sgd(), T_max=3), CosineAnnealingParamScheduler)

    def test_every_class_is_registered(self):
        from optimzoo import PARAM_SCHEDULERS

        other = ("INF", "LRSchedulerMixin", "MomentumSchedulerMixin", "ParamScheduler", "SchedulerGroup")
        classes = {name for name in optimzoo.schedules.__all__ if name not in other}
        entries = [PARAM_SCHEDULERS.entry(name) for name in PARAM_SCHEDULERS]
        assert classes == {entry.name for entry in entries if entry.plugin == "optimzoo"}


def test_a_schedule_of_ones_own_overrides_one_method_as_in_mmengine():
    class Halve(ParamScheduler):
        def __init__(self, optimizer, *args, **kwargs):
            super().__init__(optimizer, "lr", *args, **kwargs)

        def _get_value(self):
            if self.last_step == 0:
                return [group[self.param_name] for group in self.optimizer.param_groups]
            return [base * 0.5**self.last_step for base in self.base_values]

    optimizer = sgd()
    assert course(optimizer, [Halve(optimizer, by_epoch=False)], 3) == [1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (dict(optimizer=3), "optimizer"),
        (dict(begin=-1), "begin"),
        (dict(end=0), "end"),
        (dict(last_step=-2), "last_step"),
        (dict(by="week"), "by"),
        (dict(start_factor=-0.1), "start_factor"),
        (dict(end_factor=True), "end_factor"),
    ],
)
def test_a_wrong_argument_is_named(arguments, path):
    with pytest.raises(ConfigError) as caught:
        LinearLR(**{"optimizer": sgd(), **arguments})
    assert caught.value.path == path


def test_values_are_logged_when_asked_for(caplog):
    with caplog.at_level("INFO", "optimzoo"):
        LinearLR(sgd(), start_factor=0.5, end=3, verbose=True)
    assert "lr of group 0 is now 5.0000e-01" in caplog.text


MISSPELT = """
import torch
import optimzoo
from optimzoo import CosineAnnealingLR, LinearLR, MultiStepLR
from optimzoo.schedules import PolyMomentum, StepParamScheduler

opt = torch.optim.SGD([torch.zeros(1)], lr=0.1)
CosineAnnealingLR(opt, T_max=5)
LinearLR(opt, 0.1, 1.0, begin=3, groups="*.bias").start_factor + 1.0
MultiStepLR(opt, [8, 11], 0.1)
StepParamScheduler(opt, "weight_decay", 3)
CosineAnnealingLR(opt, T_maxx=5)  # line 12
optimzoo.LinearLR(opt, strat_factor=0.5)
PolyMomentum(opt, power="x")
LinearLR(opt, 0.1, 1.0, 3)
optimzoo.math
"""


def test_a_type_checker_knows_every_argument(tmp_path):
    import mypy.api

    file = tmp_path / "program.py"
    file.write_text(MISSPELT)
    out, _, _ = mypy.api.run(["--config-file", str(REPO / "pyproject.toml"), "--strict", str(file)])
    found = dict(re.findall(r"program\.py:(\d+): error: (.*)", out))
    assert list(found) == ["12", "13", "14", "15", "16"], out
    assert 'did you mean "T_max"?' in found["12"]
    assert 'did you mean "start_factor"?' in found["13"]
    assert "positional" in found["15"]
