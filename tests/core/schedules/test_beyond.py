"""What mmengine does not have: further curves, groups that come later, any loop."""

import inspect
import itertools
import math
import warnings

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, StepOutcome, build_param_scheduler
from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning
from optimzoo.schedules import (
    WSDLR,
    CosineAnnealingLR,
    ExponentialLR,
    InverseSqrtLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    QuadraticWarmupLR,
    ReduceOnPlateauLR,
    ReduceOnPlateauMomentum,
    SchedulerGroup,
    SequenceLR,
)


def sgd(*lrs, **kwargs):
    return torch.optim.SGD(
        [{"params": nn.Parameter(torch.zeros(1)), "lr": lr} for lr in lrs or (1.0,)], lr=1.0, **kwargs
    )


def course(optimizer, schedule, steps):
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return values


@pytest.mark.parametrize(
    ("curve", "arguments", "formula"),
    [
        (QuadraticWarmupLR, dict(end=5), lambda t: min((t + 1) / 5, 1) ** 2),
        (InverseSqrtLR, dict(warmup=4), lambda t: min((t + 1) / 4, math.sqrt(4 / (t + 1)))),
        (LambdaLR, dict(function=lambda t: (t - 3) ** 2), lambda t: (t - 3) ** 2),
        (WSDLR, dict(warmup=4, decay=5, end=12), lambda t: min((t + 1) / 4, 1, max(11 - t, 0) / 5)),
        (
            WSDLR,
            dict(decay=5, end=12, shape="sqrt", end_factor=0.1),
            lambda t: 0.1 + 0.9 * (1 - math.sqrt(min(max(t - 6, 0), 5) / 5)),
        ),
        (
            WSDLR,
            dict(decay=5, end=12, shape="cosine"),
            lambda t: (1 + math.cos(math.pi * min(max(t - 6, 0), 5) / 5)) / 2,
        ),
        (
            SequenceLR,
            dict(curves=[dict(type="Linear", start_factor=0.5, steps=3), dict(type="ExponentialLR", gamma=0.5)]),
            lambda t: [0.5, 0.75, 1.0][t] if t < 3 else 0.5 ** (t - 3),
        ),
        (OneCycleLR, dict(end=11, pct_start=0.5, div_factor=2, anneal_strategy="linear", final_div_factor=1), None),
    ],
)
def test_curves_follow_their_formulas(curve, arguments, formula):
    optimizer = sgd()
    found = course(optimizer, curve(optimizer, **arguments), 14)
    if formula is None:  # the peak is the group's own value, at the 4.5th step
        assert (found[0], max(found) <= 1, found[4], found[10]) == (0.5, True, pytest.approx(0.5 + 0.5 * 4 / 4.5), 0.5)
    else:
        assert found == pytest.approx([formula(t) for t in range(14)], abs=1e-12)


class TestGroupsThatComeLater:
    """They join at the next step, where they would be had they been there from the start."""

    @pytest.mark.parametrize(
        "cfg",
        [
            [dict(type="LinearLR", start_factor=0.0, end=6), dict(type="CosineAnnealingLR", begin=6, T_max=8)],
            [dict(type="LinearLR", start_factor=0.1, end=30), dict(type="StepLR", step_size=2)],
            [
                dict(
                    type="SequenceLR",
                    curves=[dict(type="Linear", start_factor=0, steps=9), dict(type="Step", step_size=2)],
                )
            ],
            [dict(type="OneCycleLR", end=20)],
            [dict(type="CosineRestartLR", periods=[5, 9], eta_min_ratio=0.1)],
        ],
    )
    @pytest.mark.parametrize("when", [1, 4, 9])
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_the_proportions_between_groups_survive(self, cfg, when, wrapped):
        optimizer = sgd(1.0, 0.2)
        target = OptimWrapper(optimizer) if wrapped else optimizer
        group = build_param_scheduler(target, cfg)
        for step in range(14):
            if step == when:
                optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 0.5})
            for schedule in group:
                schedule.step()
            values = [g["lr"] for g in optimizer.param_groups]
            assert values[1:] == pytest.approx([values[0] * share for share in (0.2, 0.5)][: len(values) - 1])
        assert optimizer.param_groups[2]["initial_lr"] == 0.5 or "OneCycle" in cfg[0]["type"]
        if wrapped:
            assert target.base_param_settings["lr"] == pytest.approx(values[0])

    def test_one_peak_for_all_is_theirs_too(self):
        optimizer = sgd()
        schedule = OneCycleLR(optimizer, eta_max=0.3, end=20)
        optimizer.step()
        schedule.step()
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 0.5})
        schedule.step()
        assert optimizer.param_groups[0]["lr"] == optimizer.param_groups[1]["lr"]

    @pytest.mark.parametrize("wrapped", [False, True])
    def test_the_last_of_a_list_is_theirs_too(self, wrapped):
        optimizer = sgd(1.0, 1.0)
        target = OptimWrapper(optimizer) if wrapped else optimizer
        peak = OneCycleLR(target, eta_max=[0.1, 0.2], end=20)
        floor = ReduceOnPlateauLR(target, min_value=[0.001, 0.15], patience=0, begin=6)
        for step in range(6):
            if step == 3:
                optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 0.5})
            optimizer.step(), peak.step(), floor.step()
        values = [g["lr"] for g in target.param_groups]
        assert values == pytest.approx([values[0], *[2 * values[0]] * (2 + wrapped)])
        for _ in range(2):
            floor.step({"loss": 1.0})
        assert [g["lr"] for g in target.param_groups] == pytest.approx([values[0] / 10, *[0.15] * (2 + wrapped)])

    def test_a_reduction_before_their_time_is_not_theirs(self):
        optimizer = sgd(momentum=0.8)
        schedule = ReduceOnPlateauMomentum(optimizer, patience=0, factor=0.5)
        for _ in range(2):
            schedule.step({"loss": 1.0})
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
        schedule.step({"loss": 0.5})
        assert [g["momentum"] for g in optimizer.param_groups] == [0.4, 0.8]


