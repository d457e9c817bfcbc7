#!/usr/bin/env bash
# torch 2.13.0, on a CPU. SGD with fused=True moves weights in bfloat16 or float16 only behind the last whole vector of the processor (of 8, 16 or 32
# numbers, by its kind): a tensor whose size is a multiple of it stands still, without an error. With momentum the buffers are wrong too from the
# second step on. float32 and float64, Adam, AdamW and Adagrad, and fused=False move every number. Mended after 2.13 (pytorch issue 191763).
# The guess was: fused and plain steps differ by rounding.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch

SIZE = 1024 + 5


def after(optimizer, dtype, fused, **settings):
    """How many numbers three steps by one gradient move, and how far the momenta are from 1.75 times that."""
    weight = torch.nn.Parameter(torch.zeros(SIZE, dtype=dtype))
    steps, gradient = optimizer([weight], lr=0.5, fused=fused, **settings), torch.linspace(1, 2, SIZE)
    for _ in range(3):
        weight.grad = gradient.to(dtype)
        steps.step()
    momenta = [state["momentum_buffer"].float() / gradient for state in steps.state.values() if "momentum_buffer" in state]
    return int((weight != 0).sum()), max([0.0, *((m - 1.75).abs().max().item() for m in momenta)])


for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
    for fused in (False, True):
        (count, _), (_, off) = after(torch.optim.SGD, dtype, fused), after(torch.optim.SGD, dtype, fused, momentum=0.5)
        stands = fused and dtype.itemsize == 2
        print(f"SGD {str(dtype):14} fused={fused!s:5} moves {count} of {SIZE}; its momenta are {'wrong' if off > 0.03 else 'right'}")
        assert count == (5 if stands else SIZE) and (off > 0.03) == stands
    for name in ("Adam", "AdamW", "Adagrad"):
        assert after(getattr(torch.optim, name), dtype, True)[0] == SIZE
PYTHON
