#!/usr/bin/env bash
# torch 2.13.0. OneCycleLR cycles momentum by default. On an SGD that was built without momentum it neither refuses nor leaves it alone: it sets
# 0.95 at once, so the run trains with momentum between 0.85 and 0.95. AdamW's betas[0] goes from what the user chose to 0.95 as well.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch

def group(optimizer, **settings):
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10, **settings)
    return optimizer.param_groups[0]

weights = [torch.nn.Parameter(torch.ones(1))]
sgd = group(torch.optim.SGD(weights, lr=0.1, momentum=0))["momentum"]
adamw = group(torch.optim.AdamW(weights, lr=0.1, betas=(0.5, 0.999)))["betas"]
off = group(torch.optim.SGD(weights, lr=0.1, momentum=0), cycle_momentum=False)["momentum"]
print("SGD without momentum:", sgd, "AdamW with betas[0]=0.5:", adamw, "cycle_momentum=False:", off)
assert sgd == 0.95 and adamw == (0.95, 0.999) and off == 0
PYTHON
