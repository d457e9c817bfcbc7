"""Schedules give the numbers of torch's and of transformers' at every step, alone and in a row."""

import math
import random

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import optimzoo.schedules

STEPS = 40


def torchs(name):
    return lambda optimizer, **arguments: getattr(lr_scheduler, name)(optimizer, **arguments)


def transformers(name):
    """A curve of transformers, whose step 0 is the step before the first."""

    def made(optimizer, **arguments):
        import transformers

        schedule = getattr(transformers, name)(optimizer, **arguments)
        optimizer.step()
        schedule.step()
        return schedule

    return made


def sequential(optimizer, first, second, at):
    parts = [lr_scheduler.LinearLR(optimizer, **first), lr_scheduler.CosineAnnealingLR(optimizer, **second)]
    return lr_scheduler.SequentialLR(optimizer, parts, [at])


def pairs(r):
    """For each curve: the arguments here, who else has it, and the arguments there."""
    n, k = r.randint(2, 30), r.randint(1, 9)
    a, b, floor = r.uniform(0.01, 1), r.uniform(0.1, 1), r.uniform(0, 0.05)
    periods = [k * 2**i for i in range(6)]
    yield (
        "Linear",
        dict(start_factor=a, end_factor=b, end=n + 1),
        torchs("LinearLR"),
        dict(start_factor=a, end_factor=b, total_iters=n),
    )
    yield "Constant", dict(factor=a, end=n + 1), torchs("ConstantLR"), dict(factor=a, total_iters=n)
    yield "Exponential", dict(gamma=b), torchs("ExponentialLR"), dict(gamma=b)
    yield "Step", dict(step_size=k, gamma=b), torchs("StepLR"), dict(step_size=k, gamma=b)
    stones = sorted(r.choices(range(1, 35), k=3))
    yield "MultiStep", dict(milestones=stones, gamma=b), torchs("MultiStepLR"), dict(milestones=stones, gamma=b)
    yield "Poly", dict(power=2 * b, end=n + 1), torchs("PolynomialLR"), dict(power=2 * b, total_iters=n)
    yield "CosineAnnealing", dict(T_max=n, eta_min=floor), torchs("CosineAnnealingLR"), dict(T_max=n, eta_min=floor)
    yield (
        "CosineRestart",
        dict(periods=periods, eta_min=floor),
        torchs("CosineAnnealingWarmRestarts"),
        dict(T_0=k, T_mult=2, eta_min=floor),
    )
    strategy, three = r.choice(["cos", "linear"]), r.random() < 0.5
    cycle = dict(total_steps=STEPS + n, pct_start=0.3, div_factor=1 + 20 * b, three_phase=three)
    yield (
        "OneCycle",
        dict(cycle, eta_max=b, anneal_strategy=strategy),
        torchs("OneCycleLR"),
        dict(cycle, max_lr=b, anneal_strategy=strategy, cycle_momentum=False),
    )
    curve = lambda step: 1 / (1 + a * step)  # noqa: E731
    yield "Lambda", dict(function=curve), torchs("LambdaLR"), dict(lr_lambda=curve)
    first, second = dict(start_factor=a, end_factor=1.0), dict(T_max=n + k, eta_min=0.0)
    yield (
        "Sequence",
        dict(curves=[dict(type="Linear", steps=k + 1, **first), dict(type="CosineAnnealing", **second)]),
        sequential,
        dict(first=dict(first, total_iters=k), second=second, at=k + 1),
    )
    yield "InverseSqrt", dict(warmup=n), transformers("get_inverse_sqrt_schedule"), dict(num_warmup_steps=n)
    decay = "cosine" if strategy == "cos" else "linear"
    parts = dict(num_warmup_steps=k, num_decay_steps=k + 3, num_stable_steps=n)  # its least value is its warm-up's too
    yield (
        "WSD",
        dict(warmup=k, decay=k + 3, end=2 * k + 3 + n, shape=decay),
        transformers("get_wsd_schedule"),
        dict(parts, decay_type=decay),
    )


def course(make, arguments, lrs):
    optimizer = torch.optim.SGD([{"params": nn.Parameter(torch.zeros(1)), "lr": lr} for lr in lrs], lr=1.0)
    schedule = make(optimizer, **arguments)
    found = []
    for _ in range(STEPS):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.filterwarnings("ignore:.*epoch parameter in `scheduler.step")  # torch's own, of its SequentialLR
@pytest.mark.parametrize("curve", [name for name, *_ in pairs(random.Random(0))])
def test_a_curve_has_the_values_that_others_give_it(curve):
    for seed in range(25):
        r = random.Random(seed)
        lrs = [r.uniform(0.1, 1) for _ in range(r.randint(1, 3))]
        _, mine, theirs, others = next(pair for pair in pairs(r) if pair[0] == curve)
        found = course(getattr(optimzoo.schedules, f"{curve}LR"), mine, lrs)
        for step, (here, there) in enumerate(zip(found, course(theirs, others, lrs))):
            assert here == pytest.approx(there, rel=1e-9, abs=1e-12), (seed, step, mine)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_plateau_is_that_of_torch(mode):
    for seed in range(40):
        r = random.Random(seed)
        both = dict(factor=r.uniform(0.1, 0.9), patience=r.randint(0, 3), cooldown=r.randint(0, 3), threshold=0.1)
        rule = r.choice(["rel", "abs"])
        metrics = [r.choice([r.uniform(0.1, 2), math.nan]) for _ in range(STEPS)]
        found = []
        for ours in (True, False):
            optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
            if ours:
                name = {"min": "less", "max": "greater"}[mode]
                schedule = optimzoo.schedules.ReduceOnPlateauLR(optimizer, rule=name, threshold_rule=rule, **both)
            else:
                schedule = lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, threshold_mode=rule, **both)
            values = []
            for metric in metrics:
                schedule.step({"loss": metric} if ours else metric)
                values.append(optimizer.param_groups[0]["lr"])
            found.append(values)
        assert found[0] == pytest.approx(found[1], rel=1e-12), (seed, both, rule)
