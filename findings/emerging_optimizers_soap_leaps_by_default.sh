#!/usr/bin/env bash
# emerging-optimizers 0.3.0, torch 2.14.1, Python 3.12. SOAP with default settings makes the loss of a small regression (64 to 64 to 8, no
# biases, lr=0.01) leap from 0.5 to tens of thousands and more within 20 updates, for each of ten seeds: a layer with fewer outputs than
# inputs has a factor without full rank. With as many outputs as inputs, or with use_kl_shampoo=True, no seed's loss rises above 1. No
# warning, and no setting is out of range.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3.12 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 emerging-optimizers==0.3.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from emerging_optimizers.soap import SOAP

def highest(seed, outputs, **settings):
    torch.manual_seed(seed)
    x = torch.randn(64, 64)
    y = torch.tanh(x @ torch.randn(64, outputs) / 8)
    layers = torch.nn.Linear(64, 64, bias=False), torch.nn.Tanh(), torch.nn.Linear(64, outputs, bias=False)
    model = torch.nn.Sequential(*layers)
    optimizer = SOAP(model.parameters(), lr=0.01, **settings)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return max(losses)

def of_seeds(*args, **settings):
    return [float(f"{highest(seed, *args, **settings):.2g}") for seed in range(10)]

leaping, square, kl = of_seeds(8), of_seeds(64), of_seeds(8, use_kl_shampoo=True)
print("highest loss, 8 outputs:", leaping)
print("64 outputs:", square)
print("8 outputs, use_kl_shampoo=True:", kl)
assert min(leaping) > 100 and max(square + kl) < 1
PYTHON
