#!/usr/bin/env bash
# fastai 2.8.12, torch 2.13.0. A Learner keeps weight decay off biases and norms (wd_bn_bias=False), but by a mark that its own optimizers read.
# With OptimWrapper, its way to take an optimizer of torch, the mark is set in a dictionary that nobody reads: AdamW decays everything, with the
# same two words in the Learner. The groups of the optimizer have the decay too.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 fastai==2.8.12
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import tempfile, torch
from functools import partial
from fastai.basics import DataLoader, DataLoaders, Adam, Learner, OptimWrapper
from fastai.callback.all import ProgressCallback  # brings Learner.no_bar
from torch.utils.data import TensorDataset

def after(optimizer):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    for parameter in model.parameters():
        torch.nn.init.ones_(parameter)
    data = DataLoader(TensorDataset(torch.zeros(40, 2), torch.zeros(40, 2)), bs=4)
    learner = Learner(
        DataLoaders(data, data), model, loss_func=lambda out, y: 0 * out.sum(), opt_func=optimizer, wd=10.0, wd_bn_bias=False, path=tempfile.mkdtemp(),
    )
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, lr=0.01)
    return {name: round(parameter.mean().item(), 3) for name, parameter in model.named_parameters()}

own, wrapped = after(Adam), after(partial(OptimWrapper, opt=torch.optim.AdamW))
print("ones after ten steps without a gradient, fastai's Adam:", own)
print("torch's AdamW in OptimWrapper:                         ", wrapped)
assert own == {"0.weight": 0.349, "0.bias": 1.0, "1.weight": 1.0, "1.bias": 1.0}
assert set(wrapped.values()) == {0.349}
PYTHON
