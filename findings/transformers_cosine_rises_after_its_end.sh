#!/usr/bin/env bash
# transformers 5.23.0, torch 2.13.0. Past num_training_steps the linear, polynomial and restarting schedules stay at their end. "cosine" and
# "cosine_with_min_lr" turn round: after as many steps again they are back at the full rate. A run that goes on for longer than was
# planned (more epochs on resume, a count of steps that was too small) trains at a growing rate without a word.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from transformers import get_scheduler

def rates(name, **settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = get_scheduler(name, optimizer, num_warmup_steps=0, num_training_steps=4, scheduler_specific_kwargs=settings)
    seen = []
    for _ in range(9):
        seen.append(round(optimizer.param_groups[0]["lr"], 2))
        optimizer.step()
        schedule.step()
    return seen

for name in ("linear", "polynomial", "cosine_with_restarts"):
    seen = rates(name)
    print(f"{name:22}", seen)
    assert set(seen[4:]) == {0.0}
for name, settings, low in (("cosine", {}, 0.0), ("cosine_with_min_lr", dict(min_lr=0.1), 0.1)):
    seen = rates(name, **settings)
    print(f"{name:22}", seen)
    assert seen[4] == low and seen[8] == 1.0 and seen[4:] == sorted(seen[4:])
PYTHON
