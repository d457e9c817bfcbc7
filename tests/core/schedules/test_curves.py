"""The table of the curves: each follows its formula, and goes on in a fresh process as if it had never stopped."""

import json
import math
import random

import pytest
import torch

from optimzoo import build_param_scheduler
from optimzoo.bundled import bundled_schedules


def half_cosine(progress):
    return (1 + math.cos(math.pi * progress)) / 2


def one_cycle(t):
    if t <= 6.5:
        return 0.3 + (0.3 / 25 - 0.3) * half_cosine(t / 6.5)
    return 0.3 / 25e4 + (0.3 - 0.3 / 25e4) * half_cosine((min(t, 24) - 6.5) / 17.5)


CURVES = {
    "Constant": (dict(factor=0.0, begin=2, end=9), lambda t: 0.0 if 2 <= t < 8 else 1.0),
    "CosineAnnealing": (dict(T_max=7, eta_min_ratio=0.1), lambda t: 0.1 + 0.9 * half_cosine(t / 7)),
    "CosineRestart": (
        dict(periods=[5, 9], restart_weights=[1, 0.5]),
        lambda t: half_cosine(t / 5) if t < 5 else 0.5 * half_cosine((min(t, 13) - 5) / 9),
    ),
    "Exponential": (dict(gamma=0.9), lambda t: 0.9**t),
    "InverseSqrt": (dict(warmup=6), lambda t: min((t + 1) / 6, math.sqrt(6 / (t + 1)))),
    "Lambda": (dict(function=lambda t: 1 / (1 + t)), lambda t: 1 / (1 + t)),
    "Linear": (dict(start_factor=0.0, begin=3, end=20), lambda t: min((t - 3) / 16, 1.0) if t >= 3 else 1.0),
    "MultiStep": (dict(milestones=[4, 9, 9]), lambda t: 0.1 ** ((t >= 4) + 2 * (t >= 9))),
    "OneCycle": (dict(eta_max=[0.3, 0.7], end=25), one_cycle),
    "Poly": (dict(power=0.9, eta_min_ratio=0.01, end=25), lambda t: 0.01 + 0.99 * (1 - min(t, 24) / 24) ** 0.9),
    "QuadraticWarmup": (dict(end=12), lambda t: ((min(t, 11) + 1) / 12) ** 2),
    "ReduceOnPlateau": (dict(patience=1, cooldown=1, factor=0.5, min_value=[0.1, 0.2]), None),
    "Sequence": (
        dict(curves=[dict(type="Linear", start_factor=0, steps=6), dict(type="Exponential", gamma=0.8)]),
        lambda t: t / 5 if t < 6 else 0.8 ** (t - 6),
    ),
    "Step": (dict(step_size=4), lambda t: 0.1 ** (t // 4)),
    "WSD": (dict(warmup=4, decay=8, end=28), lambda t: min((t + 1) / 4, 1 - min(max(t + 1 - 20, 0), 8) / 8)),
}
"""The arguments of each curve, and its value at each step from 1 on (None: a metric decides). A new curve is a row."""

STEPS = 30
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


def test_every_curve_has_its_row():
    suffix = "ParamScheduler"
    assert {s.name.removesuffix(suffix) for s in bundled_schedules() if s.name.endswith(suffix)} == set(CURVES)


@pytest.mark.parametrize("curve", [name for name, (_, formula) in CURVES.items() if formula])
def test_each_curve_follows_its_formula(curve):
    arguments, formula = CURVES[curve]
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": lr} for lr in (1.0, 0.3)], lr=1.0)
    schedules = build_param_scheduler(optimizer, dict(type=f"{curve}LR", **arguments))
    for t in range(STEPS):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(formula(t), abs=1e-12), t
        schedules[0].step()


def in_a_fresh_process(run, tmp_path, code):
    (tmp_path / "go.py").write_text(RUN + code)
    return json.loads(run(tmp_path / "go.py", path=[str(p) for p in _paths()]).stdout)


def _paths():
    import optimzoo
    import optimzoo_plugins

    return {optimzoo.__path__[0].rpartition("/")[0], optimzoo_plugins.__path__[0].rpartition("/")[0]}


def test_every_curve_continues_in_a_fresh_process_as_if_it_had_never_stopped(run, tmp_path):
    scope: dict = {}
    exec(RUN, scope)
    chosen = random.Random(4)
    expected, stops, cfgs = {}, {}, {}
    curves = {name: arguments for name, (arguments, _) in CURVES.items() if name != "Lambda"}  # its function stays here
    for curve, arguments in curves.items():
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
    for curve in curves:
        assert found[curve] == [expected[curve]] * 2, curve
