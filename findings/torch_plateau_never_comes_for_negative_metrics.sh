#!/usr/bin/env bash
# torch 2.13.0. With the default threshold (relative, 1e-4) an improvement over best is a value below best * (1 - 1e-4) in mode min. For a
# negative best (a log-likelihood, an ELBO, an energy, a score by max) that bound lies on the wrong side: the same value again
# counts as an improvement, a slightly worse one too, and the rate is never reduced. The same metric, shifted to be positive, works.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

def final_lr(mode, values, **kwargs):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = ReduceLROnPlateau(optimizer, mode=mode, patience=2, **kwargs)
    for value in values:
        scheduler.step(value)
    return optimizer.param_groups[0]["lr"]

for mode in ("min", "max"):
    for value in (10.0, -10.0):
        print(f"{mode}, {value} for 20 epochs: lr", f"{final_lr(mode, [value] * 20):.0e}")
assert final_lr("min", [10.0] * 20) < 1e-5 and final_lr("max", [10.0] * 20) < 1e-5
assert final_lr("min", [-10.0] * 20) == 1.0 and final_lr("max", [-10.0] * 20) == 1.0

worse = [-10.0 + 0.0005 * epoch for epoch in range(50)]
print("min, getting worse from -10 by 0.0005 an epoch: lr", final_lr("min", worse))
assert final_lr("min", worse) == 1.0
shifted = [value + 20 for value in worse]
print("the same plus 20: lr", f"{final_lr('min', shifted):.0e}")
assert final_lr("min", shifted) < 1e-5
absolute = final_lr("min", [-10.0] * 20, threshold_mode="abs")
print("-10 with threshold_mode='abs': lr", f"{absolute:.0e}")
assert absolute < 1e-5
PYTHON
