#!/usr/bin/env bash
# mmengine-lite 0.10.7, torch 2.13.0. LinearLR(start_factor=0.1, end=2) trains one step at a tenth of the rate, and then at the full one. With
# end=1 it starts at a tenth too, and stays there for the whole run; so do ConstantLR(end=1), and a warm-up "for one epoch"
# with by_epoch=True that is not converted to iterations. No message.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 mmengine-lite==0.10.7
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from mmengine.optim import ConstantLR, LinearLR

def rates(curve, **settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule, seen = curve(optimizer, **settings), []
    for _ in range(6):
        seen.append(round(optimizer.param_groups[0]["lr"], 3))
        optimizer.step()
        schedule.step()
    return seen

for curve, settings in ((LinearLR, dict(start_factor=0.1)), (ConstantLR, dict(factor=0.1))):
    one, two = rates(curve, end=1, **settings), rates(curve, end=2, **settings)
    print(curve.__name__, "end=1:", one, "end=2:", two)
    assert one == [0.1] * 6 and two == [0.1] + [1.0] * 5
PYTHON
