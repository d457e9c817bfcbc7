#!/usr/bin/env bash
# torch 2.13.0, galore-torch 1.0, torchao 0.18.0. torch.save(optimizer.state_dict()) works for both, and torch.load with its defaults refuses the
# file. GaLoreAdamW keeps a projector object in the state of each matrix. The moments of torchao's AdamW8bit are tensors of a
# class of its own, which torch.load takes once torchao.optim is imported: evaluation or conversion elsewhere fails, training goes on.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 galore-torch==1.0 torchao==0.18.0
cat > "$dir/save.py" <<'PYTHON'
import sys

import torch
from galore_torch import GaLoreAdamW
from torchao.optim import AdamW8bit

galore = dict(rank=4, update_proj_gap=50, scale=0.25, proj_type="std")
for name, made, settings in (("GaLoreAdamW", GaLoreAdamW, galore), ("AdamW8bit", AdamW8bit, {})):
    weight = torch.nn.Parameter(torch.ones(64, 64))
    optimizer = made([dict(params=[weight], **settings)], lr=0.01)
    weight.grad = torch.eye(64)
    optimizer.step()
    torch.save(optimizer.state_dict(), f"{sys.argv[1]}/{name}.pt")
    print(name, {key: type(value).__name__ for key, value in optimizer.state[weight].items()})
PYTHON
TORCHDYNAMO_DISABLE=1 "$dir/venv/bin/python" -W ignore "$dir/save.py" "$dir" 2>/dev/null
loads() { "$dir/venv/bin/python" -W ignore -c "$1; import torch; torch.load('$dir/$2.pt')" 2>/dev/null && echo loads || echo refused; }
galore=$(loads "import galore_torch" GaLoreAdamW); before=$(loads pass AdamW8bit); after=$(loads "import torchao.optim" AdamW8bit)
echo "GaLoreAdamW: $galore; AdamW8bit: $before, after importing torchao.optim: $after"
[ "$galore $before $after" = "refused refused loads" ]
