#!/usr/bin/env bash
# geoopt 0.5.1, torch 2.13.0. RiemannianAdam is a subclass of torch's Adam and takes its arguments, maximize and decoupled_weight_decay among them,
# puts them into its groups and reads neither: with maximize=True it goes down the slope, step for step as without it, on a sphere as in the plane,
# and its weight decay stays in the gradient. torch's Adam with the same arguments goes up, and decouples.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 geoopt==0.5.1
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import geoopt, torch

def steps(kind, sphere=False, **settings):
    start = torch.tensor([0.6, -0.8])
    weight = geoopt.ManifoldParameter(start, manifold=geoopt.Sphere()) if sphere else torch.nn.Parameter(start)
    optimizer, losses = kind([weight], lr=0.01, **settings), []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (weight - torch.tensor([1.0, 0.0])).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses

riemannian = geoopt.optim.RiemannianAdam
for sphere in (False, True):
    up = steps(riemannian, sphere, maximize=True)
    print(f"RiemannianAdam(maximize=True){' on a sphere' * sphere}: the loss goes from {up[0]:.3f} to {up[-1]:.3f}")
    assert up == steps(riemannian, sphere) and up[-1] < up[0]
up = steps(torch.optim.Adam, maximize=True)
print(f"Adam(maximize=True): from {up[0]:.3f} to {up[-1]:.3f}")
assert up[-1] > up[0]
decay = dict(weight_decay=5.0)
assert steps(riemannian, **decay) == steps(riemannian, decoupled_weight_decay=True, **decay)
assert steps(torch.optim.Adam, **decay)[-1] != steps(torch.optim.Adam, decoupled_weight_decay=True, **decay)[-1]
PYTHON
