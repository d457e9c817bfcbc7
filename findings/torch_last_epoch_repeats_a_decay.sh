#!/usr/bin/env bash
# torch 2.13.0, skorch 1.4.0, scikit-learn 1.9.1. A scheduler that is built again with last_epoch, over an optimizer that holds the present rate, takes a first
# step. Exponential, cosine, linear, polynomial and lambda schedules know that and leave the rate; StepLR, MultiStepLR and ConstantLR make their
# change a second time if the restart falls on it: half the rate for the rest of the run, and ConstantLR ends at twice the base rate. skorch
# builds its scheduler so at every partial_fit: one epoch per call with StepLR(1, 0.1) decays twice as fast.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 skorch==1.4.0 scikit-learn==1.9.1
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import numpy, torch
from skorch import NeuralNetRegressor
from skorch.callbacks import LRScheduler
from torch.optim import lr_scheduler as torchs

def final(make, restart):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = make(optimizer, last_epoch=-1)
    for epoch in range(6):
        if epoch == restart:
            scheduler = make(optimizer, last_epoch=epoch - 1)
        optimizer.step()
        scheduler.step()
    return round(optimizer.param_groups[0]["lr"], 4)

for name, arguments, restart, change in (
    ("StepLR", (3, 0.5), 3, 0.5), ("MultiStepLR", ([3], 0.5), 3, 0.5), ("ConstantLR", (0.5, 4), 4, 2.0),
    ("StepLR", (3, 0.5), 4, 1), ("ExponentialLR", (0.9,), 3, 1), ("CosineAnnealingLR", (10,), 3, 1), ("LinearLR", (0.1, 1.0, 8), 3, 1),
):
    make = lambda optimizer, last_epoch: getattr(torchs, name)(optimizer, *arguments, last_epoch=last_epoch)
    whole, resumed = final(make, None), final(make, restart)
    print(f"{name}{arguments}: ends at {whole}, built again after {restart} epochs at {resumed}")
    assert abs(resumed / whole - change) < 1e-3

def rates(pieces):
    net = NeuralNetRegressor(
        torch.nn.Linear, module__in_features=2, module__out_features=1, lr=0.1, max_epochs=4 // pieces, train_split=None, verbose=0,
        callbacks=[("schedule", LRScheduler(policy="StepLR", step_size=1, gamma=0.1))],
    )
    for _ in range(pieces):
        net.partial_fit(numpy.ones((8, 2), dtype="float32"), numpy.ones((8, 1), dtype="float32"))
    return [float(f"{rate:.0e}") for rate in net.history[:, "event_lr"]]

print("skorch, four epochs in one call:", rates(1))
print("skorch, one epoch in each of four calls:", rates(4))
assert rates(1) == [1e-1, 1e-2, 1e-3, 1e-4] and rates(4)[-1] < 1e-6
PYTHON
