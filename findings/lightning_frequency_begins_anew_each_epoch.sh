#!/usr/bin/env bash
# lightning 2.6.6, torch 2.13.0. A schedule with interval="step" and frequency=n is not stepped every n steps: the batches are counted within
# the epoch. With 5 batches an epoch, frequency=2 steps after batches 2 and 4 of each, and frequency=7 never: 30 updates train
# at the first rate, without a warning. What is counted are batches, also where two of them make one update.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 lightning==2.6.6
cd "$dir" && "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import lightning
import torch

class Task(lightning.LightningModule):
    def __init__(self, frequency):
        super().__init__()
        self.layer, self.frequency, self.rates = torch.nn.Linear(2, 1), frequency, []

    def training_step(self, batch, index):
        self.rates.append(self.optimizers().param_groups[0]["lr"])
        return self.layer(batch).sum()

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        return [optimizer], [dict(scheduler=schedule, interval="step", frequency=self.frequency)]

def rates(frequency, batches, epochs, accumulate=1):
    task = Task(frequency)
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=epochs, accumulate_grad_batches=accumulate, **quiet)
    trainer.fit(task, torch.utils.data.DataLoader(torch.ones(batches, 2)))
    return task.rates

every_second = rates(frequency=2, batches=5, epochs=2)
print("every 2, 5 batches, 2 epochs:", every_second)
assert every_second == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125, 0.0625]
every_seventh = rates(frequency=7, batches=5, epochs=6)
print("every 7, 5 batches, 6 epochs:", set(every_seventh), "in", len(every_seventh), "steps")
assert set(every_seventh) == {1.0} and len(every_seventh) == 30
accumulated = rates(frequency=2, batches=8, epochs=1, accumulate=2)
print("every 2, two batches an update:", accumulated)
assert accumulated == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
PYTHON
