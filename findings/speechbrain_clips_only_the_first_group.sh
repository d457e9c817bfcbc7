#!/usr/bin/env bash
# speechbrain 1.1.2, torch 2.13.0. Brain clips gradients to max_grad_norm in the first group of an optimizer alone, and each optimizer for itself.
# Weights in any other group, the usual one for a rate or a decay of their own, make a step with all of their gradient: 1414 here, where the limit
# is 1, and no word. In one group the same weights are clipped together. (torchaudio, which Brain does not call, is replaced: its builds want
# another torch.)
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 speechbrain==1.1.2
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import logging, sys, torch
from unittest import mock

for name in ("torchaudio", "torchaudio.transforms", "torchaudio.functional", "torchaudio.compliance", "torchaudio.compliance.kaldi"):
    sys.modules[name] = mock.MagicMock()
logging.disable(logging.CRITICAL)
import speechbrain

class Brain(speechbrain.Brain):
    def compute_forward(self, batch, stage):
        return self.modules.model(batch)

    def compute_objectives(self, predictions, batch, stage):
        return 1000 * predictions.mean()

def moved(groups):
    model = torch.nn.Linear(2, 1)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    brain = Brain(
        {"model": model}, opt_class=lambda parameters: torch.optim.SGD(groups(model), lr=1.0),
        run_opts={"device": "cpu", "max_grad_norm": 1.0, "noprogressbar": True},
    )
    brain.fit(range(1), [torch.ones(4, 2)], None)
    return [round(parameter.norm().item(), 3) for parameter in (model.weight, model.bias)]

one = moved(lambda model: [model.weight, model.bias])
two = moved(lambda model: [{"params": [model.bias]}, {"params": [model.weight]}])
print("steps of weight and bias in one group", one, "in two", two)
assert one == [0.816, 0.577] and two == [1414.214, 1.0]
PYTHON
