#!/usr/bin/env bash
# torch 2.13.0, pytorch-optimizer 4.1.0. Some classes keep more in their state dict than 'state' and 'param_groups': StableSPAM its count of steps and a
# cosine, Ranger21 its own schedule. get_optimizer_state_dict of torch.distributed.checkpoint, which FSDP2's users save by, returns those two keys only,
# and set_optimizer_state_dict tells of nothing: the count begins at 0, and seven steps later the weights are 0.05 (StableSPAM) and 0.005 (Ranger21)
# from those of a run that went on. By the class's own state_dict and load_state_dict they are the same to the bit.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 pytorch-optimizer==4.1.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import copy

import torch
from pytorch_optimizer import Ranger21, StableSPAM
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

inputs = torch.randn(16, 8, generator=torch.Generator().manual_seed(1))

def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        (model(inputs) - inputs[:, :4]).square().mean().backward()
        optimizer.step()

def apart(one, other):
    return max((a - b).abs().max().item() for a, b in zip(one.parameters(), other.parameters()))

for cls, settings, count, seen in (
    (StableSPAM, dict(t_max=20), "total_step", 0.05), (Ranger21, dict(num_iterations=100), "lookahead_step", 0.0048)
):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))
    optimizer = cls(model.parameters(), lr=0.01, **settings)
    train(model, optimizer, 12)
    own = sorted(optimizer.state_dict().keys() - {"state", "param_groups"})
    saved = get_optimizer_state_dict(model, optimizer)
    assert set(saved) == {"state", "param_groups"} and count in own
    by_dcp, by_itself = copy.deepcopy(model), copy.deepcopy(model)
    resumed, exact = cls(by_dcp.parameters(), lr=0.01, **settings), cls(by_itself.parameters(), lr=0.01, **settings)
    set_optimizer_state_dict(by_dcp, resumed, copy.deepcopy(saved))
    exact.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert getattr(resumed, count) == 0 < getattr(optimizer, count) == getattr(exact, count)
    for each in ((model, optimizer), (by_dcp, resumed), (by_itself, exact)):
        train(*each, 7)
    print(f"{cls.__name__} also keeps {', '.join(own)}; resumed by DCP {apart(model, by_dcp):.4f} apart, by itself {apart(model, by_itself)}")
    assert apart(model, by_itself) == 0 and 0.5 * seen < apart(model, by_dcp) < 2 * seen
PYTHON
