#!/usr/bin/env bash
# pyro-ppl 1.9.2, torch 2.13.0. optim.load (and set_state) of an optimizer of pyro restores nothing by itself: the state waits until a parameter is stepped
# for the first time. In an optimizer that has made a step it waits for ever: going back to the state of the best epoch changes nothing, and no
# message says so. And while it waits it is in no get_state(): load in a new process and save again before the first step, and the file is empty.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 pyro-ppl==1.9.2
cd "$dir" && "$dir/venv/bin/python" -W ignore - <<'PYTHON'
import pyro
from pyro.optim import Adam
import torch

def steps(optimizer, times):
    for _ in range(times):
        weight = pyro.param("weight", torch.ones(3))
        weight.grad = torch.ones(3)
        optimizer([weight])

def count(optimizer):
    return int(optimizer.get_state()["weight"]["state"][0]["step"])

optimizer = Adam({"lr": 0.1})
steps(optimizer, 2)
optimizer.save("best")
steps(optimizer, 5)
optimizer.load("best")
print("saved after 2 steps, then 5 more, then loaded: step", count(optimizer))
steps(optimizer, 1)
print("and after one more step:", count(optimizer))
assert count(optimizer) == 8

fresh = Adam({"lr": 0.1})
fresh.load("best")
print("a new optimizer that has loaded the file: get_state() is", fresh.get_state())
assert fresh.get_state() == {}
steps(fresh, 1)
print("and after its first step: step", count(fresh))
assert count(fresh) == 3
PYTHON
