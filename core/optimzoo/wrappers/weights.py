"""The weights of the losses of a window of accumulation, so that an update is that of their weighted mean."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, distributed

from optimzoo.errors import OptimzooError, shown
from optimzoo.values import is_number, scalar


class Weights:
    """The weights of one window, whose losses are each divided by ``divisor``.

    A loss is multiplied by its weight over a unit, the first weight, so that a scaled loss stays in its range; when the
    weights of the window are known, the gradients are put right by one number, unless that is 1. The processes of a
    ``group`` have one unit, on which they agree in the first window of all.
    """

    def __init__(self, divisor: int, device: torch.device, group: Any = None, unit: Any = None) -> None:
        self.divisor = divisor
        self.total: Any = 0.0
        self._device, self._group = device, group
        self._among = 1
        if distributed.is_available() and distributed.is_initialized():
            self._among = distributed.get_world_size(group)
        self.unit: Any = unit if self._among > 1 else None

    def factor(self, weight: Any) -> Any:
        """Return what to multiply a loss of that weight with; an OptimzooError if it is none."""
        if not isinstance(weight, Tensor) or (weight.numel() == 1 and weight.device.type == "cpu"):
            weight = scalar(weight.reshape(()) if isinstance(weight, Tensor) else weight)
        if not (weight.numel() == 1 if isinstance(weight, Tensor) else is_number(weight) and 0 <= weight < math.inf):
            raise OptimzooError(f"a weight is the number of samples or tokens in a batch, got {shown(weight)}")
        weight = weight.detach() if isinstance(weight, Tensor) else float(weight)
        if self.unit is None and self._among > 1:
            self.unit = self._over_all(weight, distributed.ReduceOp.MAX).item() or 1.0
        elif self.unit is None:
            self.unit = torch.where(weight > 0, weight, 1) if isinstance(weight, Tensor) else weight or 1.0
        self.total = self.total + weight
        return weight / self.unit

    @cached_property
    def correction(self) -> Any:
        """Return what to multiply the gradients of the window with; an OptimzooError if all weights are 0.

        On a device that is not waited for, weights that add up to 0 leave the gradients, which are 0, as they are.
        """
        total = self.total if self._among == 1 else self._over_all(self.total, distributed.ReduceOp.SUM)
        if isinstance(total, Tensor) and total.device.type != "cpu":
            return over(self.divisor * self._among * self.unit, total)
        if total == 0:
            raise OptimzooError("the weights of an update add up to 0: leave out a loss that counts nothing")
        return self.divisor * self._among * self.unit / scalar(total)

    def _over_all(self, value: Any, operation: Any) -> Tensor:
        dtype = torch.float32 if self._device.type == "mps" else torch.float64
        whole = torch.as_tensor(value, dtype=dtype, device=self._device).clone()
        distributed.all_reduce(whole, operation, group=self._group)
        return whole


def over(value: Any, total: Tensor) -> Tensor:
    """Return ``value / total``, or 1 where the total is 0."""
    return torch.where(total == 0, 1, value / torch.where(total == 0, 1, total))
