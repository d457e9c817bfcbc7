#!/usr/bin/env bash
# torch-optimizer 0.3.0, torch 2.13.0. RAdam takes parameter groups with learning rates of their own, and shows them in param_groups. Its steps do not:
# a group moves exactly as if it had the first group's rate, whatever its own. The step size is kept in a buffer by the number of the update, which
# the first parameter fills, rate and all, and every other one of the same update takes. A layer that is to be slower, or frozen at 0, is not.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 torch-optimizer==0.3.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
import torch_optimizer

def moved(cls, *rates):
    weights = [torch.nn.Parameter(torch.ones(4)) for _ in rates]
    optimizer = cls([dict(params=[weight], lr=lr) for weight, lr in zip(weights, rates)])
    for _ in range(10):
        for weight in weights:
            weight.grad = torch.full_like(weight, 0.5)
        optimizer.step()
    return [round(1 - weight[0].item(), 4) for weight in weights]

for rates in ((0.1,), (0.001,), (0.1, 0.001), (0.001, 0.1), (0.1, 0.0)):
    print(f"rates {rates}: torch_optimizer.RAdam moves {moved(torch_optimizer.RAdam, *rates)}, "
          f"torch.optim.RAdam {moved(torch.optim.RAdam, *rates)}")
fast, slow = moved(torch_optimizer.RAdam, 0.1), moved(torch_optimizer.RAdam, 0.001)
assert moved(torch_optimizer.RAdam, 0.1, 0.001) == fast * 2
assert moved(torch_optimizer.RAdam, 0.001, 0.1) == slow * 2
assert moved(torch_optimizer.RAdam, 0.1, 0.0) == fast * 2
assert moved(torch.optim.RAdam, 0.1, 0.0)[1] == 0
PYTHON
