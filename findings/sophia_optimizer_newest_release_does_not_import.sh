#!/usr/bin/env bash
# Sophia-Optimizer 0.2.5, torch 2.13.0. What `pip install Sophia-Optimizer` brings today cannot be imported: 0.2.5 made the function sophiag
# a method, and its own __init__.py still imports the function. 0.2.4 imports and makes a step.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
tried() {
    "$dir/venv/bin/pip" install -q --no-deps "Sophia-Optimizer==$1"
    "$dir/venv/bin/python" -W ignore - "$1" <<'PYTHON'
import sys
import torch

try:
    from sophia import SophiaG
except ImportError as error:
    print(sys.argv[1], "ImportError:", str(error).partition(" (")[0])
    assert sys.argv[1] == "0.2.5" and "cannot import name 'sophiag'" in str(error)
else:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = SophiaG([weight], lr=0.1)
    weight.grad = torch.ones(2)
    optimizer.step()
    print(sys.argv[1], "imports, and moves a weight of 1 to", round(weight[0].item(), 4))
    assert sys.argv[1] == "0.2.4" and weight[0] < 1
PYTHON
}
tried 0.2.4
tried 0.2.5
