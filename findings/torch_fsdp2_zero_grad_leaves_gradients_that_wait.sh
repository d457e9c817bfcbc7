#!/usr/bin/env bash
# torch 2.13.0. While set_requires_gradient_sync(False) holds the exchange back, FSDP2 keeps the gradients to itself: .grad is None all along. One would expect zero_grad() to clear them,
# as when a batch is thrown away or a run goes back to an earlier state. Neither that of the optimizer nor that of the model does, nor a load_state_dict of both:
# the next exchange adds them to the gradient of the next update. (The same under torch 2.15.0.) One process is enough to see it.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import copy, tempfile
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

store = tempfile.NamedTemporaryFile()
dist.init_process_group("gloo", init_method=f"file://{store.name}", rank=0, world_size=1)
mesh = init_device_mesh("cpu", (1,))

def gradient(clear):
    model = torch.nn.Linear(1, 1, bias=False)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    states = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    model.set_requires_gradient_sync(False)
    model(torch.full((1, 1), 1000.0)).sum().backward()  # a batch that is thrown away
    assert model.weight.grad is None
    clear(model, optimizer, states)
    model.set_requires_gradient_sync(True)
    model(torch.ones(1, 1)).sum().backward()
    return model.weight.grad.full_tensor().item()

ways = {
    "optimizer.zero_grad()": lambda model, optimizer, states: optimizer.zero_grad(),
    "model.zero_grad()": lambda model, optimizer, states: model.zero_grad(),
    "reshard(), then zero_grad()": lambda model, optimizer, states: (model.reshard(), optimizer.zero_grad()),
    "load_state_dict of both": lambda model, optimizer, states: (
        model.load_state_dict(states[0]), optimizer.load_state_dict(states[1]), optimizer.zero_grad()
    ),
}
for name, clear in ways.items():
    found = gradient(clear)
    print(f"{name}: the next gradient is {found:g}, and 1 by itself")
    assert found == 1001.0
dist.destroy_process_group()
PYTHON
