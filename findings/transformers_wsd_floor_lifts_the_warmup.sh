#!/usr/bin/env bash
# transformers 5.23.0, torch 2.13.0. get_wsd_schedule (warm-up, stable, decay) takes min_lr_ratio, the floor of the decay by its name and by where the
# cosine and the other schedules have one. It is the floor of the warm-up as well: with min_lr_ratio=0.1 the first update is made at a tenth of the
# rate instead of 0, and the warm-up goes by nine tenths. get_cosine_with_min_lr_schedule_with_warmup begins at 0, whatever its floor.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from transformers import get_cosine_with_min_lr_schedule_with_warmup, get_wsd_schedule

def rates(make, **settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule, found = make(optimizer, num_warmup_steps=4, **settings), []
    for _ in range(14):
        found.append(round(schedule.get_last_lr()[0], 3))
        optimizer.step()
        schedule.step()
    return found

for floor in (0.0, 0.1, 0.5):
    wsd = rates(get_wsd_schedule, num_stable_steps=3, num_decay_steps=6, min_lr_ratio=floor)
    cosine = rates(get_cosine_with_min_lr_schedule_with_warmup, num_training_steps=13, min_lr_rate=floor)
    print(f"floor {floor}: wsd warms up {wsd[:5]} and ends at {wsd[-1]}; cosine warms up {cosine[:5]} and ends at {cosine[-1]}")
    assert wsd[0] == wsd[-1] == floor
    assert cosine[0] == 0.0
PYTHON
