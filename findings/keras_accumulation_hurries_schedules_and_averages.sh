#!/usr/bin/env bash
# Keras 3.15.1 on torch 2.13.0. With gradient_accumulation_steps=4 an optimizer makes a step for every fourth batch, and optimizer.iterations counts
# these steps. Its learning rate schedule counts batches all the same: one written for 8 steps is over after 2, and the third is made at its end.
# The average of use_ema takes in the weights after every batch too: a momentum of 0.9 is one of 0.66 for a step, and the average is 2.6 steps
# behind the weights in place of 9. Adam's bias correction does count steps.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 keras==3.15.1
export KERAS_BACKEND=torch KERAS_HOME="$dir"
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import keras, torch

def run(accumulation, optimizer, steps=8):
    weight, seen = keras.Variable(torch.zeros(1)), []
    for _ in range(steps):
        before = float(weight.value)
        for _ in range(accumulation or 1):
            optimizer.apply([torch.ones(1)], [weight])
        seen.append(round(before - float(weight.value), 4))
    return seen, optimizer, weight

of = keras.optimizers
for accumulation in (None, 4):
    schedule = of.schedules.PolynomialDecay(1.0, 8, end_learning_rate=0.0)
    steps, optimizer, _ = run(accumulation, of.SGD(schedule, gradient_accumulation_steps=accumulation))
    print(f"accumulating {accumulation}: iterations {int(optimizer.iterations)}, steps made {steps}")
    assert int(optimizer.iterations) == 8
    assert steps == ([0.625, 0.125, 0, 0, 0, 0, 0, 0] if accumulation else [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])
    _, optimizer, weight = run(accumulation, of.SGD(1.0, use_ema=True, ema_momentum=0.9, gradient_accumulation_steps=accumulation), 100)
    behind = float(optimizer._model_variables_moving_average[0].value) - float(weight.value)
    print(f"  the average is {behind:.2f} steps behind the weights")
    assert abs(behind - (2.617 if accumulation else 9.0)) < 1e-2
    steps, _, _ = run(accumulation, of.Adam(0.1, gradient_accumulation_steps=accumulation))
    assert all(abs(step - 0.1) < 1e-3 for step in steps)
PYTHON
