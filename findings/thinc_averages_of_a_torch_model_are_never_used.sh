#!/usr/bin/env bash
# thinc 9.1.1 (the layers and optimizers of spaCy), torch 2.13.0. thinc's optimizers keep an average of all weights
# (use_averages=True by default in Adam and SGD), and "with model.use_params(optimizer.averages)" runs a model with it.
# For a module of torch in a PyTorchWrapper the averages are kept, but never used: their keys are pairs of a number and
# a name, and the wrapper looks for text that begins with "pytorch_". Predictions within are those of the last weights,
# with no word. Scores and saved models taken there are of the raw weights, though the same layer written in thinc is
# averaged; in a model of both, an averaged head sits on a body that is not.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 thinc==9.1.1
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import torch
from thinc.api import SGD, Linear, PyTorchWrapper, chain

x, y = np.ones((4, 2), dtype="f"), np.full((4, 1), 5.0, dtype="f")

def layer(kind, wide):
    if kind == "thinc":
        return Linear(wide, 2)
    net = torch.nn.Linear(2, wide)
    torch.nn.init.constant_(net.weight, 0.5)
    torch.nn.init.zeros_(net.bias)
    return PyTorchWrapper(net)

def predictions(*kinds):
    model = chain(layer(kinds[0], 2), Linear(1, 2)) if len(kinds) > 1 else layer(kinds[0], 1)
    model.initialize(x, y)
    for node in model.walk():
        if node.name == "linear":
            node.set_param("W", np.full_like(node.get_param("W"), 0.5))
    optimizer = SGD(0.01, L2=0.0, grad_clip=0.0)
    for _ in range(5):
        output, backward = model.begin_update(x)
        backward(output - y)
        model.finish_update(optimizer)
        optimizer.step_schedules()
    kept = [name for _, name in optimizer.averages if name in ("weight", "bias")]
    raw = float(model.predict(x)[0, 0])
    with model.use_params(optimizer.averages):
        averaged = float(model.predict(x)[0, 0])
    return round(raw, 3), round(averaged, 3), len(kept)

for kinds in (("thinc",), ("torch",), ("torch", "thinc")):
    raw, averaged, kept = predictions(*kinds)
    print(f"{' and '.join(kinds)}: {raw} with the last weights, {averaged} with the averages ({kept} kept for torch)")
    assert (raw == averaged) == (kinds == ("torch",)) and kept == 2 * ("torch" in kinds)
PYTHON
