#!/usr/bin/env bash
# torch 2.13.0. A resumed run loads its optimizer and its schedule. Loaded into both after both are built, all schedules go on where they were. If the optimizer is
# loaded as soon as it is built, and the schedule is built on it and loaded then, the constructor makes its first change on top of the rate that was
# loaded, and the schedule's load does not put that right. Warm-ups and what holds them (LinearLR, ConstantLR, SequentialLR, ChainedScheduler) multiply
# the rate by start_factor once more, and keep that factor for the rest of the run; four others make one update at the first rate. No message.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import copy
import torch
from torch.optim import lr_scheduler as torchs

def rates(optimizer, schedule, steps):
    seen = []
    for _ in range(steps):
        seen.append(round(optimizer.param_groups[0]["lr"], 6))
        optimizer.step()
        schedule.step()
    return seen

makers = {
    "LinearLR": lambda o: torchs.LinearLR(o, 0.1, total_iters=8),
    "ConstantLR": lambda o: torchs.ConstantLR(o, 0.1, total_iters=8),
    "SequentialLR": lambda o: torchs.SequentialLR(o, [torchs.LinearLR(o, 0.1, total_iters=3), torchs.CosineAnnealingLR(o, 30)], [3]),
    "ChainedScheduler": lambda o: torchs.ChainedScheduler([torchs.LinearLR(o, 0.1), torchs.ExponentialLR(o, 0.9)], o),
    "LambdaLR": lambda o: torchs.LambdaLR(o, lambda step: 1 / (step + 1)),
    "CosineAnnealingWarmRestarts": lambda o: torchs.CosineAnnealingWarmRestarts(o, 8),
    "CyclicLR": lambda o: torchs.CyclicLR(o, 0.1, 1.0, 4),
    "OneCycleLR": lambda o: torchs.OneCycleLR(o, 1.0, 30),
    "CosineAnnealingLR": lambda o: torchs.CosineAnnealingLR(o, 30),
    "ExponentialLR": lambda o: torchs.ExponentialLR(o, 0.9),
    "StepLR": lambda o: torchs.StepLR(o, 3, 0.5),
}

def resumed(make, built_first):
    weight = torch.nn.Parameter(torch.ones(1))
    optimizers = [torch.optim.SGD([weight], lr=1.0, momentum=0.9) for _ in range(2)]
    schedule = make(optimizers[0])
    rates(optimizers[0], schedule, 4)
    state, position = copy.deepcopy((optimizers[0].state_dict(), schedule.state_dict()))
    straight = rates(optimizers[0], schedule, 20)
    second = make(optimizers[1]) if built_first else None
    optimizers[1].load_state_dict(state)
    second = second or make(optimizers[1])
    second.load_state_dict(position)
    found = rates(optimizers[1], second, 20)
    return sum(a != b for a, b in zip(found, straight)), round(found[-1] / straight[-1], 3)

wrong = {}
for name, make in makers.items():
    assert resumed(make, built_first=True) == (0, 1)
    wrong[name] = resumed(make, built_first=False)
    print(f"{name}: {wrong[name][0]} of 20 updates at another rate, the last at {wrong[name][1]} of its rate")
assert list(wrong.values()) == [(20, 0.1)] * 4 + [(1, 1.0)] * 4 + [(0, 1.0)] * 3
PYTHON
