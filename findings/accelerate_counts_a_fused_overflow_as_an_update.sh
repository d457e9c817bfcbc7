#!/usr/bin/env bash
# accelerate 1.15.0, torch 2.13.0. After a step whose scaled gradients overflowed, the prepared optimizer says step_was_skipped, by which loops and the
# prepared schedulers leave the schedule alone. With a fused optimizer the same overflow leaves the weights alone too and lowers the scale, but
# step_was_skipped stays False: torch gives the scale to a fused optimizer and calls its step, which is all that accelerate looks at.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 accelerate==1.15.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.scheduler import AcceleratedScheduler

Accelerator(cpu=True)
found = {}
for fused in (False, True):
    weight = torch.nn.Parameter(torch.ones(3))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    inner = torch.optim.AdamW([weight], lr=0.1, fused=fused)
    optimizer = AcceleratedOptimizer(inner, scaler=scaler)
    schedule = AcceleratedScheduler(torch.optim.lr_scheduler.StepLR(inner, 1, 0.5), optimizer, split_batches=True)
    scaler.scale((weight * float("inf")).sum()).backward()
    optimizer.step()
    schedule.step()
    moved = not torch.equal(weight.detach(), torch.ones(3))
    found[fused] = (moved, scaler.get_scale(), optimizer.step_was_skipped, inner.param_groups[0]["lr"])
    print(f"fused={fused}: moved {moved}, scale {scaler.get_scale():g}, step_was_skipped {optimizer.step_was_skipped}, "
          f"lr {inner.param_groups[0]['lr']}")
assert found == {False: (False, 512.0, True, 0.1), True: (False, 512.0, False, 0.05)}
PYTHON
