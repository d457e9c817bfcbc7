#!/usr/bin/env bash
# fastai 2.8.12, torch 2.13.0. GradientAccumulation(32) makes a step when 32 samples or more have been seen, and divides by 32: with batches of 24
# it steps after 48 and its gradient is 1.5 times their mean; with batches of 31 it is nearly twice it. Where the batches fill the number exactly it
# is the mean. What is left at the end of an epoch is counted into the first step of the next.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 fastai==2.8.12
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import tempfile, torch
from fastai.basics import Callback, DataLoader, DataLoaders, Learner, SGD
from fastai.callback.all import GradientAccumulation
from torch.utils.data import TensorDataset

class Watch(Callback):
    order = 100  # after GradientAccumulation, that takes the steps in between out

    def before_step(self):
        self.learn.seen.append(-self.model.bias.grad.item())

def gradients(batch, batches, epochs=1):
    data = DataLoader(TensorDataset(torch.zeros(batch * batches, 1), torch.ones(batch * batches, 1)), bs=batch)
    model = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(model.bias)
    learner = Learner(DataLoaders(data, data), model, loss_func=lambda out, y: (out - y).mean() * -1.0, opt_func=SGD, path=tempfile.mkdtemp())
    learner.seen = []
    with learner.no_bar(), learner.no_logging():
        learner.fit(epochs, lr=0.0, cbs=[GradientAccumulation(32), Watch()])
    return [round(each, 3) for each in learner.seen]

for batch, batches, epochs, seen in (
    (32, 2, 1, [1.0, 1.0]), (16, 4, 1, [1.0, 1.0]), (24, 4, 1, [1.5, 1.5]), (31, 4, 1, [1.938, 1.938]), (16, 3, 2, [1.0, 1.0, 1.0]),
):
    print(f"batches of {batch}, {batches} in an epoch, {epochs} epochs: each step has", gradients(batch, batches, epochs), "times the mean gradient")
    assert gradients(batch, batches, epochs) == seen
PYTHON
