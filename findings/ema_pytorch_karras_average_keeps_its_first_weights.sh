#!/usr/bin/env bash
# ema-pytorch 0.8.3, torch 2.13.0. KarrasEMA, which PostHocEMA is made of, averages every update_every steps (100 if nothing is said) to save time,
# but with the share that one step has: it is not raised for the steps that it stands for. A profile of sigma_rel=0.1 has forgotten the first
# weights after a few steps where every step counts; averaging every tenth step it holds 0.3 % of them after 10000 steps, averaging every hundredth
# 66 %.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 ema-pytorch==0.8.3
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from ema_pytorch.post_hoc_ema import KarrasEMA

def first_weights(update_every, steps=10000):
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    average = KarrasEMA(model, sigma_rel=0.1, **({} if update_every is None else dict(update_every=update_every)))
    average.update()
    torch.nn.init.zeros_(model.weight)
    for _ in range(steps):
        average.update()
    return average.ema_model.weight.item()

for update_every, share in ((1, 0.0), (10, 0.0031), (100, 0.6638), (None, 0.6638)):
    seen = first_weights(update_every)
    print(f"update_every={update_every}: {seen:.4f} of the average are the weights before the first of 10000 steps")
    assert abs(seen - share) < 1e-3
PYTHON
