#!/usr/bin/env bash
# torch 2.13.0. With weights in bfloat16 torch keeps Adam's average of squared gradients in bfloat16. That the spacing of bfloat16 makes it coarse is
# known; that it acts in one direction is not: a tenth of a percent less (betas[1] = 0.999) is rounded back, so the average never falls. One gradient of
# 100, and 6000 of 1 after it: in float32 the average is back at 1, in bfloat16 it is what the first gradient made it, and every step is a third of
# what it should be, for ever. So is the maximum of Adamax. From 0.996 on downwards the average falls. Fused kernels do the same.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch

def after(cls, dtype, **settings):
    """Return the state after a gradient of 100 and 6000 of 1."""
    weight = torch.nn.Parameter(torch.zeros(8, dtype=dtype))
    optimizer = cls([weight], lr=0.001, **settings)
    for gradient in (100.0, *[1.0] * 6000):
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
    state = optimizer.state[weight]
    return round(float(state["exp_inf" if "exp_inf" in state else "exp_avg_sq"][0]), 1)

optim = torch.optim
for cls, settings in (
    (optim.AdamW, dict(foreach=False)), (optim.AdamW, dict(fused=True)), (optim.NAdam, {}), (optim.RAdam, {}), (optim.Adamax, {}),
    (optim.AdamW, dict(betas=(0.9, 0.997))), (optim.AdamW, dict(betas=(0.9, 0.996))),
):
    wide, narrow = (after(cls, dtype, **settings) for dtype in (torch.float32, torch.bfloat16))
    print(f"{cls.__name__} {settings}: {wide} in float32, {narrow} in bfloat16")
    assert wide == 1.0
    if settings.get("betas") == (0.9, 0.996):
        assert narrow < 2.1
    elif settings.get("betas") == (0.9, 0.997):
        assert narrow > 20
    else:
        assert narrow == (100 if cls is optim.Adamax else 10)
PYTHON
