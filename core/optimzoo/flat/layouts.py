"""The numbers, gradients and shapes that tell whether an optimizer moves each number by itself.

The trial before a flat step and the fact ``elementwise`` step the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROWS = (192, 2, 1)
"""Of three parameters: one has more numbers than the 4096 from which libraries keep states in 8 bits, two have less."""
Shapes = list[tuple[int, ...]]


def course(row: int, updates: int = 12) -> Tensor:
    """Return the numbers, and the gradients of each update, as the rows of a matrix.

    Each parameter has a size of its own, and its first gradient is nearly at right angles to it, as that of weights
    without a scale. The others have a direction in common, so that a step size that is found in them grows.

    Args:
        row: How many numbers a row of a parameter has.
        updates: How many updates there are.
    """
    drawn = torch.randn(1 + updates, sum(ROWS) * row, generator=torch.Generator().manual_seed(0))
    for n, part in enumerate(torch.split(drawn, [rows * row for rows in ROWS], dim=1)):
        part[0] *= 3**n
        part[1:] *= 5**n
        part[3:] += part[2]
        value, grad = part[0], part[1]
        grad -= value * ((grad * value).sum() / value.square().sum() - 3e-4 * grad.norm() / value.norm())
    return drawn


def layouts(row: int, vectors: bool = True) -> list[Shapes]:
    """Return the shapes of the parameters, of a matrix that is all of them, and of a vector that is.

    Args:
        row: As for ``course``.
        vectors: Whether some may be vectors.
    """
    first, *others = ROWS
    if not vectors:
        return [[(rows, row) for rows in ROWS], [(sum(ROWS), row)]]
    return [[(first, row), *((rows * row,) for rows in others)], [(sum(ROWS), row)], [(sum(ROWS) * row,)]]
