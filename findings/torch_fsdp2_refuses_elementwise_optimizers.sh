#!/usr/bin/env bash
# torch 2.13.0, pytorch-optimizer 4.1.0. An optimizer that treats every element by itself needs nothing of the others, so one would expect it to run on the shards of FSDP2.
# AdamW, NAdam, Lion, AdaBelief do. ADOPT, Adan, MARS, MADGRAD do not: one foreach operation of theirs has no rule for DTensors; torch's own Rprop and
# Adafactor do not either: an operation in place would have to change how the tensor is spread. One process is enough to see it.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 pytorch-optimizer==4.1.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import tempfile
import torch, pytorch_optimizer as other
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

store = tempfile.NamedTemporaryFile()
dist.init_process_group("gloo", init_method=f"file://{store.name}", rank=0, world_size=1)
mesh = init_device_mesh("cpu", (1,))

def outcome(cls, sharded):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))
    if sharded:
        fully_shard(net, mesh=mesh)
    optimizer = cls(net.parameters())
    try:
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.ones(2, 8)).square().mean().backward()
            optimizer.step()
    except (RuntimeError, NotImplementedError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
    return "steps"

runs = (torch.optim.AdamW, torch.optim.NAdam, other.Lion, other.AdaBelief)
fails = (torch.optim.Rprop, torch.optim.Adafactor, other.ADOPT, other.Adan, other.MARS, other.MADGRAD)
for cls in runs + fails:
    found = outcome(cls, True)
    print(f"{cls.__module__.split('.')[0]}.{cls.__name__}: {found}")
    assert outcome(cls, False) == "steps" and (found == "steps") == (cls in runs)
dist.destroy_process_group()
PYTHON
