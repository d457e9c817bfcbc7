"""Schedules give the numbers of mmengine at every step."""

import mmengine.optim
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import optimzoo.schedules
from optimzoo import build_param_scheduler
from optimzoo.bundled import bundled_schedules

EPOCH = 5
STEPS = 60
LRS = {schedule.name for schedule in bundled_schedules() if schedule.name.endswith("LR")}

window = st.builds(lambda begin, length: dict(begin=begin, end=begin + length), st.integers(0, 12), st.integers(2, 30))
fractions = st.floats(0.01, 1)
floors = st.one_of(
    st.fixed_dictionaries({"eta_min": st.floats(0, 0.01)}), st.fixed_dictionaries({"eta_min_ratio": st.floats(0, 0.5)})
)


def restarts(pairs):
    return {"periods": [period for period, _ in pairs], "restart_weights": [weight for _, weight in pairs]}


def joined(*parts):
    return st.builds(lambda *found: {key: value for part in found for key, value in part.items()}, *parts)


CHAINABLE = {
    "Constant": st.fixed_dictionaries({"factor": fractions}),
    "CosineAnnealing": st.one_of(joined(st.fixed_dictionaries({"T_max": st.integers(1, 30)}), floors), st.just({})),
    "CosineRestart": joined(
        st.lists(st.tuples(st.integers(1, 15), fractions), min_size=1, max_size=4).map(restarts), floors
    ),
    "Exponential": st.fixed_dictionaries({"gamma": st.floats(0.5, 1.1)}),
    "Linear": st.fixed_dictionaries({"start_factor": fractions, "end_factor": fractions}),
    "MultiStep": st.fixed_dictionaries({"milestones": st.lists(st.integers(1, 30), max_size=4), "gamma": fractions}),
    "Poly": st.fixed_dictionaries({"eta_min": st.floats(0, 0.01), "power": st.floats(0.1, 3)}),
    "Step": st.fixed_dictionaries({"step_size": st.integers(1, 20), "gamma": fractions}),
}
curves = st.one_of([st.tuples(st.just(name), arguments) for name, arguments in CHAINABLE.items()])
schedules = st.lists(st.tuples(curves, window, st.booleans()), min_size=1, max_size=4)
values = st.lists(st.floats(1e-4, 1), min_size=1, max_size=5)
one_cycle = st.fixed_dictionaries(
    {
        "eta_max": st.floats(1e-3, 1),
        "pct_start": st.sampled_from([0.0, 0.05, 0.3, 0.45, 1.0]),
        "anneal_strategy": st.sampled_from(["cos", "linear"]),
        "div_factor": st.floats(1, 30),
        "final_div_factor": st.floats(1, 1e4),
        "three_phase": st.booleans(),
    },
    optional={"total_steps": st.integers(61, 90)},
)

FAMILIES = {
    "LR": ("lr", {}),
    "Momentum": ("momentum", {}),
    "ParamScheduler": ("weight_decay", {"param_name": "weight_decay"}),
}


def optimizer_of(values, cls=torch.optim.SGD):
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": v, "momentum": v / 2, "weight_decay": v} for v in values]
    return cls(groups, lr=values[0])


def course(optimizer, schedulers, key, steps=STEPS):
    """The values of every group before each step: iterations, and an epoch after every few of them."""
    found = []
    for step in range(steps):
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


def assert_equal(ours, theirs):
    for step, (mine, oracle) in enumerate(zip(ours, theirs)):
        assert mine == pytest.approx(oracle, rel=1e-9, abs=1e-15), f"step {step}"


def test_every_curve_of_mmengine_is_compared():
    own = (name for name in LRS if getattr(_mmengine(name), "__module__", "").startswith("mmengine."))
    assert {*CHAINABLE, "OneCycle", "ReduceOnPlateau"} == {name.removesuffix("LR") for name in own}, "or ours are there"


