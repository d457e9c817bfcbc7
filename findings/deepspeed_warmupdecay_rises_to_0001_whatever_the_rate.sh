#!/usr/bin/env bash
# deepspeed 0.19.8, torch 2.13.0, on a CPU. Of its three warm-ups two rise to the rates of the optimizer's groups when no warmup_max_lr is given: WarmupLR and
# WarmupCosineLR. WarmupDecayLR, a subclass of the first, rises to 0.001 whatever the optimizer says, in all groups: fine-tuning with AdamW at 2e-5 goes
# up to fifty times that, and a group at a tenth of the rate is at the same 0.001. A warmup_max_lr that is a number flattens the groups in
# WarmupLR too. And each of them makes two updates at a rate of 0 before the warm-up begins to rise.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 setuptools
DS_BUILD_OPS=0 "$dir/venv/bin/pip" install -q deepspeed==0.19.8
DS_ACCELERATOR=cpu "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import logging
import torch
from deepspeed.runtime import lr_schedules

logging.disable(logging.WARNING)

def rates(name, **settings):
    body, head = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = torch.optim.AdamW([dict(params=[body], lr=2e-6), dict(params=[head])], lr=2e-5)
    schedule, seen = getattr(lr_schedules, name)(optimizer, warmup_num_steps=4, **settings), []
    for _ in range(20):
        seen.append(tuple(float(f"{group['lr']:.3g}") for group in optimizer.param_groups))
        optimizer.step()
        schedule.step()
    return seen

seen = {}
for name, settings in {
    "WarmupLR": {},
    "WarmupCosineLR": dict(total_num_steps=20),
    "WarmupDecayLR": dict(total_num_steps=20),
    "WarmupLR, warmup_max_lr=2e-5": dict(warmup_max_lr=2e-5),
}.items():
    seen[name] = found = rates(name.split(",")[0], **settings)
    print(f"{name}: the first rates {found[:4]}, the highest {max(found)}")
    assert found[:2] == [(0.0, 0.0)] * 2 and min(found[2]) > 0
assert max(seen["WarmupLR"]) == max(seen["WarmupCosineLR"]) == (2e-6, 2e-5)
assert max(seen["WarmupDecayLR"]) == (0.001, 0.001) and max(seen["WarmupLR, warmup_max_lr=2e-5"]) == (2e-5, 2e-5)
PYTHON
