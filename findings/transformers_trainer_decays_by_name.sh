#!/usr/bin/env bash
# transformers 5.23.0, accelerate 1.15.0, torch 2.13.0. With the default optimizer of Trainer a LayerNorm is not decayed, whatever its name. Other norms
# are judged by their names: the weights of BatchNorm, GroupNorm and RMSNorm are decayed when they are called bn, gn, rms; and a plain
# matrix is never decayed if 'bias' stands anywhere in its name (an embedding relative_attention_bias, a layer debiased_head) or its
# module is called norm or ends in _norm.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import tempfile
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

model = nn.ModuleDict({
    "layer": nn.LayerNorm(2), "bn": nn.BatchNorm1d(2), "gn": nn.GroupNorm(1, 2), "rms": nn.RMSNorm(2), "rms_norm": nn.RMSNorm(2),
    "fc": nn.Linear(2, 2), "debiased_head": nn.Linear(2, 2, bias=False), "norm": nn.Linear(2, 2, bias=False),
    "to_norm": nn.Linear(2, 2, bias=False), "relative_attention_bias": nn.Embedding(4, 2),
})
with tempfile.TemporaryDirectory() as folder:
    trainer = Trainer(model=model, args=TrainingArguments(output_dir=folder, report_to=[], use_cpu=True, weight_decay=0.1))
    optimizer = trainer.create_optimizer()
names = {parameter: name for name, parameter in model.named_parameters()}
decayed = {names[p] for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
print("decayed:", sorted(decayed))
print("not decayed:", sorted(set(names.values()) - decayed))
assert decayed == {"bn.weight", "gn.weight", "rms.weight", "fc.weight"}, decayed
PYTHON
