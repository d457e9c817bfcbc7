#!/usr/bin/env bash
# poutyne 1.19.0, torch 2.13.0. With batches_per_step above one Poutyne adds up the losses of all samples and divides the gradient by their number
# before the step. The ClipNorm callback comes before this division, after each batch: a limit of 1 lets the sum have a norm of 1, and a step the
# 8th part of it with 8 samples in 2 batches, the 32nd with 32. With one batch per step the same 8 samples make a step of 1. Without the callback
# the steps are the same.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 poutyne==1.19.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from poutyne import ClipNorm, Model

def step(batches, batch, limit):
    network = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    model = Model(network, torch.optim.SGD(network.parameters(), lr=1.0), lambda output, y: 10 * output.mean())
    data = [(torch.ones(batch, 2), torch.ones(batch, 1))] * batches
    callbacks = [ClipNorm(network.parameters(), limit)] if limit else []
    model.fit_generator(data, None, epochs=1, batches_per_step=batches, callbacks=callbacks, verbose=False)
    return round(network.weight.norm().item(), 4)

for batches, batch, clipped in ((1, 8, 1.0), (2, 4, 0.125), (4, 2, 0.125), (4, 8, 0.0312)):
    print(f"{batches} batches of {batch}: a step of {step(batches, batch, None)} without a limit, {step(batches, batch, 1.0)} with a limit of 1")
    assert step(batches, batch, None) == 14.1421 and step(batches, batch, 1.0) == clipped
PYTHON
