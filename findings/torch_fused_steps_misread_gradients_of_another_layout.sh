#!/usr/bin/env bash
# torch 2.13.0, on a CPU. With fused=True, SGD, Adam, AdamW and Adagrad pair parameter and gradient by their place in memory, not by index: where the
# two have other strides (a channels_last or transposed weight with a gradient that was assigned, or made by torch.func), each element is
# moved by the gradient of another. No error. fused=False goes by index. Gradients that backward() makes have the weight's strides.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch

def after_a_step(optimizer, weight, gradient, fused):
    weight = weight.clone().requires_grad_()  # keeps the strides
    weight.grad = gradient
    optimizer([weight], lr=0.1, fused=fused).step()
    return weight.detach()

torch.manual_seed(0)
LAYOUTS = {
    "channels_last": (torch.randn(16, 8, 3, 3).to(memory_format=torch.channels_last), torch.randn(16, 8, 3, 3)),
    "transposed": (torch.randn(8, 16).t(), torch.randn(16, 8)),
}
for name in ("SGD", "Adam", "AdamW", "Adagrad"):
    optimizer = getattr(torch.optim, name)
    for layout, (weight, gradient) in LAYOUTS.items():
        plain = after_a_step(optimizer, weight, gradient, fused=False)
        alike = torch.empty_like(weight).copy_(gradient)  # the same numbers in the weight's layout
        wrong = (after_a_step(optimizer, weight, gradient, fused=True) - plain).abs().max().item()
        right = (after_a_step(optimizer, weight, alike, fused=True) - plain).abs().max().item()
        print(f"{name:8} {layout:14} off by {wrong:.3f}; with a gradient of the weight's layout by {right:.0e}")
        assert wrong > 0.1 and right < 1e-6
PYTHON
