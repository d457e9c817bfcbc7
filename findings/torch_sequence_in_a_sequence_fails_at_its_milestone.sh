#!/usr/bin/env bash
# torch 2.13.0. SequentialLR takes a SequentialLR or a ChainedScheduler as one of its schedules, and as its first one it works. As a later one it is accepted by the
# constructor and trains, until its milestone is reached: there step() raises a NotImplementedError without a word, since the outer schedule calls step(0),
# which a composed schedule lends to get_lr(), which it does not have. A run with a warm-up of ten thousand updates fails after ten thousand
# updates, and its checkpoints do too. One SequentialLR with all milestones, or a ChainedScheduler around it, does not fail.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch.optim import lr_scheduler as torchs

def warmup(optimizer):
    return torchs.LinearLR(optimizer, 0.1, total_iters=100)

def plateau_then_decay(optimizer):
    return torchs.SequentialLR(optimizer, [torchs.ConstantLR(optimizer, 1.0), torchs.ExponentialLR(optimizer, 0.99)], [50])

def chain(optimizer):
    return torchs.ChainedScheduler([torchs.CosineAnnealingLR(optimizer, 200), torchs.StepLR(optimizer, 50)], optimizer)

def ends(make):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = make(optimizer)
    for update in range(1, 201):
        optimizer.step()
        try:
            schedule.step()
        except NotImplementedError as error:
            return f"{error!r} in step {update}"
    return "200 steps"

def sequence(*parts):
    return lambda optimizer: torchs.SequentialLR(optimizer, [part(optimizer) for part in parts], [100])

seen = {
    "warm-up, then a sequence": ends(sequence(warmup, plateau_then_decay)),
    "warm-up, then a chain": ends(sequence(warmup, chain)),
    "a sequence, then a warm-up": ends(sequence(plateau_then_decay, warmup)),
    "a chain, then a warm-up": ends(sequence(chain, warmup)),
    "a chain of a sequence": ends(lambda optimizer: torchs.ChainedScheduler([plateau_then_decay(optimizer)], optimizer)),
}
for name, end in seen.items():
    print(f"{name}: {end}")
assert list(seen.values()) == ["NotImplementedError() in step 100"] * 2 + ["200 steps"] * 3
PYTHON
