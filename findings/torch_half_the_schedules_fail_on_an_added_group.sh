#!/usr/bin/env bash
# torch 2.13.0. Unfreezing by optimizer.add_param_group in the middle of a run: six of torch's schedules go on and move the new group too. Five
# fail in their next step: LambdaLR, MultiplicativeLR, CyclicLR and CosineAnnealingWarmRestarts with an error about the lengths
# in zip(), OneCycleLR with a KeyError. LambdaLR is what most warm-ups are made of (transformers' get_scheduler too).
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch.optim import lr_scheduler as of

SCHEDULES = {
    "ExponentialLR": lambda o: of.ExponentialLR(o, 0.5),
    "StepLR": lambda o: of.StepLR(o, 1, 0.5),
    "MultiStepLR": lambda o: of.MultiStepLR(o, [1, 3], 0.5),
    "CosineAnnealingLR": lambda o: of.CosineAnnealingLR(o, 6),
    "PolynomialLR": lambda o: of.PolynomialLR(o, 6),
    "LinearLR": lambda o: of.LinearLR(o),
    "LambdaLR": lambda o: of.LambdaLR(o, lambda step: 0.5**step),
    "MultiplicativeLR": lambda o: of.MultiplicativeLR(o, lambda step: 0.5),
    "CyclicLR": lambda o: of.CyclicLR(o, 0.1, 1.0, 4, cycle_momentum=False),
    "CosineAnnealingWarmRestarts": lambda o: of.CosineAnnealingWarmRestarts(o, 6),
    "OneCycleLR": lambda o: of.OneCycleLR(o, 1.0, 10),
}
failed = []
for name, made in SCHEDULES.items():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = made(optimizer)
    optimizer.step()
    schedule.step()
    optimizer.add_param_group(dict(params=[torch.nn.Parameter(torch.ones(1))], lr=1.0))
    optimizer.step()
    try:
        schedule.step()
        print(f"{name:28}", [round(group["lr"], 3) for group in optimizer.param_groups])
    except (ValueError, KeyError) as error:
        print(f"{name:28}", repr(error))
        failed.append(name)
assert failed == list(SCHEDULES)[6:], failed
PYTHON
