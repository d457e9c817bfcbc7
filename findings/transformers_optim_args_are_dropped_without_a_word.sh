#!/usr/bin/env bash
# transformers 5.23.0, accelerate 1.15.0, torch 2.13.0. TrainingArguments has optim_args, a string of key=value for the optimizer. The default optimizer
# takes none of them: amsgrad=True, eps=1e-3 and a key that does not exist alike leave AdamW as it was. Adafactor takes none either. SGD takes
# momentum; its weight_decay is read and then overruled by the groups, which have that of TrainingArguments. No error, no warning.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
cd "$dir" && "$dir/venv/bin/python" - 2> "$dir/said" <<'PYTHON'
import torch
from transformers import Trainer, TrainingArguments

def settings(optim, optim_args=None):
    args = TrainingArguments("runs", report_to=[], use_cpu=True, optim=optim, optim_args=optim_args)
    group = Trainer(model=torch.nn.Linear(2, 1), args=args).create_optimizer().param_groups[0]
    return {key: value for key, value in group.items() if key != "params"}

taken = {}
for optim, optim_args in (
    ("adamw_torch", "amsgrad=True"), ("adamw_torch", "eps=1e-3"), ("adamw_torch", "weight_decay=0.3"),
    ("adamw_torch", "no_such_argument=1"), ("adafactor", "decay_rate=-0.5"), ("sgd", "momentum=0.9"),
    ("sgd", "momentun=0.9"), ("sgd", "weight_decay=0.3"),
):
    plain, with_args = settings(optim), settings(optim, optim_args)
    taken[optim, optim_args] = {key: value for key, value in with_args.items() if value != plain[key]}
    print(f"optim={optim}, optim_args={optim_args!r} changes {taken[optim, optim_args] or 'nothing'}")
assert taken.pop(("sgd", "momentum=0.9")) == {"momentum": 0.9}
assert not any(taken.values())
PYTHON
echo "lines on stderr that speak of optim_args: $(grep -c optim_args "$dir/said" || true)"
! grep -q optim_args "$dir/said"
