#!/usr/bin/env bash
# pytorch-forecasting 1.8.0 with pytorch-optimizer 3.11.0 and lightning 2.6.6, torch 2.13.0. optimizer="ranger" builds a
# Ranger21, which has a schedule of its own and has to be told the number of updates. It is told the smaller of the
# batches of an epoch and the trainer's limit_train_batches, which is 1.0, "all", where nobody sets it: one update. Its
# warm-down is over before the first one, and every update of the run is made at 0.00003: learning rates of 0.03 and of
# 3 train to the same weights, bit by bit, while the group, which logs and schedules read, shows the rate that was asked
# for. With limit_train_batches=10 the schedule has the length of one epoch, and from the second on the rate is 0.00003.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 lightning==2.6.6 pytorch-forecasting==1.8.0 pytorch-optimizer==3.11.0
cd "$dir" && "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import logging
logging.disable(logging.CRITICAL)
import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import torch
from pytorch_forecasting import RecurrentNetwork, TimeSeriesDataSet

table = pd.DataFrame(dict(time=np.arange(100), series=0, value=np.sin(np.arange(100) / 5).astype("f")))
data = TimeSeriesDataSet(
    table, time_idx="time", target="value", group_ids=["series"], max_encoder_length=8, max_prediction_length=2,
    time_varying_unknown_reals=["value"],
)

class Watch(lightning.Callback):
    def on_train_batch_end(self, trainer, *rest):
        self.optimizer = trainer.optimizers[0]
        self.shown.append(self.optimizer.param_groups[0]["lr"])
        self.used.append(self.optimizer.current_lr)

def train(rate, **limit):
    lightning.seed_everything(0)
    model = RecurrentNetwork.from_dataset(data, optimizer="ranger", learning_rate=rate, hidden_size=4, dropout=0.0)
    watch = Watch()
    watch.shown, watch.used = [], []
    trainer = lightning.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[watch], **limit,
    )
    trainer.fit(model, data.to_dataloader(train=True, batch_size=8, num_workers=0))
    return watch, torch.cat([weight.detach().flatten() for weight in model.parameters()])

(small, one), (large, other), (limited, _) = train(0.03), train(3.0), train(0.03, limit_train_batches=10)
print(f"learning_rate=0.03: the group shows {small.shown[0]}, used are {min(small.used):.3g} to {max(small.used):.3g}")
print(f"learning_rate=3: the group shows {large.shown[0]}, used are {min(large.used):.3g} to {max(large.used):.3g}")
print("the weights after", len(small.used), "updates are equal:", torch.equal(one, other))
print("limit_train_batches=10:", [float(f"{rate:.2g}") for rate in limited.used[:12]], "and so on")
assert set(small.shown) == {0.03} and set(large.shown) == {3.0} and torch.equal(one, other)
assert all(abs(rate - 3e-5) < 1e-9 for rate in small.used + large.used + limited.used[10:]) and max(limited.used) > 0.02
PYTHON
