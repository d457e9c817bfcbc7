#!/usr/bin/env bash
# torch 2.13.0, on a CPU. Weights in float16, gradients near 0.001: the square of a gradient, times 1 - beta2, is no number of float16 and is stored as 0.
# The loop divides by 0, for eps of 1e-8 is 0 there too, and ends in an infinite weight or NaN; that is known. The fused kernel computes in float32 and
# looks safe (no NaN, an eps that counts), yet it stores its averages in float16: each update finds an average of squares of 0 beside a full bias
# correction, and 500 of them lead some 75 times as far as in float32. Gradients near 0.01 go as in float32. No error and no warning.
# The guess was: fused Adam is as good in float16 as in bfloat16, but for rounding.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch


def way(name, dtype, scale, fused):
    weight = torch.nn.Parameter(torch.zeros(64, dtype=dtype))
    optimizer = getattr(torch.optim, name)([weight], lr=1e-3, fused=fused)
    random = torch.Generator().manual_seed(0)
    for _ in range(500):
        weight.grad = (scale * (1 + torch.randn(64, generator=random))).to(dtype)
        optimizer.step()
    return weight.detach().double().abs().mean().item()


for name in ("Adam", "AdamW"):
    for scale in (1e-2, 1e-3, 1e-4):
        wide, narrow, half, loop = (
            way(name, dtype, scale, fused)
            for dtype, fused in (
                (torch.float32, True), (torch.float16, True), (torch.bfloat16, True), (torch.float16, False)
            )
        )
        print(f"{name}, gradients near {scale}: {wide:.2f} in float32, fused {narrow:.2f} in float16, {half:.2f} in bfloat16; loop {loop:.2f}")
        assert 0.3 < wide < 0.4
        assert (narrow > 50 * wide) == (scale < 1e-2)
PYTHON
