#!/usr/bin/env bash
# timm 1.0.31, torch 2.14.1. AdaBelief takes amsgrad=True, keeps the largest variance for it in its state, and does not use it while rectify
# is on, which is the default: the weights are equal bit by bit with and without. Only with rectify=False are they others.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from timm.optim import AdaBelief

def trained(**settings):
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = AdaBelief([weight], lr=0.01, **settings)
    for size in (5.0, 0.1, -3.0, *[0.1] * 17):
        weight.grad = size * torch.arange(1.0, 5.0)
        optimizer.step()
    return weight.detach(), sorted(optimizer.state[weight])

(plain, _), (amsgrad, state) = trained(), trained(amsgrad=True)
print("by default:", plain.tolist(), "with amsgrad:", amsgrad.tolist(), "its state:", state)
assert torch.equal(plain, amsgrad) and "max_exp_avg_var" in state
(plain, _), (amsgrad, _) = trained(rectify=False), trained(rectify=False, amsgrad=True)
print("rectify=False:", plain.tolist(), "with amsgrad:", amsgrad.tolist())
assert not torch.equal(plain, amsgrad)
PYTHON
