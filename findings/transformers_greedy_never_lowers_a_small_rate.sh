#!/usr/bin/env bash
# transformers 5.23.0, torch 2.13.0. The schedule "greedy" (GreedyLR) follows the metric: it raises the rate while things get better and lowers it when they
# stall. Its floor, min_lr, is 1e-3, and a step down to the floor that would be a step up is left out. So from the Trainer's own rate, 5e-5, and from
# every other below 1e-3, it only ever goes up: fifty evaluations that get worse change nothing, fifty that get better raise it. min_lr=0 helps.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from transformers import TrainingArguments, get_scheduler

def end(lr, losses, **settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr)
    schedule = get_scheduler("greedy", optimizer, scheduler_specific_kwargs=settings)
    for loss in losses:
        optimizer.step()
        schedule.step(loss)
    return float(f"{schedule.get_last_lr()[0]:.3g}")

worse, better = [float(n) for n in range(50)], [float(50 - n) for n in range(50)]
assert TrainingArguments.learning_rate == 5e-5
for lr in (5e-5, 5e-4, 1e-2):
    print(f"lr {lr}: ends at {end(lr, worse)} when the loss grows, at {end(lr, better)} when it falls")
print(f"lr 5e-05 and min_lr=0: ends at {end(5e-5, worse, min_lr=0.0)} when the loss grows")
assert end(5e-5, worse) == 5e-5 < end(5e-5, better)
assert end(5e-4, worse) == 5e-4 < end(5e-4, better)
assert end(1e-2, worse) < 1e-2 < end(1e-2, better)
assert end(5e-5, worse, min_lr=0.0) < 5e-5
PYTHON
