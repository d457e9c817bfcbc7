"""Optimizers that train other parameters than those to use, as schedule-free ones do: the switch between the two."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from optimzoo.names.zoo import needs_of
from optimzoo.run.members import members
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch a model to evaluation, and then every module back to the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


class Modes:
    """Calls ``train()`` and ``eval()`` of the optimizers that need it (the need ``"modes"``).

    Args:
        optim_wrapper: The wrapper, or wrappers, of the optimizers.

    Attributes:
        optimizers: Those that have modes.
        training: Whether they are in the mode for training.
    """

    def __init__(self, optim_wrapper: BaseOptimWrapper | OptimWrapperDict) -> None:
        wrapped = [member.optimizer for member in members(optim_wrapper).values()]
        self.optimizers: list[Any] = [optimizer for optimizer in wrapped if "modes" in needs_of(optimizer)]
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
