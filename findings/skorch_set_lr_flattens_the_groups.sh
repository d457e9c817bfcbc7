#!/usr/bin/env bash
# skorch 1.4.0, torch 2.13.0. optimizer__param_groups gives a layer a rate of its own when the net is built. Changing the rate of a built net, by
# set_params(lr=...) or set_params(optimizer__lr=...), writes it into every group: the layer's own is gone, without a word.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 skorch==1.4.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from skorch import NeuralNetRegressor

def rates(**change):
    net = NeuralNetRegressor(
        torch.nn.Linear, module__in_features=2, module__out_features=1, optimizer=torch.optim.SGD, lr=1.0, verbose=0,
        optimizer__param_groups=[("bias", dict(lr=0.01))],
    ).initialize()
    before = [group["lr"] for group in net.optimizer_.param_groups]
    net.set_params(**change)
    return before, [group["lr"] for group in net.optimizer_.param_groups]

for change in (dict(lr=0.5), dict(optimizer__lr=0.5)):
    print(change, rates(**change))
    assert rates(**change) == ([0.01, 1.0], [0.5, 0.5])
PYTHON
