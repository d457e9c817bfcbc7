#!/usr/bin/env bash
# timm 1.0.31, torch 2.14.1. ModelEmaV3(use_warmup=True, update_after_step=50) is a moving average that begins after 50
# steps and warms its decay up. It counts no steps: update(model), the call of its two older versions, averages with the
# full decay from the first call on, and both settings do nothing, with no word. After 100 updates with a decay of
# 0.9999 the average is 99 % the weights it was made with. Only update(model, step=n) reads them, with n counted over
# the whole run; and with a step, whatever the settings, the updates of steps 0 and 1 copy the weights, so that a loop
# which passes the number of the batch in its epoch throws the average away at the start of each epoch.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from timm.utils import ModelEmaV3

def share(steps, **settings):
    """How much of the average is weights of 1, when it began with 0 and was updated with 1 in each of the steps."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    average = ModelEmaV3(model, decay=0.9999, **settings)
    torch.nn.init.ones_(model.weight)
    for step in steps:
        average.update(model) if step is None else average.update(model, step=step)
    return round(average.module.weight.item(), 3)

warm = dict(use_warmup=True, update_after_step=50)
for told, steps in (("nothing", [None] * 100), ("the step", range(100))):
    plain, warmed = share(steps), share(steps, **warm)
    print(f"told {told}: without settings {plain} of the average are the new weights, with {warm} {warmed}")
    assert (plain, warmed) == ((0.01, 0.01) if told == "nothing" else (1.0, 1.0))

def after_an_epoch(first):
    """The average after 1000 steps with a weight of 0 and two of the next epoch with a weight of 1."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    average = ModelEmaV3(model, decay=0.9999)
    for step in range(1000):
        average.update(model, step=step)
    torch.nn.init.ones_(model.weight)
    for step in (first, first + 1):
        average.update(model, step=step)
    return round(average.module.weight.item(), 4)

print("steps that go on at 1000:", after_an_epoch(1000), "- steps that begin at 0 again:", after_an_epoch(0))
assert after_an_epoch(1000) == 0.0002 and after_an_epoch(0) == 1.0
PYTHON
