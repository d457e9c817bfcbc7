#!/usr/bin/env bash
# ema-pytorch 0.8.3, torch 2.13.0. EMA.forward_eval is there to run the averaged model without gradients and in evaluation mode. It never sets that
# mode: the copy stays in the training mode it was made in. Dropout drops, so that two calls differ, and a batch norm normalises by the batch and
# takes it into its statistics: evaluating changes the average. After ema.ema_model.eval(), which ema.train() undoes, it does what it says.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 ema-pytorch==0.8.3
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from ema_pytorch import EMA

def made():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5))
    ema = EMA(model)
    ema.update()
    return ema

x = torch.ones(16, 4).cumsum(0)
ema = made()
first, second = ema.forward_eval(x), ema.forward_eval(x)
print("as made: two calls differ by", (first - second).abs().max().item(), "zeros", (first == 0).float().mean().item())
print("  batches in the statistics of the average:", ema.ema_model[1].num_batches_tracked.item(), "gradients:", first.requires_grad)
assert not first.requires_grad and not torch.equal(first, second)
assert 0.3 < (first == 0).float().mean() < 0.7 and ema.ema_model[1].num_batches_tracked == 2
ema = made()
ema.ema_model.eval()
first, second = ema.forward_eval(x), ema.forward_eval(x)
print("after ema_model.eval(): two calls differ by", (first - second).abs().max().item())
assert torch.equal(first, second) and ema.ema_model[1].num_batches_tracked == 0
ema.train()
assert not torch.equal(ema.forward_eval(x), ema.forward_eval(x))
PYTHON
