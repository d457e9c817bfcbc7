#!/usr/bin/env bash
# torch 2.13.0. The order of a set is another in each run, and states are saved by the order of the parameters. One would expect an optimizer to refuse a set: its error for that says so.
# It refuses a set inside a group (TypeError), and takes the same set given by itself, without a word. The state of such a run, loaded into the same optimizer over model.parameters(),
# lands on other parameters, whose shapes are alike. (torch 2.15.0 warns.) 200 parameters here, so that their order in a set is hardly that in the model by chance.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W error::FutureWarning - <<'PYTHON'
import torch

model = torch.nn.ParameterList(torch.nn.Parameter(torch.zeros(1)) for _ in range(200))
together = set(model.parameters())
try:
    torch.optim.SGD([{"params": together}], lr=0.1)
except TypeError as error:
    print("in a group:", str(error)[:59])
    refused = True
assert refused

optimizer = torch.optim.SGD(together, lr=0.1, momentum=0.9)
print("by itself: taken")
for number, parameter in enumerate(model):
    parameter.grad = torch.full((1,), float(number))
optimizer.step()
again = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
again.load_state_dict(optimizer.state_dict())
wrong = sum(float(again.state[p]["momentum_buffer"]) != number for number, p in enumerate(model))
print("momenta that are on another parameter after loading:", "most" if wrong > 100 else "few", "of 200")
assert wrong > 100
PYTHON
