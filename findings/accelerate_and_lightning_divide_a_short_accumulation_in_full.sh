#!/usr/bin/env bash
# accelerate 1.15.0, lightning 2.6.6, torch 2.13.0. Under gradient accumulation both make an update at the end of each epoch with the batches that are left. Both divide
# the loss of every batch by the full number: with 10 batches and an accumulation of 4 the third update of every epoch has half of a gradient, and
# with 9 batches a quarter, at the full rate and momentum. In an epoch of less than one window there is no other: 3 batches and an accumulation of 8
# train at 3/8 of the rate. A clip by norm, Lion and Adam hide it in part. transformers' Trainer divides by the batches that there are. No message.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 accelerate==1.15.0 lightning==2.6.6 transformers==5.23.0
cd "$dir" && "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import lightning
import torch
from accelerate import Accelerator
from transformers import PrinterCallback, Trainer, TrainingArguments

class Task(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight, self.seen = torch.nn.Parameter(torch.zeros(1)), []

    def forward(self, x):
        return {"loss": (self.weight * x).mean()}

    def training_step(self, batch, index):
        return self(batch)["loss"]

    def configure_optimizers(self):
        optimizer = torch.optim.SGD([self.weight], lr=0.1)
        optimizer.register_step_post_hook(lambda *_: self.seen.append(self.weight.grad.item()))
        return optimizer

def with_lightning(task, batches, windows):
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    lightning.Trainer(accelerator="cpu", max_epochs=2, accumulate_grad_batches=windows, **quiet).fit(task, batches)

def with_accelerate(task, batches, window):
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=window)
    model, optimizer, batches = accelerator.prepare(task, task.configure_optimizers(), batches)
    for x in (x for _ in range(2) for x in batches):
        with accelerator.accumulate(model):
            accelerator.backward(model(x)["loss"])
            optimizer.step()
            optimizer.zero_grad()

def with_transformers(task, batches, window):
    quiet = dict(report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no", max_grad_norm=0)
    size = dict(per_device_train_batch_size=1, gradient_accumulation_steps=window, num_train_epochs=2)
    args, rows = TrainingArguments("runs", **quiet, **size), [dict(x=x) for x in batches.dataset]
    trainer = Trainer(task, args, train_dataset=rows, optimizers=(task.configure_optimizers(), None))
    trainer.remove_callback(PrinterCallback)
    trainer.train()

for count, window, last in (10, 4, 0.5), (9, 4, 0.25), (3, 8, 0.375):
    for run in (with_accelerate, with_lightning, with_transformers):
        task = Task()
        run(task, torch.utils.data.DataLoader(torch.ones(count, 1)), window)
        print(f"{run.__name__}, {count} batches, {window} per update, two epochs: gradients {task.seen}")
        assert task.seen == ([1.0] * (count // window) + [1.0 if run is with_transformers else last]) * 2
PYTHON
