#!/usr/bin/env bash
# warmup-scheduler 0.3, torch 2.13.0. The state of GradualWarmupScheduler is no numbers: it holds the schedule that follows the warm-up as an object,
# and with it the optimizer and its weights. torch.load refuses it; loaded with weights_only=False, the object acts on the optimizer that came out of
# the file, which trains nothing. The rate stays where it was at the checkpoint for good, without an error (saved in the warm-up, it ends the warm-up,
# and then falls back to where it was). Giving after_scheduler.optimizer the new optimizer after loading mends it.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 warmup-scheduler==0.3
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import io
import pickle

import torch
from warmup_scheduler import GradualWarmupScheduler

def make():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.8)
    after = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    return optimizer, GradualWarmupScheduler(optimizer, multiplier=1, total_epoch=2, after_scheduler=after)

def rates(optimizer, schedule, steps):
    seen = []
    for _ in range(steps):
        optimizer.step()
        schedule.step()
        seen.append(optimizer.param_groups[0]["lr"])
    return seen

for stop, never_stopped, expected in (
    (6, [0.2, 0.2, 0.1, 0.1], [0.4] * 4), (1, [0.8, 0.8, 0.8, 0.4, 0.4, 0.2, 0.2], [0.8] + [0.4] * 6)
):
    optimizer, schedule = make()
    rates(optimizer, schedule, stop)
    file = io.BytesIO()
    torch.save([optimizer.state_dict(), schedule.state_dict()], file)
    straight = rates(optimizer, schedule, len(expected))
    try:
        torch.load(io.BytesIO(file.getvalue()))
        raise SystemExit("the state was loaded")
    except pickle.UnpicklingError:
        pass
    resumed = {}
    for mended in (False, True):
        optimizer, schedule = make()
        for part, state in zip((optimizer, schedule), torch.load(io.BytesIO(file.getvalue()), weights_only=False)):
            part.load_state_dict(state)
        assert schedule.after_scheduler.optimizer is not optimizer
        if mended:
            schedule.after_scheduler.optimizer = optimizer
        resumed[mended] = rates(optimizer, schedule, len(expected))
    print(f"after step {stop}: {straight} without a stop, {resumed[False]} resumed, {resumed[True]} with the new optimizer")
    assert straight == resumed[True] and resumed[False] == expected and straight == never_stopped
PYTHON
