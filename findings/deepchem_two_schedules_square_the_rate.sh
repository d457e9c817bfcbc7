#!/usr/bin/env bash
# deepchem 2.8.0, torch 2.13.0. PolynomialDecay(0.01, 0.001, 50) is documented to go from a rate of 0.01 to one of
# 0.001. In a TorchModel it goes from 0.0001 to 0.00001: the schedule gives the rate itself, and torch multiplies the
# optimizer's rate, the same 0.01, by it. So does LinearCosineDecay. A rate of 0.001 trains a thousand times too slowly,
# one of 0.1 ten times, and only one of 1 as asked. A number and ExponentialDecay give the rate that was asked for: a
# run with one of the two others looks as if the decay hurt, and no message says what rate it has.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 deepchem==2.8.0
cd "$dir" && "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import logging
logging.disable(logging.CRITICAL)
import deepchem
import numpy as np
import torch
from deepchem.models.optimizers import ExponentialDecay, GradientDescent, LinearCosineDecay, PolynomialDecay

data = deepchem.data.NumpyDataset(np.ones((8, 1), dtype="f"), np.zeros((8, 1), dtype="f"))

def first_step(rate):
    """How far the first update moves a weight of 1 whose gradient is 2, by that gradient."""
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(net.weight)
    loss = deepchem.models.losses.L2Loss()
    model = deepchem.models.TorchModel(net, loss, optimizer=GradientDescent(rate), batch_size=8, log_frequency=1000)
    model.fit(data, nb_epoch=1)
    first = (1 - net.weight.item()) / 2
    model.fit(data, nb_epoch=49)
    return first, model._pytorch_optimizer.param_groups[0]["lr"]

for name, schedule, begins, ends in (
    ("0.01", 0.01, 0.01, 0.01),
    ("ExponentialDecay(0.01, 0.9, 100)", ExponentialDecay(0.01, 0.9, 100), 0.01, None),
    ("PolynomialDecay(0.01, 0.001, 50)", PolynomialDecay(0.01, 0.001, 50), 0.01 * 0.01, 0.01 * 0.001),
    ("LinearCosineDecay(0.01, 50)", LinearCosineDecay(0.01, 50), 0.01 * 0.01, None),
    ("PolynomialDecay(0.1, 0.01, 50)", PolynomialDecay(0.1, 0.01, 50), 0.1 * 0.1, 0.1 * 0.01),
):
    first, last = first_step(schedule)
    print(f"{name}: the first update at a rate of {first:.5f}, after 50 it is {last:.3g}")
    assert abs(first / begins - 1) < 0.02 and (ends is None or abs(last / ends - 1) < 1e-6)
PYTHON
