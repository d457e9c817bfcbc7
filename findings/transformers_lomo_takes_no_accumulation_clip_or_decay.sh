#!/usr/bin/env bash
# transformers 5.23.0, accelerate 1.15.0, lomo-optim 0.1.1, torch 2.13.0. With optim="lomo" the weights are updated inside the backward pass. Three settings of
# TrainingArguments do nothing then, without a message. gradient_accumulation_steps=4 makes an update in every batch, with a quarter of the gradient
# each, where Trainer counts, logs and schedules one. max_grad_norm, 1.0 by default, clips nothing. weight_decay decays nothing. (The layerwise
# GaLore and APOLLO, which update there as well, refuse the accumulation.)
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 lomo-optim==0.1.1
cd "$dir" && "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        torch.nn.init.ones_(self.layer.weight)

    def forward(self, x):
        return {"loss": self.layer(x).square().mean()}

def trained(optim, **settings):
    inside, model = [], Net()

    class Watch(TrainerCallback):
        def on_substep_end(self, *args, **kwargs):
            inside.append(model.layer.weight.item())

    args = TrainingArguments(
        "runs", report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no", optim=optim, learning_rate=0.1,
        lr_scheduler_type="constant", per_device_train_batch_size=1, max_steps=1, seed=1, **settings,
    )
    trainer = Trainer(model, args, train_dataset=[dict(x=[1.0]) for _ in range(8)], callbacks=[Watch()])
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    assert trainer.state.global_step == 1
    return len({1.0, *inside, model.layer.weight.item()}) - 1, 1 - model.layer.weight.item()

for optim in ("sgd", "lomo"):
    torch.manual_seed(0)
    updates = trained(optim, gradient_accumulation_steps=4)[0]
    moved = {}
    for name, settings in {"nothing": {}, "max_grad_norm=1e-6": dict(max_grad_norm=1e-6), "weight_decay=5": dict(weight_decay=5.0)}.items():
        torch.manual_seed(0)
        moved[name] = round(trained(optim, **settings)[1], 4)
    print(f"{optim}: {updates} updates in an accumulation of 4; the weight moves by", moved)
    assert updates == (1 if optim == "sgd" else 4)
    assert len(set(moved.values())) == (3 if optim == "sgd" else 1)
PYTHON
