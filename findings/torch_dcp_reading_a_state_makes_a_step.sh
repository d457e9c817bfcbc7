#!/usr/bin/env bash
# torch 2.13.0, pytorch-optimizer 4.1.0. A function with 'get' in its name, called before training (to write down a first checkpoint, say),
# should change nothing. get_optimizer_state_dict gives a fresh optimizer its state by making one step with lr 0 and zero gradients, and leaves
# it made: AdamW counts one update that never was, so its first real step is a quarter smaller; an optimizer whose step is
# not proportional to lr trains the model: Nero and SRMM move the weights, FTRL turns them into NaN.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 pytorch-optimizer==4.1.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch, pytorch_optimizer
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

def moved(make, look):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 2))
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = make(net.parameters())
    if look:
        get_optimizer_state_dict(net, optimizer)
    return net, optimizer, max((a - b).abs().max().item() for a, b in zip(before, net.parameters()))

_, adamw, change = moved(lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0), True)
steps = [int(state["step"]) for state in adamw.state.values()]
print("AdamW, after looking at its state: weights moved by", change, "step counts", steps)
assert change == 0 and steps == [1, 1, 1, 1]

first = {}
for look in (False, True):
    net, optimizer, _ = moved(lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0), look)
    before = net[1].bias.detach().clone()
    net(torch.ones(1, 8)).sum().backward()
    optimizer.step()
    first[look] = (net[1].bias - before).abs().max().item()
print(f"its first real step: {first[False]:.4f}; after a look: {first[True]:.4f}")
assert abs(first[False] - 0.1) < 1e-5 and abs(first[True] - 0.0744) < 1e-4

for name in ("Nero", "SRMM", "FTRL"):
    _, _, change = moved(getattr(pytorch_optimizer, name), True)
    print(name, "after looking at its state: weights moved by", change)
    assert change > 0.05 or change != change
PYTHON
