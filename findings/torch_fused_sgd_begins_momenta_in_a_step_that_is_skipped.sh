#!/usr/bin/env bash
# torch 2.13.0, on a CPU. A GradScaler leaves it to a fused kernel to skip an update whose gradients overflow, as the first ones under a new scale often
# do. Fused SGD with momentum makes its buffers before the kernel looks, of memory as it was found: the skipped step leaves the weights alone, and
# buffers of anything, which the next update takes for momenta. No error. (With deterministic algorithms on, torch fills fresh memory with NaN, so
# that it shows each time.) fused=False makes no buffers in a skipped step, and Adam's begin as zeros.
# The guess was: a skipped first step leaves no trace.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch

torch.use_deterministic_algorithms(True)


def two_updates(optimizer, overflow, **settings):
    """Return the largest weight after two updates of 100 weights, of which the first may overflow, and the number of states after that."""
    weight = torch.nn.Parameter(torch.zeros(100))
    steps = optimizer([weight], lr=0.1, **settings)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for number in range(2):
        loss = weight.sum() * (float("inf") if overflow and number == 0 else 1.0)
        scaler.scale(loss).backward()
        scaler.step(steps)
        scaler.update()
        steps.zero_grad()
        if number == 0:
            states = len(steps.state)
    return weight.detach().abs().max().item(), states


for fused in (False, True):
    for overflow in (False, True):
        end, states = two_updates(torch.optim.SGD, overflow, momentum=0.9, fused=fused)
        print(f"SGD fused={fused!s:5} first update {'skipped' if overflow else 'made   '}: states after it {states}, weights end at {end:.2f}")
        assert (end != end) == (fused and overflow)
assert abs(two_updates(torch.optim.Adam, True, fused=True)[0] - 0.1) < 1e-4
PYTHON
