#!/usr/bin/env bash
# transformers 5.23.0, accelerate 1.15.0, torch 2.13.0. With lr_scheduler_type="reduce_lr_on_plateau" Trainer hands metric_for_best_model to torch's schedule.
# greater_is_better, which tells it and its early stopping which way is better, is not handed on: the schedule looks for a minimum. While the accuracy
# rises in every evaluation, the rate falls a tenfold every eleven; while it falls, the rate stays. warmup_steps is ignored as well. No message
# of either. What helps: lr_scheduler_kwargs={"mode": "max"}.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
"$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import tempfile
import torch
from transformers import PrinterCallback, Trainer, TrainingArguments

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, x, labels):
        return {"loss": (self.layer(x) - labels).square().mean(), "logits": self.layer(x)}

def rates(values, **settings):
    values, rows = iter(values), [dict(x=[1.0], labels=[0.0]) for _ in range(4)]
    args = TrainingArguments(
        tempfile.mkdtemp(), report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no", num_train_epochs=24,
        learning_rate=1.0, lr_scheduler_type="reduce_lr_on_plateau", eval_strategy="epoch", logging_strategy="epoch",
        metric_for_best_model="accuracy", greater_is_better=True, **settings,
    )
    trainer = Trainer(Net(), args, train_dataset=rows, eval_dataset=rows, compute_metrics=lambda _: {"accuracy": next(values)})
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return [round(log["learning_rate"], 6) for log in trainer.state.log_history if "learning_rate" in log]

up = [n / 100 for n in range(50, 100)]
rising, falling, told = rates(up, warmup_steps=10), rates(up[::-1]), rates(up, lr_scheduler_kwargs={"mode": "max"})
print("accuracy rises:", rising, "\nit falls:", falling, "\nit rises, and mode is max:", told)
assert rising[0] == 1.0 and rising[11] == 1.0 and rising[12] == 0.1 and rising[-1] == 0.01
assert set(falling) == {1.0} and set(told) == {1.0}
PYTHON
