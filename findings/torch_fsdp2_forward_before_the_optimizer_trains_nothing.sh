#!/usr/bin/env bash
# torch 2.13.0. A forward pass without a backward pass, such as an evaluation, leaves the parameters of FSDP2's root gathered, and gathered ones are others.
# One would expect model.parameters() to be the same objects before and after. An optimizer that is built after an evaluation never gets a gradient:
# its steps do nothing, without an error. And model.zero_grad() after an evaluation clears nothing: the next gradient is added to the last. One process is enough.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import tempfile
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

store = tempfile.NamedTemporaryFile()
dist.init_process_group("gloo", init_method=f"file://{store.name}", rank=0, world_size=1)
mesh, x = init_device_mesh("cpu", (1,)), torch.ones(2, 4)

def network():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    return fully_shard(model, mesh=mesh)

def losses(evaluate_first):
    model = network()
    if evaluate_first:
        with torch.no_grad():
            model(x)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        optimizer.step()
        found.append(round(loss.item(), 4))
    return found

def gradient(clear):
    model = network()
    model(x).sum().backward()
    with torch.no_grad():
        model(x)
    clear(model)
    model(x).sum().backward()
    return round(model[2].bias.grad.full_tensor().item(), 4)

usual, late = losses(False), losses(True)
print("losses, optimizer built first:", usual)
print("losses, optimizer built after an evaluation:", late)
assert usual[-1] < usual[0] and len(set(late)) == 1
kept, cleared = gradient(lambda model: model.zero_grad()), gradient(lambda model: (model.reshard(), model.zero_grad()))
print("gradient of the bias after model.zero_grad():", kept, "- with model.reshard() before it:", cleared)
assert (kept, cleared) == (4.0, 2.0)
dist.destroy_process_group()
PYTHON
