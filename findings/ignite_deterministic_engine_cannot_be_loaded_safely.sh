#!/usr/bin/env bash
# pytorch-ignite 0.5.5, torch 2.13.0. The state of a DeterministicEngine, which is there to resume a run exactly, has numpy's generator in
# it as numpy gives it, with an array: torch.load refuses the checkpoint by its default (weights_only=True, since torch 2.6), with numpy's
# _reconstruct named. The state of a plain Engine is three numbers and loads.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 pytorch-ignite==0.5.5 numpy
"$dir/venv/bin/python" -W ignore - "$dir/state.pt" <<'PYTHON'
import pickle, sys
import torch
from ignite.engine import DeterministicEngine, Engine

def loaded(kind):
    engine = kind(lambda engine, batch: None)
    engine.run(torch.utils.data.DataLoader(torch.arange(6), batch_size=2, shuffle=True), max_epochs=1)
    torch.save(engine.state_dict(), sys.argv[1])
    return torch.load(sys.argv[1])

print("Engine:", dict(loaded(Engine)))
assert loaded(Engine)["iteration"] == 3
try:
    loaded(DeterministicEngine)
except pickle.UnpicklingError as error:
    told = next(line for line in str(error).splitlines() if "numpy" in line)
    print("DeterministicEngine:", told.strip()[:150])
    assert "_reconstruct" in told
else:
    raise AssertionError("the state of a DeterministicEngine loads")
PYTHON
