#!/usr/bin/env bash
# MONAI 1.6.1, torch 2.13.0. WarmupCosineSchedule(end_lr=...) does not anneal to end_lr: its cosine goes to 0 and is cut off at end_lr, the same
# number for every group. A group with a smaller rate than end_lr warms up to its own rate and jumps to end_lr in the step in which the warm-up is
# over, ten times as much here, for the rest of the run. torch's cosine with eta_min reaches the end in the last step; this one stands at it
# earlier.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 monai==1.6.1
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from monai.optimizers import WarmupCosineSchedule

head, backbone = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
optimizer = torch.optim.SGD([{"params": [head], "lr": 0.1}, {"params": [backbone], "lr": 0.001}], lr=0.1)
schedule, rates = WarmupCosineSchedule(optimizer, warmup_steps=4, t_total=20, end_lr=0.01), []
for _ in range(21):
    rates.append([round(group["lr"], 5) for group in optimizer.param_groups])
    optimizer.step()
    schedule.step()
print("the group of 0.1:  ", [rate[0] for rate in rates])
print("the group of 0.001:", [rate[1] for rate in rates])
assert [rate[1] for rate in rates] == [0.0, 0.00025, 0.0005, 0.00075] + [0.01] * 17
assert rates[4][0] == 0.1 and rates[12][0] == 0.05  # half way: a cosine to 0, not to 0.01
assert rates[16][0] > 0.01 and all(rate[0] == 0.01 for rate in rates[17:])
PYTHON
