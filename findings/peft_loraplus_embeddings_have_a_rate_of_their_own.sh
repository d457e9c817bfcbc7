#!/usr/bin/env bash
# peft 0.21.2, torch 2.13.0. create_loraplus_optimizer(lr=..., loraplus_lr_ratio=16) trains A at lr and B at 16 lr, as the paper says. The adapters of
# an embedding follow neither: their rate is 1e-6 (loraplus_lr_embedding, a keyword read from **kwargs), whatever lr is. At
# the usual lr of 1e-4 to 1e-3 they hardly move, and the loss does not tell.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 peft==0.21.2
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer

class Tagger(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 4)
        self.head = torch.nn.Linear(4, 4)

    def forward(self, tokens):
        return self.head(self.embedding(tokens))

for lr in (1e-3, 1e-1):
    torch.manual_seed(0)
    model = get_peft_model(Tagger(), LoraConfig(target_modules=["embedding", "head"], r=2))
    optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, lr=lr, loraplus_lr_ratio=16)
    names = {parameter: name.removeprefix("base_model.model.") for name, parameter in model.named_parameters()}
    rates = {names[p]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    print(f"lr={lr}:", rates)
    embedding = [rate for name, rate in rates.items() if name.startswith("embedding")]
    assert embedding == [1e-6, 1e-6], embedding
    assert rates["head.lora_A.default.weight"] == lr and rates["head.lora_B.default.weight"] == 16 * lr
PYTHON
