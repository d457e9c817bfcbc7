#!/usr/bin/env bash
# pytorch-ignite 0.5.5, torch 2.13.0. ignite.handlers.LRScheduler makes a handler of a scheduler of torch. It never calls its step(): at the start of each
# iteration it writes what get_lr() gives, and then counts on. StepLR and LambdaLR give torch's rates. Schedules that work from the present rate
# make a change too many, over the one of their constructor: a LinearLR from a tenth warms up from a hundredth to a tenth and stays there for the run;
# ExponentialLR and warm restarts are a step ahead; a cosine over two epochs starts at twice the rate. A handler that calls step() gives torch's rates.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 pytorch-ignite==0.5.5
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from ignite.engine import Engine, Events
from ignite.handlers import LRScheduler
from torch.optim import lr_scheduler as torchs

def rates(make, wrapped):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule, seen = make(optimizer), []

    def update(engine, batch):
        seen.append(round(optimizer.param_groups[0]["lr"], 4))
        optimizer.step()

    engine = Engine(update)
    if wrapped:
        engine.add_event_handler(Events.ITERATION_STARTED, LRScheduler(schedule))
    else:
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: schedule.step())
    engine.run([0] * 6)
    return seen

seen = {}
for name, make in {
    "StepLR": lambda optimizer: torchs.StepLR(optimizer, 3, 0.5),
    "LambdaLR": lambda optimizer: torchs.LambdaLR(optimizer, lambda step: 1 / (step + 1)),
    "LinearLR": lambda optimizer: torchs.LinearLR(optimizer, 0.1, total_iters=4),
    "ExponentialLR": lambda optimizer: torchs.ExponentialLR(optimizer, 0.5),
    "CosineAnnealingLR": lambda optimizer: torchs.CosineAnnealingLR(optimizer, 2),
    "CosineAnnealingWarmRestarts": lambda optimizer: torchs.CosineAnnealingWarmRestarts(optimizer, 3),
}.items():
    seen[name] = rates(make, False), rates(make, True)
    print(f"{name}: step() {seen[name][0]}, LRScheduler {seen[name][1]}")
assert all(seen[name][0] == seen[name][1] for name in ("StepLR", "LambdaLR"))
assert seen["LinearLR"] == ([0.1, 0.325, 0.55, 0.775, 1.0, 1.0], [0.01, 0.0325, 0.055, 0.0775, 0.1, 0.1])
assert all(seen[name][0][1:] == seen[name][1][:-1] for name in ("ExponentialLR", "CosineAnnealingWarmRestarts"))
assert seen["CosineAnnealingLR"][0][0] == 1.0 and seen["CosineAnnealingLR"][1][0] == 2.0
PYTHON
