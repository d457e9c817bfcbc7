"""Curves that touch zero: the way out is the curve's own, whatever height it fell from."""

import math

import pytest
import torch
from torch import nn

from optimzoo import build_param_scheduler
from optimzoo.schedules import LambdaLR, LinearLR


def sgd(*lrs):
    return torch.optim.SGD([{"params": nn.Parameter(torch.zeros(1)), "lr": lr} for lr in lrs or (1.0,)], lr=1.0)


def course(optimizer, schedules, steps, group=0):
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[group]["lr"])
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    return values


@pytest.mark.parametrize(
    "heights",
    [
        [0.5, 0.25, 0.0, 0.75, 1.0],
        [1.0, 0.5, 0.0, 0.0, 0.0, 0.25],
        [0.2, 0.0, 0.2, 0.0, 0.2],
        [0.0, 0.0, 0.3, 0.0, 0.9],
        [2.0, 0.0, 3.0],
    ],
)
@pytest.mark.parametrize("base", [1.0, 0.37])
def test_a_curve_that_falls_to_zero_from_any_height_comes_back_to_its_own(heights, base):
    optimizer = sgd(base)
    found = course(optimizer, [LambdaLR(optimizer, heights.__getitem__, end=len(heights))], len(heights))
    assert found == pytest.approx([base * height for height in heights])


@pytest.mark.parametrize(("start", "end"), [(0.8, 0.0), (0.3, 0.0), (0.0, 0.6)])
def test_a_line_to_or_from_zero_that_another_curve_goes_on_from(start, end):
    optimizer = sgd(0.5)
    down = LinearLR(optimizer, start_factor=start, end_factor=end, end=5)
    found = course(optimizer, [down], 7)
    assert found == pytest.approx([0.5 * (start + (end - start) * min(t, 4) / 4) for t in range(7)])


def test_what_another_schedule_had_made_of_the_value_is_kept_across_the_zero():
    optimizer = sgd(1.0)
    schedules = build_param_scheduler(
        optimizer,
        [
            dict(type="MultiStepLR", milestones=[1], gamma=0.5),
            dict(type="LambdaLR", function=lambda t: abs(math.cos(math.pi * t / 6)) if t % 6 != 3 else 0.0),
        ],
    )
    found = course(optimizer, schedules, 6)
    expected = [(0.5 if t else 1) * abs(math.cos(math.pi * t / 6)) for t in range(6)]
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("schedule_first", [True, False])
@pytest.mark.parametrize(
    "cfg",
    [
        dict(type="StepLR", step_size=2, gamma=0.5, by_epoch=False),
        dict(type="LinearLR", start_factor=0.0, end=9, by_epoch=False),
        dict(type="ConstantLR", factor=0.5, end=20, by_epoch=False),
        [
            dict(type="LinearLR", end=4, by_epoch=False),
            dict(type="CosineAnnealingLR", T_max=9, begin=4, by_epoch=False),
        ],
    ],
)
def test_an_unchanged_schedule_resumed_by_the_config_starts_from_the_configs_rate(cfg, schedule_first):
    def built(lr, steps):
        optimizer = sgd(lr)
        group = build_param_scheduler(optimizer, cfg)
        course(optimizer, group, steps)
        group.counts["iter"] = steps
        return optimizer, group

    old, saved = built(1.0, 5)
    new, group = built(0.0069, 0)
    state = old.state_dict()
    for own, kept in zip(state["param_groups"], new.param_groups):
        own["initial_lr"] = kept["initial_lr"]  # the config's
    parts = [(new.load_state_dict, (state,)), (group.load_state_dict, (saved.state_dict(), "config"))]
    for load, arguments in reversed(parts) if schedule_first else parts:
        load(*arguments)
    straight, expected = built(0.0069, 5)
    assert new.param_groups[0]["lr"] == pytest.approx(straight.param_groups[0]["lr"], rel=1e-12)
    assert course(new, group, 5) == pytest.approx(course(straight, expected, 5))