@pytest.mark.filterwarnings("ignore:.*above 1, it grows without end")
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(schedules=schedules, values=values)
def test_any_chain_of_schedules_on_any_groups(family, schedules, values):
    key, extra = FAMILIES[family]
    mine, theirs = optimizer_of(values), optimizer_of(values)
    built_mine, built_theirs = [], []
    for (curve, arguments), window, by_epoch in schedules:
        keywords = {**extra, **arguments, **window, "by_epoch": by_epoch}
        built_mine.append(getattr(optimzoo.schedules, curve + family)(mine, **keywords))
        built_theirs.append(_mmengine(curve + family)(theirs, **keywords))
    ours, oracle = course(mine, built_mine, key), course(theirs, built_theirs, key)
    assert_equal(ours, oracle)
    if all(curve in ("Constant", "MultiStep", "Step") for (curve, _), _, _ in schedules):
        assert ours == oracle


@pytest.mark.filterwarnings("ignore:.*their proportions are lost")
@settings(max_examples=200, deadline=None, derandomize=True)
@given(schedules=schedules, values=values, shift=st.sampled_from([0, 0.4, 0.5]))
def test_epochs_turned_into_iterations(schedules, values, shift):
    mine, theirs = optimizer_of(values), optimizer_of(values)
    built_mine, built_theirs = [], []
    for (curve, arguments), window, _ in schedules:
        window = {key: value + shift for key, value in window.items()}
        cfg = {"type": f"{curve}LR", **arguments, **window, "convert_to_iter_based": True}
        built_mine += build_param_scheduler(mine, cfg, epoch_length=EPOCH)
        cls = _mmengine(f"{curve}LR")
        built_theirs.append(cls.build_iter_from_epoch(theirs, **arguments, **window, epoch_length=EPOCH))
    assert_equal(course(mine, built_mine, "lr"), course(theirs, built_theirs, "lr"))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(arguments=one_cycle, values=values, begin=st.integers(0, 5), by_epoch=st.booleans())
def test_one_cycle(arguments, values, begin, by_epoch):
    found = []
    for module in (optimzoo.schedules, mmengine.optim):
        optimizer = optimizer_of(values)
        schedule = module.OneCycleLR(optimizer, **arguments, begin=begin, end=begin + 55, by_epoch=by_epoch)
        found.append(course(optimizer, [schedule], "lr"))
    assert_equal(*found)


@pytest.mark.parametrize("convert", ["OneCycleLR", "CosineRestartLR"])
def test_every_count_of_epochs_is_turned_into_iterations(convert):
    arguments = {
        "OneCycleLR": dict(eta_max=[0.1, 0.2], total_steps=12),
        "CosineRestartLR": dict(periods=[3, 4], restart_weights=[1, 0.5], eta_min=0),
    }[convert]
    mine, theirs = optimizer_of([0.5, 0.1]), optimizer_of([0.5, 0.1])
    ours = build_param_scheduler(mine, dict(type=convert, **arguments, convert_to_iter_based=True), epoch_length=EPOCH)
    oracle = _mmengine(convert).build_iter_from_epoch(theirs, **arguments, epoch_length=EPOCH)
    assert_equal(course(mine, ours, "lr"), course(theirs, [oracle], "lr"))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    metrics=st.lists(st.floats(0.1, 2), min_size=20, max_size=40),
    arguments=st.fixed_dictionaries(
        {
            "rule": st.sampled_from(["less", "greater"]),
            "threshold_rule": st.sampled_from(["rel", "abs"]),
            "threshold": st.floats(0, 0.5),
            "factor": st.floats(0, 0.9),
            "patience": st.integers(0, 3),
            "cooldown": st.integers(0, 3),
            "eps": st.sampled_from([0.0, 1e-8, 0.05]),
            "min_value": st.sampled_from([0.0, 0.01, [0.1, 0.05]]),
        }
    ),
    window=window,
)
def test_reducing_on_a_plateau(metrics, arguments, window):
    found = []
    for module in (optimzoo.schedules, mmengine.optim):
        optimizer = optimizer_of([0.5, 0.1])
        schedule = module.ReduceOnPlateauLR(optimizer, monitor="loss", **arguments, **window)
        values = []
        for metric in metrics:
            schedule.step()
            schedule.step({"loss": torch.tensor(metric)})
            values.append([group["lr"] for group in optimizer.param_groups])
        found.append(values)
    assert_equal(*found)


