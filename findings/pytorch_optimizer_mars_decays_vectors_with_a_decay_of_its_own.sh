#!/usr/bin/env bash
# pytorch-optimizer 4.1.0, torch 2.13.0. MARS with weight_decay=0.0, its default, decays: biases, norms and all other parameters of one dimension go by a
# second argument, weight_decay_1d, which is 0.1 by default and which weight_decay does not touch. So it is the other way round than everywhere else,
# where vectors are what is not decayed, and a group with weight_decay=0.0 for norms and biases changes nothing.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 pytorch-optimizer==4.1.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from pytorch_optimizer import MARS

def left(**settings):
    matrix, vector = torch.nn.Parameter(torch.ones(4, 4)), torch.nn.Parameter(torch.ones(4))
    optimizer = MARS([dict(params=[matrix]), dict(params=[vector], **settings)], lr=0.1)
    for _ in range(10):
        matrix.grad, vector.grad = torch.zeros_like(matrix), torch.zeros_like(vector)
        optimizer.step()
    return round(matrix[0, 0].item(), 4), round(vector[0].item(), 4)

for settings in ({}, {"weight_decay": 0.0}, {"weight_decay": 0.5}, {"weight_decay_1d": 0.0}):
    print(f"after ten updates without a gradient, settings of the vector {settings}: matrix {left(**settings)[0]}, vector {left(**settings)[1]}")
assert left() == left(weight_decay=0.0) == left(weight_decay=0.5)
assert left()[0] == 1 and left()[1] < 0.999
assert left(weight_decay_1d=0.0) == (1, 1)
PYTHON
