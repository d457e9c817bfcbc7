#!/usr/bin/env bash
# transformers 5.23.0, accelerate 1.15.0, torch 2.13.0. Trainer takes a model whose forward() has **kwargs for one that divides its loss by num_items_in_batch, and
# does not divide it itself under gradient accumulation. A model of one's own that has **kwargs (to let other columns pass, say) and returns a mean
# gets the sum of the gradients in place of their mean: with 8 batches per update 8 times the gradient, and a loss in the log that is
# 8 times too large. max_grad_norm hides it as long as it clips, Adam nearly does. No message. What helps: accepts_loss_kwargs = False in the model.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
cd "$dir" && "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import torch
from transformers import PrinterCallback, Trainer, TrainingArguments

class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, labels):
        return {"loss": (self.weight * x - labels).square().mean()}

class Kwargs(Plain):
    def forward(self, x, labels, **kwargs):
        return super().forward(x, labels)

class Told(Kwargs):
    accepts_loss_kwargs = False

def trained(kind, accumulation):
    args = TrainingArguments(
        "runs", report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no", optim="sgd", lr_scheduler_type="constant",
        learning_rate=0.01, max_grad_norm=0, per_device_train_batch_size=2, gradient_accumulation_steps=accumulation,
        max_steps=1, logging_steps=1,
    )
    model = kind()
    trainer = Trainer(model, args, train_dataset=[dict(x=[1.0], labels=[1.0]) for _ in range(16)])
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return round(model.weight.item(), 4), round(trainer.state.log_history[0]["loss"], 4)

for kind in (Plain, Kwargs, Told):
    for accumulation in (1, 8):
        moved, loss = trained(kind, accumulation)
        print(f"{kind.__name__}, {accumulation} batches per update: the first update moves the weight by {moved}, the loss is {loss}")
        times = 8 if kind is Kwargs and accumulation == 8 else 1
        assert (moved, loss) == (0.02 * times, times)
PYTHON
