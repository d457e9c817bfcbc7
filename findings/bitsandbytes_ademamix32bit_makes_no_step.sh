#!/usr/bin/env bash
# bitsandbytes 0.50.2, torch 2.13.0, on a CPU. AdEMAMix and AdEMAMix8bit step vectors and matrices. AdEMAMix32bit, the plainest of the three by
# its name, can make no step: whatever the shape, its first one ends in an error about shapes.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 bitsandbytes==0.50.2
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import bitsandbytes
import torch

def after_a_step(name, *shape):
    weight = torch.nn.Parameter(torch.ones(*shape))
    optimizer = getattr(bitsandbytes.optim, name)([weight], lr=0.1)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    return round(weight.detach().flatten()[0].item(), 3)

shapes = ((8,), (4096,), (8, 8), (64, 64))
for name in ("AdEMAMix", "AdEMAMix8bit"):
    print(name, [after_a_step(name, *shape) for shape in shapes])
for shape in shapes:
    try:
        after_a_step("AdEMAMix32bit", *shape)
    except RuntimeError as error:
        print("AdEMAMix32bit", shape, error)
        assert "shape" in str(error)
    else:
        raise SystemExit(f"it steps {shape} now")
PYTHON
