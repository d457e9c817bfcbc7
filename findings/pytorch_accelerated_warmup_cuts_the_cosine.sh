#!/usr/bin/env bash
# pytorch-accelerated 0.1.61, torch 2.13.0. CosineLrScheduler with a warm-up takes its length off the end a second time: the cosine runs over what
# the warm-up leaves of the run, and is cut off as many steps before its end as the warm-up took, from any height to the least rate. Two epochs of
# ten drop the rate from 0.31 to 0.000001 for the last one; with four it drops from 0.93, and with five there is no cosine and the peak never comes.
# The first rate is used twice.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 pytorch-accelerated==0.1.61
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from pytorch_accelerated.schedulers import CosineLrScheduler

def rates(warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule, seen = CosineLrScheduler(optimizer, total_num_epochs=10, num_update_steps_per_epoch=1, num_warmup_epochs=warmup), []
    for _ in range(10):
        seen.append(round(optimizer.param_groups[0]["lr"], 2))
        optimizer.step()
        schedule.step()
    return seen

for warmup, seen in (
    (0, [1.0, 1.0, 0.98, 0.9, 0.79, 0.65, 0.5, 0.35, 0.21, 0.1]), (2, [0.0, 0.0, 0.5, 1.0, 0.96, 0.85, 0.69, 0.5, 0.31, 0.0]),
    (4, [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 0.93, 0.0, 0.0, 0.0]), (5, [0.0, 0.0, 0.2, 0.4, 0.6, 0.8, 0.0, 0.0, 0.0, 0.0]),
):
    print(f"{warmup} epochs of warm-up: {rates(warmup)}")
    assert rates(warmup) == seen
PYTHON
