#!/usr/bin/env bash
# transformers 5.23.0, accelerate 1.15.0, apollo-torch 1.0.3, galore-torch 1.0, torch 2.13.0. With optim="apollo_adamw" or "galore_adamw" Trainer makes groups of
# its own, for the weights to project and for the rest, in place of the usual ones, and weight_decay of TrainingArguments gets into neither: both groups
# have 0. With weight_decay=0.5 and zero gradients nothing moves, where the default optimizer takes 5 % of each matrix. No error, no warning. What
# helps: an optimizer of one's own, handed to Trainer.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 apollo-torch==1.0.3 galore-torch==1.0
cd "$dir" && "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import torch
from transformers import PrinterCallback, Trainer, TrainingArguments

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.norm, self.head = torch.nn.Linear(8, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 1)
        self.norm.requires_grad_(False)

    def forward(self, x):
        return {"loss": 0 * self.head(self.norm(self.body(x))).sum()}

def made(**settings):
    net, rows = Net(), [dict(x=[1.0] * 8)]
    before = net.body.weight.detach().clone()
    args = TrainingArguments(
        "runs", report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no", max_steps=1, learning_rate=0.1,
        lr_scheduler_type="constant", weight_decay=0.5, **settings,
    )
    trainer = Trainer(net, args, train_dataset=rows)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    groups = [(group["weight_decay"], len(group["params"])) for group in trainer.optimizer.param_groups]
    return groups, round((net.body.weight / before).mean().item(), 3)

for name in ("adamw_torch", "apollo_adamw", "galore_adamw"):
    groups, left = made(optim=name, **({} if name == "adamw_torch" else dict(optim_target_modules=["body"])))
    print(f"{name}: (weight decay, parameters) of the groups {groups}, a step with zero gradients leaves {left} of a matrix")
    assert (groups, left) == (([(0.5, 2), (0.0, 2)], 0.95) if name == "adamw_torch" else ([(0.0, 5), (0.0, 1)], 1.0))
PYTHON
