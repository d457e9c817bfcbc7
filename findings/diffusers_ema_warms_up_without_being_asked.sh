#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.13.0. EMAModel(decay=0.9999) averages with 0.9999 from about the 90000th step on only, and use_ema_warmup=False, the default,
# does not mean "no warm-up": it chooses another one, (1 + n) / (10 + n), whatever inv_gamma and power say. A run of 1000 steps ends with a decay of
# 0.991, an average of the last hundred steps instead of the last ten thousand. min_decay=decay turns the warm-up off, but the first step still
# replaces the average by the weights, for its n is 0.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 diffusers==0.42.1
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from diffusers.training_utils import EMAModel

def decays(steps, **arguments):
    weight = torch.nn.Parameter(torch.zeros(1))
    average = EMAModel([weight], decay=0.9999, **arguments)
    weight.data.fill_(1.0)
    seen = []
    for _ in range(steps):
        average.step([weight])
        seen.append(average.cur_decay_value)
    return seen, average.shadow_params[0].item()

asked = {
    "nothing is said": {}, "use_ema_warmup=False": dict(use_ema_warmup=False),
    "use_ema_warmup=False, inv_gamma=100": dict(use_ema_warmup=False, inv_gamma=100.0, power=0.5),
}
for said, arguments in asked.items():
    seen, average = decays(1000, **arguments)
    print(f"{said}: decays of {seen[1]:.3f}, {seen[9]:.3f}, {seen[99]:.3f}, {seen[999]:.4f} in steps 2, 10, 100, 1000")
    assert all(abs(seen[n] - (1 + n) / (10 + n)) < 1e-9 for n in range(1, 1000)) and average == 1.0
first = next(n for n in range(1, 200000) if (1 + n) / (10 + n) >= 0.9999)
assert 89980 < first < 90000
seen, average = decays(10, min_decay=0.9999)
print(f"min_decay=0.9999: decays of {seen[0]} in step 1 and {seen[1]} in step 2; the first weights have no share: {average}")
assert seen == [0.0] + [0.9999] * 9 and average == 1.0
PYTHON
