#!/usr/bin/env bash
# opacus 1.6.0, torch 2.13.0. grad_sample_mode="ghost" saves memory, and is to make the steps of the default mode, "hooks". For a network with one output and
# targets of the same shape, (batch, 1), every step is as many times too long as the batch has samples: 4, 16 and 64 times here, with MSELoss and
# with BCEWithLogitsLoss. The clipping factors, one per sample, are multiplied with losses in a column, which makes a square. Outputs and
# targets of the shape (batch,) and CrossEntropyLoss give the right steps. No error, no warning, and the loss that is printed is right.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 opacus==1.6.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from opacus import PrivacyEngine

def step(mode, batch, flat, criterion):
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 1)
    before = layer.weight.detach().clone()
    x, y = torch.randn(batch, 4), torch.arange(batch).remainder(2).float().unsqueeze(1)
    net = torch.nn.Sequential(layer, torch.nn.Flatten(0 if flat else 1))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y.squeeze(1) if flat else y), batch_size=batch)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    settings = dict(noise_multiplier=0.0, max_grad_norm=1e6, poisson_sampling=False, grad_sample_mode=mode)
    if mode == "ghost":
        settings["criterion"] = criterion
    made = PrivacyEngine().make_private(module=net, optimizer=optimizer, data_loader=loader, **settings)
    net, optimizer, loader = made[0], made[1], made[-1]
    criterion = made[2] if mode == "ghost" else criterion
    for x, y in loader:
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
    return (layer.weight - before).detach(), loss.item()

for kind in (torch.nn.MSELoss, torch.nn.BCEWithLogitsLoss):
    for flat in (False, True):
        times = []
        for batch in (4, 16, 64):
            (hooks, loss), (ghost, shown) = step("hooks", batch, flat, kind()), step("ghost", batch, flat, kind())
            assert abs(loss - shown) < 1e-6
            ratio = ghost / hooks
            assert ratio.max() - ratio.min() < 1e-3 * ratio.max()
            times.append(round(ratio.mean().item(), 3))
        print(f"{kind.__name__}, shape {'(batch,)' if flat else '(batch, 1)'}: ghost steps over hooks', batches of 4, 16, 64: {times}")
        assert times == ([1, 1, 1] if flat else [4, 16, 64])
PYTHON
