#!/usr/bin/env bash
# torch 2.13.0. AveragedModel(use_buffers=True) averages the integer buffers as well, in integers: BatchNorm's num_batches_tracked
# is rounded down at each update. The plain average keeps it at 1 for ever, a moving average falls ten behind with decay 0.9 and stands at
# 1 with the usual 0.999. A BatchNorm with momentum=None weighs its next batch by that counter: training on from the average gives it half the say.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn

def counters(**kwargs):
    torch.manual_seed(0)
    model = torch.nn.BatchNorm1d(3, momentum=None)
    averaged = AveragedModel(model, use_buffers=True, **kwargs)
    for _ in range(100):
        model(torch.randn(4, 3))
        averaged.update_parameters(model)
    return model, averaged.module

for name, kwargs, want in (
    ("plain average", {}, 1),
    ("moving average, 0.9", {"multi_avg_fn": get_ema_multi_avg_fn(0.9)}, 90),
    ("moving average, 0.9, one by one", {"avg_fn": get_ema_avg_fn(0.9)}, 90),
    ("moving average, 0.999", {"multi_avg_fn": get_ema_multi_avg_fn(0.999)}, 1),
):
    model, averaged = counters(**kwargs)
    print(f"{name}: {int(averaged.num_batches_tracked)} batches of {int(model.num_batches_tracked)}")
    assert int(model.num_batches_tracked) == 100
    assert int(averaged.num_batches_tracked) == want, int(averaged.num_batches_tracked)

model, averaged = counters()
batch = torch.full((4, 3), 100.0)
model(batch), averaged(batch)
print("running mean after one strange batch: of the model %.1f, of the average %.1f" % (model.running_mean[0], averaged.running_mean[0]))
assert model.running_mean[0] < 2 and averaged.running_mean[0] > 45
PYTHON
