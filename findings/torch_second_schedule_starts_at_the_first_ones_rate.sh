#!/usr/bin/env bash
# torch 2.13.0. A second stage of training: the schedule of the first is done, every group's lr is set to 0.001, and a new schedule is built. Most
# schedules go on from 0.001. LambdaLR (most warm-ups, transformers' get_scheduler too), CosineAnnealingWarmRestarts and whatever is in a SequentialLR do
# not: they take the initial_lr that the first schedule left in the group, and the stage trains at the first stage's rate, here a thousand times as
# much. After a OneCycleLR it is the twenty-fifth part of its maximum. Removing initial_lr from the groups helps.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch.optim import lr_scheduler as schedules

def one_cycle(optimizer):
    return schedules.OneCycleLR(optimizer, 1.0, total_steps=10)

def step_lr(optimizer):
    return schedules.StepLR(optimizer, 5)

def first_rates(first, second, forget=False):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0, momentum=0.9)
    first(optimizer)
    for group in optimizer.param_groups:
        group["lr"] = 0.001
        if forget:
            del group["initial_lr"]
    second(optimizer)
    return optimizer.param_groups[0]["lr"]

following = {
    "StepLR": step_lr, "ExponentialLR": lambda o: schedules.ExponentialLR(o, 0.9), "CosineAnnealingLR": lambda o: schedules.CosineAnnealingLR(o, 10),
    "PolynomialLR": lambda o: schedules.PolynomialLR(o, 10), "ConstantLR": lambda o: schedules.ConstantLR(o, 1.0),
}
leaping = {
    "LambdaLR": lambda o: schedules.LambdaLR(o, lambda step: 1.0), "CosineAnnealingWarmRestarts": lambda o: schedules.CosineAnnealingWarmRestarts(o, 10),
    "SequentialLR of StepLR": lambda o: schedules.SequentialLR(o, [step_lr(o), step_lr(o)], [5]),
}
for name, make in {**following, **leaping}.items():
    after = [first_rates(first, make) for first in (step_lr, one_cycle)]
    print(f"{name} begins at {after[0]} after a StepLR from 1, at {after[1]} after a OneCycleLR to 1")
    assert after == ([0.001, 0.001] if name in following else [1.0, 0.04])
    assert first_rates(step_lr, make, forget=True) == 0.001
PYTHON
