#!/usr/bin/env bash
# torch-optimi 0.3.3, torch 2.13.0, triton 3.8.0 (which every build of torch for CUDA brings). StableAdamW asks whether its kernel can be
# used of a list that it has not filled yet, and takes an empty list for yes: on a CPU, beside triton, every step with default settings is a
# RuntimeError about drivers. The other optimizers of the package look at the parameters and step. triton=False helps.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 torch-optimi==0.3.3 triton==3.8.0 packaging
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import optimi, torch

def stepped(cls, **settings):
    weight = torch.nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.ones(4, 4)
    try:
        cls([weight], lr=0.1, **settings).step()
    except RuntimeError as error:
        return str(error).splitlines()[0][:60]
    return "steps" if weight[0, 0] < 1 else "stays"

assert not torch.cuda.is_available(), "this is about machines without a GPU"
seen = {cls.__name__: stepped(cls) for cls in (optimi.AdamW, optimi.Lion, optimi.SGD, optimi.StableAdamW)}
print(seen, "StableAdamW(triton=False):", stepped(optimi.StableAdamW, triton=False))
assert "driver" in seen.pop("StableAdamW")
assert set(seen.values()) == {"steps"} and stepped(optimi.StableAdamW, triton=False) == "steps"
PYTHON
