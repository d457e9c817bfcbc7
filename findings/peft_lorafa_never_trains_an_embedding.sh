#!/usr/bin/env bash
# peft 0.21.2, torch 2.13.0. LoRA-FA freezes the A of each adapter and trains its B, which begins at zero. The adapter of an embedding begins the other way
# round, with its A at zero: create_lorafa_optimizer leaves that A marked as trainable and never steps it, and while it is zero B has no gradient.
# So an embedding is not trained at all: after 100 updates its adapter is what it was, bit by bit. A linear layer trains. No message.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 peft==0.21.2
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_lorafa_optimizer

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = torch.nn.Embedding(10, 8), torch.nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.words(x).mean(1))

def trained(optimizer_of, target):
    torch.manual_seed(0)
    model = get_peft_model(Net(), LoraConfig(r=4, lora_alpha=8, target_modules=[target]))
    optimizer = optimizer_of(model)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters() if "lora" in name}
    x, y = torch.randint(10, (16, 4)), torch.randint(3, (16,))
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(round(loss.item(), 3))
    weights = dict(model.named_parameters())
    moved = {name.removeprefix("base_model.model."): not torch.equal(weights[name], old) for name, old in before.items()}
    return losses[0], losses[-1], moved

def lorafa(model):
    return create_lorafa_optimizer(model, r=4, lora_alpha=8, lr=0.01)

def adamw(model):
    return torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=0.01)

for kind, target, trains in ((adamw, "words", True), (lorafa, "words", False), (lorafa, "head", True)):
    first, last, moved = trained(kind, target)
    print(f"{kind.__name__}, adapter of {target}: loss {first} to {last}, moved {moved}")
    assert any(moved.values()) == (last < first) == trains
    assert trains or last == first
PYTHON
