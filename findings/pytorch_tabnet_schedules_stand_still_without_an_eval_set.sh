#!/usr/bin/env bash
# pytorch-tabnet 4.1.0, torch 2.13.0. A scheduler_fn is stepped at the end of an epoch only if there is a validation
# metric, though StepLR and its like do not look at one: fit without eval_set, the usual last training on all the data,
# keeps the first rate to the end, where the same settings with an eval_set have decayed it; no message says so. And
# is_batch_level=True is taken out of scheduler_params, the caller's own dict, by the first fit: the second fold of a
# cross-validation, or a second fit, steps OneCycleLR once per epoch, here 4 of 16 steps, so that the rate only rises
# and training ends near its highest.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 pandas==3.0.6 pytorch-tabnet==4.1.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import torch
from pytorch_tabnet.tab_model import TabNetRegressor

x = np.random.RandomState(0).randn(64, 3)
y = x[:, :1]

def fit(model, eval_set):
    model.fit(x, y, eval_set=eval_set, max_epochs=4, batch_size=16, virtual_batch_size=16)
    return [float(f"{rate:.3g}") for rate in model.history["lr"]]

def model(schedule, **settings):
    first = dict(lr=0.1)
    return TabNetRegressor(optimizer_params=first, scheduler_fn=schedule, scheduler_params=settings, verbose=0, seed=0)

halve = dict(step_size=1, gamma=0.5)
with_set, without = (fit(model(torch.optim.lr_scheduler.StepLR, **halve), data) for data in ([(x, y)], None))
print("StepLR(step_size=1, gamma=0.5) with an eval_set:", with_set)
print("the same without one:                           ", without)
assert with_set == [0.1, 0.05, 0.025, 0.0125] and without == [0.1] * 4

settings = dict(max_lr=0.1, total_steps=16, is_batch_level=True)  # for all folds of a cross-validation
cycle = dict(optimizer_params=dict(lr=0.1), scheduler_fn=torch.optim.lr_scheduler.OneCycleLR, scheduler_params=settings)
first, second = (fit(TabNetRegressor(verbose=0, seed=0, **cycle), [(x, y)]) for fold in range(2))
print("OneCycleLR by batch, the rate after each epoch of the first fold:", first)
print("the second fold, another model with the same settings:           ", second, "by", settings)
assert first[0] > 0.09 and first[-1] < 0.002 and "is_batch_level" not in settings
assert sorted(second) == second and second[-1] > 0.08
PYTHON
