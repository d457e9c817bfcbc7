#!/usr/bin/env bash
# opacus 1.6.0, torch 2.13.0. Its optimizer takes the gradients of the single samples, which it gathers from the layers, and writes .grad anew in step(). What
# reaches the weights on another way is lost without a word. A penalty on the weights in the loss (ridge, lasso, the distance to the pretrained
# weights) changes the loss and the .grad that backward() leaves, and not the step: it is the same to the bit with and without. In the same way a
# layer whose .grad is set to zero or None before step() is trained all the same. A weight_decay of the optimizer works.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 opacus==1.6.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from opacus import PrivacyEngine

def trained(private, penalty=0.0, masked=False, **settings):
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 1)
    before, data = net.weight.detach().clone(), torch.utils.data.TensorDataset(torch.randn(16, 4), torch.zeros(16, 1))
    model, loader = net, torch.utils.data.DataLoader(data, batch_size=16)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, **settings)
    if private:
        quiet = dict(noise_multiplier=0.0, max_grad_norm=1e6, poisson_sampling=False)
        model, optimizer, loader = PrivacyEngine().make_private(module=net, optimizer=optimizer, data_loader=loader, **quiet)
    for x, y in loader:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y) + penalty * net.weight.square().sum()
        loss.backward()
        left = net.weight.grad.clone()
        if masked:
            net.weight.grad = None
        optimizer.step()
    return (net.weight - before).detach(), left, loss.item()

for private in (False, True):
    (plain, without, loss), (moved, grad, total) = trained(private), trained(private, penalty=10.0)
    changed = (moved - plain).abs().max().item()
    print(f"{'opacus' if private else 'torch'}: the penalty adds {total - loss:.2f} to the loss and {changed:.3f} to the step")
    assert total - loss > 1 and (changed == 0 if private else changed > 0.5)
    assert (grad - without).abs().max() > 1
    frozen = trained(private, masked=True)[0].abs().max().item()
    print(f"    with .grad = None a step moves the weights by {frozen:.3f}")
    assert (frozen > 0.01) == private
    decayed = (trained(private, weight_decay=1.0)[0] - plain).abs().max().item()
    assert decayed > 0.02
PYTHON
