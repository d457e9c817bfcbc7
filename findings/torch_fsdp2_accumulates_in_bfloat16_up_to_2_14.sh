#!/usr/bin/env bash
# torch 2.13.0. FSDP2 with MixedPrecisionPolicy(param_dtype=torch.bfloat16) keeps weights and gradients in float32, so one would expect an accumulation to add up in float32 too.
# While set_requires_gradient_sync(False) holds the exchange back, the sum is kept in bfloat16: 300 gradients of 1 make 256, of 0.001 after one of 1 they make 1.
# reduce_dtype=torch.float32 gives 300. The same lines under torch 2.15.0 give 300 by default: reduce_dtype=None follows the parameter there. One process is enough to see it.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import tempfile
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

store = tempfile.NamedTemporaryFile()
dist.init_process_group("gloo", init_method=f"file://{store.name}", rank=0, world_size=1)
mesh = init_device_mesh("cpu", (1,))

def accumulated(gradients, **policy):
    model = torch.nn.Linear(1, 1, bias=False)
    fully_shard(model, mesh=mesh, mp_policy=MixedPrecisionPolicy(**policy))
    for number, gradient in enumerate(gradients, 1):
        model.set_requires_gradient_sync(number == len(gradients))
        model(torch.full((1, 1), gradient)).sum().backward()
    assert model.weight.grad.dtype == torch.float32
    return round(model.weight.grad.full_tensor().item(), 3)

ones, small = [1.0] * 300, [1.0] + [0.001] * 299
found = {
    "float32": [accumulated(each) for each in (ones, small)],
    "param_dtype=bfloat16": [accumulated(each, param_dtype=torch.bfloat16) for each in (ones, small)],
    "param_dtype=bfloat16, reduce_dtype=float32": [
        accumulated(each, param_dtype=torch.bfloat16, reduce_dtype=torch.float32) for each in (ones, small)
    ],
}
for name, sums in found.items():
    print(f"{name}: 300 gradients of 1 make {sums[0]}, one of 1 and 299 of 0.001 make {sums[1]}")
assert found["float32"] == [300.0, 1.299] and found["param_dtype=bfloat16"] == [256.0, 1.0]
assert found["param_dtype=bfloat16, reduce_dtype=float32"][0] == 300.0
dist.destroy_process_group()
PYTHON
