"""The contract between a wrapper and an optimizer that estimates curvature (``needs=("curvature",)``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

SampledLoss = Callable[[], tuple[Tensor, int]]
"""Returns a mean loss on labels drawn from the model's own predictions, and the number of these."""


class EstimatesCurvature(Protocol):
    """What the wrapper calls on such an optimizer."""

    def curvature_due(self) -> bool:
        """Whether the next update wants a fresh estimate."""

    def update_curvature(self, loss: Tensor, sampled_loss: SampledLoss | None) -> None:
        """Estimate from the graph of ``loss`` (which is kept), or of the loss that ``sampled_loss`` returns.

        The estimate counts from the next ``step`` on: an update that is skipped leaves no trace of it. In a distributed
        run the optimizer averages it over the processes, each of which has its own part of the batch.
        """


def sampled_cross_entropy(logits: Tensor) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of ``logits`` against labels drawn from them, and the number of labels.

    Sophia-G squares the gradient of this loss to estimate the diagonal of the Gauss-Newton matrix.

    Args:
        logits: Shape ``(..., classes)``.

    Reference:
        Algorithm 2 of Liu et al., *Sophia*, https://arxiv.org/abs/2305.14342.

    Examples:
        >>> import torch
        >>> loss, count = sampled_cross_entropy(torch.zeros(4, 10, requires_grad=True))
        >>> count, round(loss.item(), 4)
        (4, 2.3026)
    """
    flat = logits.flatten(0, -2)
    with torch.no_grad():
        labels = torch.multinomial(flat.float().softmax(-1), num_samples=1).squeeze(-1)
    return torch.nn.functional.cross_entropy(flat, labels), len(labels)
