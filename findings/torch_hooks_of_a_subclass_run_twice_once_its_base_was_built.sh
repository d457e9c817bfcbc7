#!/usr/bin/env bash
# torch 2.13.0. An optimizer whose step() calls super().step() runs its step hooks once per step, as expected, until somebody in the process
# builds an optimizer of the base class: torch wraps step() of a class when the first object of exactly that class is made, so from then on the
# hooks run twice per step, of optimizers that were built before too. A pre hook that halves gradients quarters them; an average moves twice.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch

class Named(torch.optim.SGD):
    def step(self, closure=None):
        return super().step(closure)

weight = torch.nn.Parameter(torch.zeros(1))
optimizer = Named([weight], lr=1.0)

def halve(*_):
    calls.append("pre")
    weight.grad.mul_(0.5)

optimizer.register_step_pre_hook(halve)
optimizer.register_step_post_hook(lambda *_: calls.append("post"))

def step():
    calls.clear()
    weight.data.zero_()
    weight.grad = torch.ones(1)
    optimizer.step()
    return [*calls], weight.item()

calls = []
before = step()
torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)  # of another model, never stepped
after = step()
print("before:", before, "after an SGD was built:", after)
assert before == (["pre", "post"], -0.5) and after == (["pre", "pre", "post", "post"], -0.25)
PYTHON
