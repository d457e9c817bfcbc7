"""Optimizers that train other parameters than those to use, as schedule-free ones do: the switch between the two."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.optim import Optimizer

from optimzoo.names.zoo import needs_of


class Modes:
    """Calls ``train()`` and ``eval()`` of the optimizers that need it (the need ``"modes"``).

    Args:
        optimizers: The optimizers of a run; those without modes are left alone.

    Attributes:
        optimizers: Those that have modes.
        training: Whether they are in the mode for training.
    """

    def __init__(self, optimizers: Iterable[Optimizer]) -> None:
        self.optimizers: list[Any] = [optimizer for optimizer in optimizers if "modes" in needs_of(optimizer)]
        self.training = False

    def train(self) -> None:
        """Switch to the parameters to train."""
        for optimizer in self.optimizers:
            optimizer.train()
        self.training = True

    def eval(self) -> None:
        """Switch to the parameters to use."""
        for optimizer in self.optimizers:
            optimizer.eval()
        self.training = False

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch to the parameters to use, and then back to the very bits from before, which ``train()`` rounds."""
        if not (self.training and self.optimizers):
            yield
            return
        parameters = [p for optimizer in self.optimizers for group in optimizer.param_groups for p in group["params"]]
        kept = [p.detach().clone() for p in parameters]
        self.eval()
        try:
            yield
        finally:
            self.train()
            with torch.no_grad():
                for parameter, value in zip(parameters, kept):
                    parameter.copy_(value)

    def state(self, model_state: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the state of the model to use, and where that is another, the one to train."""
        if not (self.training and self.optimizers):
            return {"model": model_state()}
        with self.evaluating():
            used = copy.deepcopy(model_state())
        return {"model": used, "trained": model_state()}
