#!/usr/bin/env bash
# torch-optimizer 0.3.0, torch 2.13.0. Adafactor divides the factor of the rows by a mean along the wrong axis where a weight has more than
# two: a step over a convolution is an error unless it has as many inputs as outputs. With equal numbers it steps, but not as it does over a
# matrix: where one output has gradients of 1 and the others of 0.001, a matrix moves all its weights by 0.01, a 3 x 3 convolution some by
# 0.02 and some by nothing.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 torch-optimizer==0.3.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch, torch_optimizer

def moved(*shape):
    weight = torch.nn.Parameter(torch.ones(shape))
    gradient = torch.full(shape, 1e-3)
    gradient[0] = 1.0
    weight.grad = gradient
    torch_optimizer.Adafactor([weight]).step()
    return 1 - weight.detach()

for shape in ((8, 3, 3, 3), (8, 3, 3)):
    try:
        moved(*shape)
    except RuntimeError as error:
        print(shape, "RuntimeError:", error)
        assert "must match" in str(error)
    else:
        raise AssertionError(f"{shape} steps")
matrix, convolution = moved(3, 3), moved(3, 3, 3, 3).mean((2, 3))
print("a matrix of 3 x 3 moves by", [[round(each, 4) for each in row] for row in matrix.tolist()])
print("a convolution of 3 x 3 channels moves by", [[round(each, 4) for each in row] for row in convolution.tolist()])
assert matrix.max() < 1.01 * matrix.min()
assert convolution.max() > 0.02 and convolution[0].max() < 1e-4
PYTHON
