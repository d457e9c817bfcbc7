#!/usr/bin/env bash
# torch 2.13.0. swa_utils.update_bn, which gives an averaged model its batch norm statistics, takes no notice of layers that were frozen by eval(),
# as in fine-tuning: it forgets their statistics, puts them in training mode and fills them with those of the loader, so that the frozen backbone is
# another function. A model that was training as a whole is left training all over, the frozen layers too. Dropout is on while the statistics are
# taken.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch.optim.swa_utils import update_bn

torch.manual_seed(0)
backbone = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
model = torch.nn.Sequential(backbone, torch.nn.Dropout(0.5), torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
backbone[1].running_mean.fill_(7.0)
backbone[1].running_var.fill_(9.0)
model.train()
backbone.eval()
for parameter in backbone.parameters():
    parameter.requires_grad_(False)
x = torch.randn(8, 4)
before = backbone(x)
dropping = []
model[1].register_forward_hook(lambda module, inputs, output: dropping.append(module.training))
update_bn([torch.randn(8, 4) for _ in range(4)], model)
print("frozen mean 7 is now", backbone[1].running_mean.tolist(), "variance 9 is now", backbone[1].running_var.tolist())
print("frozen layer training:", backbone[1].training, "dropout on meanwhile:", all(dropping))
assert backbone[1].running_mean.abs().max() < 2 and backbone[1].running_var.max() < 5
assert backbone[1].training and len(dropping) == 4 and all(dropping)
assert (backbone.eval()(x) - before).abs().max() > 1
PYTHON
