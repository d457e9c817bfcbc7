#!/usr/bin/env bash
# torch 2.13.0. betas given to Adam or AdamW as tensors (as for a captured graph) stay tensors of float32, and with weights in float32 nothing changes.
# With weights in bfloat16 the loop rounds the first beta to bfloat16 before it is used: 0.99 acts as 0.98828, and 0.999 as 1, so that the momentum
# stays zero and not a weight ever moves. Betas as numbers, and the fused kernel with tensors, average as they should.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch

def after_100(beta, dtype, **kernel):
    """Return the momentum and the weight after 100 gradients of 1."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=dtype))
    betas = (beta, torch.tensor(0.999) if isinstance(beta, torch.Tensor) else 0.999)
    optimizer = torch.optim.AdamW([weight], lr=0.01, betas=betas, weight_decay=0, **kernel)
    for _ in range(100):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    return round(optimizer.state[weight]["exp_avg"].item(), 3), round(weight.item(), 1)

found = {}
for dtype in (torch.float32, torch.bfloat16):
    for beta in (0.99, 0.999):
        for name, given, kernel in (
            ("number, loop", beta, dict(foreach=False)),
            ("tensor, loop", torch.tensor(beta), dict(foreach=False)),
            ("tensor, fused", torch.tensor(beta), dict(fused=True)),
        ):
            found[dtype, beta, name] = after_100(given, dtype, **kernel)
            print(f"{dtype}, first beta {beta} as {name}: momentum and weight {found[dtype, beta, name]}")

exact = 1 - 0.99**100  # 0.634
for name in ("number, loop", "tensor, loop", "tensor, fused"):
    assert abs(found[torch.float32, 0.99, name][0] - exact) < 0.001
for name in ("number, loop", "tensor, fused"):
    assert abs(found[torch.bfloat16, 0.99, name][0] - exact) < 0.01
    assert found[torch.bfloat16, 0.999, name][1] < -0.9
assert found[torch.bfloat16, 0.99, "tensor, loop"][0] > exact + 0.02
assert found[torch.bfloat16, 0.999, "tensor, loop"] == (0.0, 0.0)
PYTHON
