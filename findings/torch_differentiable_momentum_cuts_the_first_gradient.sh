#!/usr/bin/env bash
# torch 2.13.0. differentiable=True is for gradients through the steps of an optimizer. SGD with momentum begins its momentum with a copy of the
# first gradient that is detached from the graph: what depends on it is lost, in every step after. Here the derivative of the weights by a factor in
# the loss comes out at half of what differences give after three steps, without a word, and is missing after one. Without momentum it is right, and
# so are those through Adam, NAdam and RMSprop.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch

def trained(factor, kind, steps, differentiable, **settings):
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    parameter = weight.clone() if differentiable else weight
    optimizer = kind([weight], lr=0.05, differentiable=differentiable, **settings)
    optimizer.param_groups[0]["params"] = [parameter]
    for _ in range(steps):
        at = parameter.clone()
        loss = (factor * at).square().sum() + 0.1 * at.pow(4).sum()
        parameter.grad, = torch.autograd.grad(loss, at, create_graph=differentiable)
        optimizer.step()
    return parameter.square().sum()

def both(kind, steps, **settings):
    factor = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    outcome = trained(factor, kind, steps, True, **settings)
    graph = torch.autograd.grad(outcome, factor, allow_unused=True)[0] if outcome.requires_grad else None
    above, below = (trained(torch.tensor(0.8 + by, dtype=torch.float64), kind, steps, False, **settings) for by in (1e-6, -1e-6))
    return 0.0 if graph is None else graph.item(), ((above - below) / 2e-6).item()

for kind, steps, settings, right in (
    (torch.optim.SGD, 3, {}, True), (torch.optim.Adam, 3, {}, True), (torch.optim.NAdam, 3, {}, True), (torch.optim.RMSprop, 3, {}, True),
    (torch.optim.SGD, 1, dict(momentum=0.9), False), (torch.optim.SGD, 3, dict(momentum=0.9), False),
    (torch.optim.SGD, 3, dict(momentum=0.9, nesterov=True), False),
):
    graph, difference = both(kind, steps, **settings)
    print(f"{kind.__name__} {settings}, {steps} steps: {graph:.4f} by the graph, {difference:.4f} by differences")
    assert (abs(graph - difference) < 1e-4) == right
    assert right or abs(graph) < 0.8 * abs(difference)
PYTHON
