#!/usr/bin/env bash
# transformers 5.23.0, schedulefree 1.4.1, torch 2.13.0. A schedule-free optimizer trains weights y and is to be used with the average x, to which
# optimizer.eval() switches. The Trainer, which knows the optimizer by name, switches it for an evaluation, but not for a save: a checkpoint holds x if
# an evaluation came just before it, and y if none did. So one run saves other weights than the same run without eval_strategy.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 schedulefree==1.4.1
cd "$dir"
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainingArguments

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.line = torch.nn.Linear(4, 1)

    def forward(self, x, labels):
        return {"loss": (self.line(x)[:, 0] - labels).square().mean()}

torch.manual_seed(1)
rows = [{"x": torch.randn(4), "labels": torch.tensor(float(n % 2))} for n in range(64)]
found = {}
for evaluates in ("no", "steps"):
    model = Net()
    settings = TrainingArguments(
        evaluates, use_cpu=True, report_to=[], disable_tqdm=True, max_steps=20, save_steps=20, learning_rate=0.05,
        optim="schedule_free_adamw", lr_scheduler_type="constant", eval_strategy=evaluates, eval_steps=20,
    )
    trainer = Trainer(model=model, args=settings, train_dataset=rows, eval_dataset=rows)
    trainer.train()
    saved = load_file(f"{evaluates}/checkpoint-20/model.safetensors")["line.weight"]
    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    optimizer.train()
    y = model.line.weight.detach().clone()
    optimizer.eval()
    x = model.line.weight.detach().clone()
    found[evaluates] = (torch.equal(saved, y), torch.equal(saved, x))
    print(f"eval_strategy={evaluates}: the checkpoint holds y {found[evaluates][0]}, the average x {found[evaluates][1]}; "
          f"they differ by up to {(x - y).abs().max():.3f}")
assert found == {"no": (True, False), "steps": (False, True)}
PYTHON
