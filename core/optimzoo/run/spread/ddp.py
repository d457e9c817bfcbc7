"""DDP: a copy of the model in each process."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from optimzoo.errors import ConfigError
from optimzoo.run.data.sampling import split_loader
from optimzoo.run.spread.process_group import Processes
from optimzoo.run.spread.processes import OneProcess
from optimzoo.run.spread.strategy import Strategy, trains
from optimzoo.wrappers import BaseOptimWrapper


class DDP(Strategy):
    """Each process has a copy of the model and a part of each batch; gradients are averaged (DistributedDataParallel).

    Args:
        device: The kind of device to train on.
        timeout: Seconds to wait for the others in an exchange.
        find_unused_parameters: As for DistributedDataParallel: whether some parameters may get no gradient.

    Reference:
        Li and others, *PyTorch Distributed*, https://arxiv.org/abs/2006.15704.
    """

    ranges: Mapping[str, tuple[float, float]] = {"timeout": (10, 10**8)}
    cannot: Mapping[str, str] = {
        "closure": "decides by its own loss how often to evaluate, which may differ between the processes",
        "loss": "takes its step from the loss, of which each process has its own",
    }

    def __init__(self, device: torch.device, timeout: float = 600.0, find_unused_parameters: bool = False) -> None:
        self.processes: OneProcess = Processes(device, timeout)
        self._find_unused_parameters = find_unused_parameters

    def shard(self, model: nn.Module) -> nn.Module:
        """Return the model with the parameters and buffers that the first process has."""
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.detach(), 0)
        return model

    def wrap(self, model: nn.Module, drives: bool) -> nn.Module:
        """Return the model in DistributedDataParallel, or, if it drives itself, a copy whose children are in it."""
        if not drives:
            return self._replicated(model)
        own = [name for name, p in model.named_parameters(recurse=False) if p.requires_grad]
        if own:
            raise ConfigError(
                f"{type(model).__name__} drives itself and holds the parameters {', '.join(own)}, whose gradients no "
                "child module would exchange; put them into a child module",
                "model",
            )
        driver = copy.copy(model)
        driver._modules = {
            name: self._replicated(child) if child is not None and trains(child) else child
            for name, child in model._modules.items()
        }
        children = [child for child in driver.children() if isinstance(child, DistributedDataParallel)]

        @contextmanager
        def no_sync() -> Iterator[None]:
            with ExitStack() as stack:
                for child in children:
                    stack.enter_context(child.no_sync())
                yield

        driver.no_sync = no_sync  # type: ignore[assignment]
        return driver

    def split(self, loader: Iterable[Any], path: str, seed: int | None = None) -> Iterable[Any]:
        """Return a loader of every ``size``-th sample."""
        return split_loader(loader, path, self.processes.rank, self.processes.size, seed)

    def gradients(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the mean of what the processes have accumulated, each on its own part of the batches."""
        parameters = dict(model.named_parameters())
        used = self.processes.gather([name for name, p in parameters.items() if p.grad is not None])
        found = {}
        for name in sorted(set().union(*used)):
            gradient = parameters[name].grad
            found[name] = torch.zeros_like(parameters[name]) if gradient is None else gradient.clone()
            dist.all_reduce(found[name])
            found[name] /= self.processes.size
        return found

    def member_problems(self, member: BaseOptimWrapper, model: nn.Module) -> Iterator[str]:
        """Yield why this strategy cannot train with one of the wrappers."""
        yield from super().member_problems(member, model)
        if member.patches_model:
            yield "apex.amp must patch the model before it is spread. Use AmpOptimWrapper"

    def _replicated(self, module: nn.Module) -> nn.Module:
        device = self.processes.device
        return DistributedDataParallel(
            module,
            device_ids=None if device.index is None else [device.index],
            find_unused_parameters=self._find_unused_parameters,
        )
