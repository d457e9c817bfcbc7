#!/usr/bin/env bash
# transformers 5.23.0, torch 2.13.0. min_lr of the cosine with a minimum, and lr_end of the polynomial decay, read as learning rates. They are divided by
# the lr of optimizer.defaults (not of any group) and multiply every group: with groups at 1e-3 and 1e-2 under a default of 0.1,
# min_lr=1e-4 ends at 1e-6 and 1e-5. The default rate trains nothing here; a schedule down to it decides the others all the same.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch, transformers

def ends(make, default):
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in (1e-3, 1e-2)]
    optimizer = torch.optim.SGD(groups, lr=default)
    scheduler = make(optimizer)
    for _ in range(10):
        optimizer.step()
        scheduler.step()
    return [float(f"{group['lr']:.3g}") for group in optimizer.param_groups]

def cosine(optimizer):
    return transformers.get_cosine_with_min_lr_schedule_with_warmup(optimizer, 0, 10, min_lr=1e-4)

def polynomial(optimizer):
    return transformers.get_polynomial_decay_schedule_with_warmup(optimizer, 0, 10, lr_end=1e-4)

for make in (cosine, polynomial):
    for default, want in ((0.1, [1e-6, 1e-5]), (1e-3, [1e-4, 1e-3])):
        found = ends(make, default)
        print(f"{make.__name__} down to 1e-4, groups at 1e-3 and 1e-2, default lr {default}: ends at {found}")
        assert found == want, found
PYTHON
