#!/usr/bin/env bash
# deepspeed 0.19.8, torch 2.13.0, on a CPU. OneCycle cycles momentum between cycle_min_mom and cycle_max_mom, by default too. For Adam's that is betas[0]. It
# writes betas[1] as well: 0.99, which stands in the source and is no argument. An AdamW with betas=(0.9, 0.999) or (0.9, 0.95) trains with 0.99
# from the first update on, without a message. torch's OneCycleLR leaves betas[1] alone.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 setuptools
DS_BUILD_OPS=0 "$dir/venv/bin/pip" install -q deepspeed==0.19.8
DS_ACCELERATOR=cpu "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import torch
from deepspeed.runtime.lr_schedules import OneCycle

def seen(make, betas):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=0.1, betas=betas)
    schedule, found = make(optimizer), []
    for _ in range(8):
        found.append(optimizer.param_groups[0]["betas"])
        optimizer.step()
        schedule.step()
    return found

def deepspeed(optimizer):
    return OneCycle(optimizer, 0.1, 1.0, cycle_first_step_size=3)

def torchs(optimizer):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=8)

for betas in ((0.9, 0.999), (0.9, 0.95)):
    ours, theirs = (seen(make, betas) for make in (deepspeed, torchs))
    print(f"AdamW(betas={betas}): betas[1] is {ours[0][1]} under OneCycle, {theirs[0][1]} under torch's OneCycleLR")
    assert {pair[1] for pair in ours} == {0.99} and {pair[1] for pair in theirs} == {betas[1]}
    assert len({pair[0] for pair in ours}) > 2
PYTHON
