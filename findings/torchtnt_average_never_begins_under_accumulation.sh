#!/usr/bin/env bash
# torchtnt 0.2.4, torch 2.13.0. AutoUnit's average of the weights (swa_params) is updated where an update of the weights falls on a multiple of
# step_or_epoch_update_freq, both counted in batches, from 0. With gradient_accumulation_steps=2 updates fall on odd batches, so that an even
# frequency never comes: the average stays the first weights to the end, with no word. So it is with 4 and 4. An odd frequency f averages every f-th
# update, so twice as seldom in batches.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 torchtnt==0.2.4 setuptools==80.9.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import logging, torch
from torchtnt.framework.auto_unit import AutoUnit, SWAParams
from torchtnt.framework.train import train

logging.disable(logging.CRITICAL)

class Unit(AutoUnit):
    def configure_optimizers_and_lr_scheduler(self, module):
        return torch.optim.SGD(module.parameters(), lr=0.1), None

    def compute_loss(self, state, data):
        output = self.module(data)
        return (output - 1).square().mean(), output

for accumulation, frequency, averaged in ((1, 2, 12), (1, 4, 6), (2, 1, 12), (2, 3, 4), (2, 2, 0), (2, 4, 0), (4, 2, 0), (4, 4, 0)):
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    first = model.weight.detach().clone()
    unit = Unit(
        module=model, device=torch.device("cpu"), step_lr_interval="step", gradient_accumulation_steps=accumulation,
        swa_params=SWAParams(warmup_steps_or_epochs=0, step_or_epoch_update_freq=frequency, averaging_method="swa"),
    )
    train(unit, [torch.randn(4, 2) for _ in range(24)], max_epochs=1)
    count, still = unit.swa_model.n_averaged.item(), torch.equal(unit.swa_model.module.weight, first)
    print(f"accumulating {accumulation}, averaging every {frequency}: {count} averaged, the average {'is the first weights' if still else 'has moved'}")
    assert count == averaged and still == (averaged == 0) and not torch.equal(model.weight, first)
PYTHON
