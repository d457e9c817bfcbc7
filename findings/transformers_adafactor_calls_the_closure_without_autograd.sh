#!/usr/bin/env bash
# transformers 5.23.0, torch 2.13.0. Optimizers of torch call a closure with gradients enabled. Adafactor of transformers calls it inside its own
# no_grad: the usual closure (zero, loss, backward) fails in backward, as if the model were frozen. torch.optim.Adafactor takes it.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from transformers.optimization import Adafactor

def after_a_step(optimizer, weight):
    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach()

weight = torch.nn.Parameter(torch.ones(3))
print("torch:", after_a_step(torch.optim.Adafactor([weight], lr=0.1), weight))
weight = torch.nn.Parameter(torch.ones(3))
optimizer = Adafactor([weight], lr=0.1, relative_step=False, scale_parameter=False)
try:
    after_a_step(optimizer, weight)
except RuntimeError as error:
    print("transformers:", error)
    assert "does not require grad" in str(error)
else:
    raise SystemExit("the closure was called with gradients enabled")
PYTHON
