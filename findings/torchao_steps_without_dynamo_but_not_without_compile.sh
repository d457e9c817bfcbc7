#!/usr/bin/env bash
# torchao 0.18.0, torch 2.13.0, on a CPU. torch has two switches in the environment that are to make torch.compile do nothing, TORCH_COMPILE_DISABLE and
# TORCHDYNAMO_DISABLE. The 8-bit AdamW, whose step is compiled with fullgraph=True, steps with the second and raises with the first, whose errors
# speak of frames that were not compiled. So a debugging session that turns compiling off by the newer switch loses the optimizer.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 torchao==0.18.0
cat > "$dir/step.py" <<'PYTHON'
import torch
from torchao.optim import AdamW8bit

weight = torch.nn.Parameter(torch.ones(64, 128))
weight.grad = torch.ones_like(weight)
try:
    AdamW8bit([weight], lr=0.1).step()
except RuntimeError as error:
    print("raises:", str(error).partition(". ")[0])
else:
    print("steps, the first weight is", round(weight[0, 0].item(), 3))
PYTHON
for switch in TORCHDYNAMO_DISABLE TORCH_COMPILE_DISABLE; do
  env "$switch=1" "$dir/venv/bin/python" -W ignore "$dir/step.py" 2>/dev/null > "$dir/$switch"
  echo "$switch=1: $(cat "$dir/$switch" | head -1)"
done
grep -q "steps" "$dir/TORCHDYNAMO_DISABLE"
grep -q "no compiled frames" "$dir/TORCH_COMPILE_DISABLE"
