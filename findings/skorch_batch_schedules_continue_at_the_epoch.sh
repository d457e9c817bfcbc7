#!/usr/bin/env bash
# skorch 1.4.0, torch 2.13.0. LRScheduler(step_every="batch") continues a schedule at the number of epochs, not of batches, whenever
# training goes on (partial_fit, or fit with warm_start). Twice three epochs of four batches are not six: a cosine that should end near 0 is
# still at 0.19, a StepLR decays a second time, and a warm-up to 1 goes on to 2. With
# step_every="epoch" both ways agree.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 skorch==1.4.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from skorch import NeuralNetRegressor
from skorch.callbacks import Callback, LRScheduler

X = torch.arange(120.0).reshape(40, 3) / 120

class Rates(Callback):
    def on_batch_begin(self, net, training=False, **kwargs):
        if training:
            seen.append(round(net.optimizer_.param_groups[0]["lr"], 3))

def rates(calls, epochs, policy, step_every="batch", **settings):
    global seen
    seen = []
    scheduler = LRScheduler(policy=getattr(torch.optim.lr_scheduler, policy), step_every=step_every, **settings)
    net = NeuralNetRegressor(
        torch.nn.Linear, module__in_features=3, module__out_features=1, optimizer=torch.optim.SGD, lr=1.0,
        batch_size=10, train_split=None, verbose=0, callbacks=[("scheduler", scheduler), ("rates", Rates())],
    )
    net.initialize()
    for _ in range(calls):
        net.partial_fit(X.numpy(), X[:, :1].numpy(), epochs=epochs)
    return seen

curves = dict(
    CosineAnnealingLR=dict(T_max=24), StepLR=dict(step_size=12, gamma=0.1), LinearLR=dict(start_factor=0.1, total_iters=20)
)
last = {}
for policy, settings in curves.items():
    once, twice = rates(1, 6, policy, **settings), rates(2, 3, policy, **settings)
    print(f"{policy}: six epochs end at {once[-1]}, twice three at {twice[-1]}")
    assert once[:13] == twice[:13]  # the call that continues begins well
    last[policy] = (once[-1], twice[-1])
assert last == {"CosineAnnealingLR": (0.004, 0.193), "StepLR": (0.1, 0.01), "LinearLR": (1.0, 1.988)}, last
by_epoch = dict(policy="ExponentialLR", step_every="epoch", gamma=0.5)
assert rates(1, 6, **by_epoch) == rates(2, 3, **by_epoch)
PYTHON