def test_cycles_in_a_sequence_have_their_own_peaks():
    optimizer = sgd()
    cycle = dict(type="OneCycle", pct_start=0.5, anneal_strategy="linear", steps=10)
    schedule = SequenceLR(optimizer, [dict(cycle, eta_max=1), dict(cycle, eta_max=10)])
    found = course(optimizer, schedule, 20)
    assert (max(found[:10]), max(found[10:])) == (1, 10)


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (dict(begin=2), "begins where the one before it ends"),
        (dict(end=2), "begins where the one before it ends"),
        (dict(last_step=3), "begins where the one before it ends"),
        (dict(param_name="momentum"), "it is the sequence's"),
        (dict(by="iter"), "the sequence steps by epoch"),
        (dict(by_epoch=False), "the sequence steps by epoch"),
    ],
)
def test_a_curve_of_a_sequence_has_no_window_and_no_unit_of_its_own(mistake, said):
    curves = [dict(type="Constant", steps=3, by_epoch=True), dict(type="Linear", steps=4, **mistake)]
    with pytest.raises(ConfigError, match=said) as caught:
        SequenceLR(sgd(momentum=0.9), curves)
    assert caught.value.path == f"curves[1].{next(iter(mistake))}"


@pytest.mark.parametrize(
    ("cfg", "formula"),
    [
        (
            [dict(type="MultiStepLR", milestones=[3]), dict(type="LambdaLR", function=lambda t: t % 4 != 1)],
            lambda t: (0.1 if t >= 3 else 1) * (t % 4 != 1),
        ),
        (
            [dict(type="LinearLR", start_factor=0, end=4), dict(type="CosineAnnealingLR", T_max=10)],
            lambda t: min(t / 3, 1) * (1 + math.cos(math.pi * t / 10)) / 2,
        ),
    ],
)
def test_what_other_schedules_do_outlives_a_zero(cfg, formula):
    optimizer = sgd()
    schedules = build_param_scheduler(optimizer, cfg)
    for t in range(9):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(formula(t))
        for schedule in schedules:
            schedule.step()