@pytest.mark.parametrize("curve", sorted({*CHAINABLE} - {"CosineRestart", "CosineAnnealing", "Poly"}))
@pytest.mark.parametrize("last_step", [0, 3, 7])
def test_resuming_by_last_step_alone(curve, last_step):
    arguments = {
        "Linear": dict(start_factor=0.1, end=10),
        "MultiStep": dict(milestones=[5, 8]),
        "Step": dict(step_size=4),
        "Exponential": dict(gamma=0.9),
    }.get(curve, {})
    found = []
    for module in (optimzoo.schedules, mmengine.optim):
        optimizer = optimizer_of([0.5])
        cls = getattr(module, f"{curve}LR")
        first = cls(optimizer, **arguments)
        for _ in range(last_step):
            optimizer.step()
            first.step()
        second = cls(optimizer, **arguments, last_step=last_step)
        found.append(course(optimizer, [second], "lr"))
    assert_equal(*found)


class TestWhereMmengineFails:
    """mmengine divides by zero, overshoots or refuses; the documented formula is the oracle."""

    def curve(self, cls, steps, values=(0.5,), **arguments):
        optimizer = optimizer_of(list(values))
        return [v[0] for v in course(optimizer, [cls(optimizer, by_epoch=False, **arguments)], "lr", steps)]

    def test_linear_from_zero(self):
        with pytest.raises(ZeroDivisionError):
            self.curve(mmengine.optim.LinearLR, 5, start_factor=0, end=5)
        found = self.curve(optimzoo.schedules.LinearLR, 6, start_factor=0, end=5)
        assert found == [0, 0.125, 0.25, 0.375, 0.5, 0.5]

    def test_linear_from_zero_resumed_by_last_step(self):
        optimizer = optimizer_of([0.5])
        optimizer.param_groups[0].update(lr=0.0, initial_lr=0.5)
        second = optimzoo.schedules.LinearLR(optimizer, start_factor=0, end=5, last_step=0)
        assert [v[0] for v in course(optimizer, [second], "lr", 2)] == [0.125, 0.125]

    def test_constant_at_zero(self):
        with pytest.raises(ZeroDivisionError):
            self.curve(mmengine.optim.ConstantLR, 4, factor=0, end=3)
        assert self.curve(optimzoo.schedules.ConstantLR, 4, factor=0, end=3) == [0, 0, 0.5, 0.5]

    def test_a_rise_of_one_step(self):
        with pytest.raises(ZeroDivisionError):
            self.curve(mmengine.optim.OneCycleLR, 10, eta_max=1.0, pct_start=0.1, total_steps=10)
        found = self.curve(optimzoo.schedules.OneCycleLR, 10, eta_max=1.0, pct_start=0.1, total_steps=10)
        assert found[0] == 1.0
        assert found[9] == pytest.approx(1 / 25 / 1e4)

    def test_one_cycle_past_its_end_stays(self):
        with pytest.raises(ValueError, match="Tried to step 13 times"):
            self.curve(mmengine.optim.OneCycleLR, 14, eta_max=1.0, total_steps=11)
        found = self.curve(optimzoo.schedules.OneCycleLR, 14, eta_max=1.0, total_steps=11)
        assert found[10:] == [pytest.approx(1 / 25 / 1e4)] * 4

    def test_a_first_loss_above_a_billion_is_the_best_so_far(self):
        optimizer = optimizer_of([0.5])
        schedule = optimzoo.schedules.ReduceOnPlateauLR(optimizer, patience=0)
        schedule.step({"loss": 2e9})
        schedule.step({"loss": 1.5e9})
        assert optimizer.param_groups[0]["lr"] == 0.5


def test_the_first_beta_of_adam_is_its_momentum():
    found = []
    for module in (optimzoo.schedules, mmengine.optim):
        optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], betas=(0.8, 0.9))
        found.append(course(optimizer, [module.CosineAnnealingMomentum(optimizer, T_max=7, eta_min=0.5)], "betas"))
    ours, oracle = ([groups[0] for groups in side] for side in found)
    assert [b[0] for b in ours] == pytest.approx([b[0] for b in oracle], rel=1e-12)
    assert {b[1] for b in ours} == {0.9}


def _mmengine(name):
    return mmengine.registry.PARAM_SCHEDULERS.get(name)
