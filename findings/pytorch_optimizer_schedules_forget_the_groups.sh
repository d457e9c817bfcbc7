#!/usr/bin/env bash
# pytorch-optimizer 4.1.0, torch 2.13.0. Its own schedulers (LinearScheduler, CosineScheduler, PolyScheduler) write one rate into every group,
# their max_lr: groups at 1e-3 and 1e-2 both train at 0.1 from the first step on, and the ratio between them never comes back. And
# max_lr of PolyScheduler is no maximum: the rate grows as (step)^order without a division by t_max, and ends at 100 times max_lr with
# poly_order=2 and t_max=10.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 pytorch-optimizer==4.1.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch, pytorch_optimizer

def rates(name, **kwargs):
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in (1e-3, 1e-2)]
    optimizer = torch.optim.SGD(groups, lr=1e-2)
    scheduler = getattr(pytorch_optimizer, name)(optimizer, t_max=10, max_lr=0.1, **kwargs)
    seen = []
    for _ in range(11):
        scheduler.step()
        seen.append([round(float(group["lr"]), 4) for group in optimizer.param_groups])
    return seen

for name in ("LinearScheduler", "CosineScheduler", "PolyScheduler"):
    seen = rates(name)
    print(f"{name}: groups at 1e-3 and 1e-2 are at {seen[0]} after one step, {seen[5]} after six")
    assert seen[0] == [0.1, 0.1] and all(first == second for first, second in seen)

order = {power: rates("PolyScheduler", poly_order=power)[-1][0] for power in (0.5, 1, 2)}
print("PolyScheduler with max_lr=0.1 and t_max=10, last rate by poly_order:", order)
assert order == {0.5: 0.3162, 1: 1.0, 2: 10.0}, order
PYTHON