class TestAnyLoop:
    def built(self, **cfg):
        wrapper = OptimWrapper(sgd(), accumulative_counts=2)
        return wrapper, build_param_scheduler(wrapper, dict(type="ExponentialLR", gamma=0.5, **cfg))

    def update(self, wrapper):
        return wrapper.update_params(wrapper.optimizer.param_groups[0]["params"][0].sum())

    def test_a_step_that_is_told_nothing_says_what_to_pass(self):
        with pytest.raises(OptimzooError, match="what update_params returned .* epoch_end=True .* metrics="):
            self.built()[1].step()

    @pytest.mark.parametrize("told", [{"loss": 0.5}, 0.5, True, "updated"])
    def test_one_that_is_told_something_else_says_so_and_counts_nothing(self, told):
        wrapper, schedule = self.built()
        outcome = self.update(wrapper)
        with pytest.raises(OptimzooError, match=r"what update_params returned, got .* are metrics="):
            schedule.step(told)
        assert schedule.counts["iter"] == 0
        schedule.step({"member": outcome})  # as several optimizers return it
        assert schedule.counts["iter"] == 1

    @pytest.mark.parametrize("call", [dict(outcome=StepOutcome.UPDATED), dict(epoch_end=True)])
    def test_schedules_that_step_before_the_optimizer_are_told_once(self, call):
        _wrapper, schedule = self.built()
        with pytest.warns(OptimzooWarning, match="no optimizer has made a step yet"):
            schedule.step(**call)
        schedule.step(**call)

    @pytest.mark.parametrize("fused", [False, True])
    @pytest.mark.parametrize("around", [lambda optimizer: optimizer, OptimWrapper], ids=["bare", "of a wrapper"])
    def test_an_optimizer_that_keeps_no_state_is_known_to_have_stepped(self, around, fused):
        """torch's fused kernels do not count the versions of the weights."""
        weight = nn.Parameter(torch.ones(2))
        optimizer = torch.optim.SGD([weight], lr=1.0, fused=fused)
        schedule = build_param_scheduler(around(optimizer), dict(type="ExponentialLR", gamma=0.5, by="update"))
        weight.sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step(StepOutcome.UPDATED)
        assert optimizer.param_groups[0]["lr"] == 0.5

    def test_a_right_loop_is_never_told_whatever_is_skipped_or_accumulated(self):
        optimizer = sgd()
        wrapper = OptimWrapper(optimizer, accumulative_counts=2, nonfinite="skip")
        schedule = build_param_scheduler(wrapper, dict(type="ExponentialLR", gamma=0.5, by="update"))
        (parameter,) = optimizer.param_groups[0]["params"]
        outcomes = []
        for factor in (1.0, math.inf, 1.0, 1.0):
            outcomes.append(wrapper.update_params((parameter * factor).sum()))
            schedule.step(outcomes[-1])
        assert [o.value for o in outcomes] == ["accumulating", "skipped", "accumulating", "updated"]
        assert optimizer.param_groups[0]["lr"] == 0.5

    def test_a_bare_optimizer_may_be_stepped_by_hand(self):
        optimizer = sgd()
        schedule = build_param_scheduler(optimizer, dict(type="ExponentialLR", gamma=0.5, by="update"))
        optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
        optimizer.step()
        schedule.step(StepOutcome.UPDATED)
        assert optimizer.param_groups[0]["lr"] == 0.5

    def scaled(self, optimizer, factors):
        """Outcomes of a loop with a GradScaler around a bare optimizer."""
        scaler = torch.amp.GradScaler("cpu")
        for factor in factors:
            optimizer.zero_grad()
            scaler.scale(optimizer.param_groups[0]["params"][0].sum() * factor).backward()
            before = scaler.get_scale()
            scaler.step(optimizer), scaler.update()
            yield StepOutcome.SKIPPED if scaler.get_scale() < before else StepOutcome.UPDATED

    @pytest.mark.parametrize("told", [True, False])
    def test_nor_is_one_whose_first_epoch_a_grad_scaler_skips(self, told):
        optimizer = sgd()
        schedule = build_param_scheduler(optimizer, dict(type="ExponentialLR", gamma=0.5))
        for outcome in self.scaled(optimizer, [math.inf]):
            schedule.step(outcome if told else None, epoch_end=True)
        assert optimizer.param_groups[0]["lr"] == 0.5

    def test_every_update_of_an_iteration_counts(self):
        wrapper, schedule = self.built(by="update")
        for _ in range(6):
            outcome = self.update(wrapper)
        schedule.step(outcome)
        assert wrapper.get_lr()["lr"] == [0.125]

    def test_a_metric_is_looked_at_after_a_validation(self):
        wrapper = OptimWrapper(sgd())
        cfg = dict(type="ReduceOnPlateauLR", monitor="acc", rule="greater", patience=0, factor=0.5)
        schedule = build_param_scheduler(wrapper, cfg)
        for acc in (0.5, 0.4):
            schedule.step(self.update(wrapper), epoch_end=True)
            schedule.step(metrics={"acc": acc})
        assert wrapper.get_lr()["lr"] == [0.5]
        with pytest.raises(ConfigError, match="no metric 'acc'; it has accuracy. Did you mean 'accuracy'"):
            schedule.step(metrics={"accuracy": 1.0})


def test_base_values_can_be_assigned_as_in_mmengine():
    optimizer = sgd(1.0, 0.5)
    schedule = CosineAnnealingLR(optimizer, T_max=4, eta_min_ratio=0.5)
    schedule.base_values = [2.0, 1.0]
    assert (schedule.base_values, schedule.floor(schedule.base_values[0])) == ([2.0, 1.0], 1.0)
    assert optimizer.param_groups[0]["initial_lr"] == 1.0


def test_a_subclass_of_a_curve_may_have_arguments_of_its_own():
    class Halved(LinearLR):
        def __init__(self, optimizer, scale, **kwargs):
            super().__init__(optimizer, start_factor=0.5 * scale, **kwargs)

    assert list(inspect.signature(Halved).parameters) == ["optimizer", "scale", "kwargs"]
    (built,) = build_param_scheduler(sgd(), dict(type=Halved, scale=0.5, end=5))
    assert built.start_factor == 0.25
    assert built.state_dict()["args"]["start_factor"] == 0.25


def test_a_schedule_step_makes_a_compiled_step_compile_nothing_anew():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.compile itself
        from torch._dynamo.testing import CompileCounter

        counter = CompileCounter()
        optimizer = sgd(torch.tensor(1.0), foreach=False)
        parameter = optimizer.param_groups[0]["params"][0]
        parameter.grad = torch.ones(1)
        schedule = SchedulerGroup(
            [ExponentialLR(optimizer, 0.5, by="update"), LinearLR(optimizer, 0.5, end=9, by="iter")]
        )
        step = torch.compile(optimizer.step, backend=counter)
        seen = []
        for _ in range(4):
            step()
            seen.append((counter.frame_count, float(parameter)))
            schedule.step(StepOutcome.UPDATED)
    assert seen[0][0] == seen[-1][0] > 0
    moves = [before - after for (_, before), (_, after) in itertools.pairwise(seen)]
    assert moves[0] > moves[1] > moves[2] > 0
