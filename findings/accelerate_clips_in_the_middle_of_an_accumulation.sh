#!/usr/bin/env bash
# accelerate 1.15.0, torch 2.13.0. Inside accumulate() a loop is written as if each batch made an update: between two updates step(), zero_grad() and a
# prepared scheduler do nothing. clip_grad_norm_ does: it cuts the sum of the batches so far at every one of them, so that early batches lose
# weight and what should cancel does not: gradients with a mean of 0 move the weight by the whole rate. No message. This one of the four calls wants
# "if accelerator.sync_gradients" before it.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 accelerate==1.15.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from accelerate import Accelerator

accelerator = Accelerator(cpu=True, gradient_accumulation_steps=4)

def moved(gradients, guarded):
    layer = torch.nn.Linear(1, 1, bias=False)
    before = layer.weight.item()
    model, optimizer = accelerator.prepare(layer, torch.optim.SGD(layer.parameters(), lr=1.0))
    for gradient in gradients:
        with accelerator.accumulate(model):
            accelerator.backward((model.weight * gradient).sum())
            if accelerator.sync_gradients or not guarded:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    return round(before - layer.weight.item(), 3)

for gradients, as_one, cut in (((40, 0, 0, -40), 0.0, -1.0), ((4, 4, -2, -4), 0.5, -0.5), ((1, 1, 1, 1), 1.0, 1.0)):
    with_guard, without = moved(gradients, True), moved(gradients, False)
    print(f"gradients {gradients}, their mean {sum(gradients) / 4}: one cut moves by {with_guard}, a cut at each batch by {without}")
    assert (with_guard, without) == (as_one, cut)

PYTHON
