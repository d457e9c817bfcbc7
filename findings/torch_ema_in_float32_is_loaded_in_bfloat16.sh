#!/usr/bin/env bash
# torch-ema 0.3, torch 2.13.0. An average of bfloat16 weights has to be kept in float32, and ExponentialMovingAverage.to(dtype=torch.float32) does
# that. load_state_dict casts what it reads to the dtype of the weights: a resumed average is in bfloat16 again, whatever to() said before, and
# stands still, as a thousandth of the distance is rounded away. Nothing tells of it; to() has to be called after every load, and what was rounded
# is gone.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 torch-ema==0.3
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch_ema import ExponentialMovingAverage

def average(weight):
    made = ExponentialMovingAverage([weight], decay=0.999, use_num_updates=False)
    made.to(dtype=torch.float32)
    return made

weight = torch.nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
straight = average(weight)
with torch.no_grad():
    weight.fill_(2.0)
for _ in range(500):
    straight.update()
resumed = average(weight)
resumed.load_state_dict(straight.state_dict())
print("at the checkpoint", straight.shadow_params[0], "loaded", resumed.shadow_params[0])
assert straight.shadow_params[0].dtype == torch.float32 and resumed.shadow_params[0].dtype == torch.bfloat16
loaded = resumed.shadow_params[0].clone()
for _ in range(2000):
    straight.update()
    resumed.update()
print("2000 updates later", straight.shadow_params[0], "resumed", resumed.shadow_params[0])
assert straight.shadow_params[0] > 1.9 and torch.equal(resumed.shadow_params[0], loaded) and loaded < 1.5
PYTHON
