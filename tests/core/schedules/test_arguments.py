"""Numbers and lists of NumPy, of torch and of anybody else are Python's, from a config and from a program."""

import io
import json
from collections import UserList

import numpy as np
import pytest
import torch
from torch import nn

import optimzoo.schedules
from optimzoo import build_param_scheduler

CURVES = {
    "Constant": dict(factor=0.5, end=5),
    "CosineAnnealing": dict(T_max=9, eta_min=0.1),
    "CosineRestart": dict(periods=[2, 3], restart_weights=[1.0, 0.5], eta_min_ratio=0.1),
    "Exponential": dict(gamma=0.9),
    "InverseSqrt": dict(warmup=3),
    "Linear": dict(start_factor=0.1, end_factor=0.9, begin=1, end=9),
    "MultiStep": dict(milestones=[3, 5], gamma=0.5),
    "OneCycle": dict(eta_max=[0.5, 0.7], total_steps=9, pct_start=0.3, div_factor=10.0, final_div_factor=100.0),
    "Poly": dict(power=2.0, eta_min=0.1, end=9),
    "QuadraticWarmup": dict(end=5),
    "ReduceOnPlateau": dict(factor=0.5, patience=1, min_value=[0.1, 0.2], threshold=0.1, cooldown=1, eps=0.0),
    "Sequence": dict(curves=[dict(type="Linear", start_factor=0.1, steps=3), dict(type="MultiStep", milestones=[2])]),
    "Step": dict(step_size=3, gamma=0.5),
    "WSD": dict(decay=3, warmup=2, end=9, end_factor=0.1),
}


def nested(value, number, sequence):
    if isinstance(value, dict):
        return {key: nested(item, number, sequence) for key, item in value.items()}
    if isinstance(value, list):
        return sequence([nested(item, number, sequence) for item in value])
    return number(value) if isinstance(value, (int, float)) else value


def array(values):
    return UserList(values) if isinstance(values[0], dict) else np.array(values)


def tensor(values):
    return tuple(values) if isinstance(values[0], dict) else torch.stack(values)


KINDS = {
    "numpy": (lambda v: np.asarray(v)[()], array),
    "numpy without dimensions": (np.asarray, array),
    "torch": (lambda v: torch.tensor(v, dtype=torch.float64 if isinstance(v, float) else None), tensor),
    "tuples": (lambda v: v, tuple),
    "UserList": (lambda v: v, UserList),
}


def course(curve, arguments, how):
    groups = [{"params": nn.Parameter(torch.zeros(1)), "lr": lr} for lr in (1.0, 0.5)]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    if how == "program":
        schedules = [getattr(optimzoo.schedules, f"{curve}LR")(optimizer, **arguments)]
    else:
        convert = dict(convert_to_iter_based=True) if how == "converted" else {}
        schedules = build_param_scheduler(optimizer, dict(type=f"{curve}LR", **arguments, **convert), epoch_length=2)
    found = []
    for _ in range(20):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        for schedule in schedules:
            schedule.step()
            if schedule.need_val_args:
                schedule.step({"loss": 1.0})
    return found, [schedule.state_dict() for schedule in schedules]


@pytest.mark.filterwarnings("ignore:.*their proportions are lost")
@pytest.mark.parametrize("how", ["program", "config", "converted"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("curve", CURVES)
def test_an_argument_means_the_same_whatever_library_its_numbers_are_of(curve, kind, how):
    expected = course(curve, CURVES[curve], how)
    found = course(curve, nested(CURVES[curve], *KINDS[kind]), how)
    assert found == expected
    file = io.BytesIO()
    torch.save(found[1], file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == json.loads(json.dumps(found[1])) == expected[1]
