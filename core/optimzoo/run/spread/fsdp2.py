"""FSDP2: a share of the model in each process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from optimzoo.errors import ConfigError
from optimzoo.optimizers.fused import FUSED_WHOLE
from optimzoo.run.spread.ddp import DDP
from optimzoo.run.spread.strategy import Strategy, trains
from optimzoo.wrappers import BaseOptimWrapper


class FSDP2(DDP):
    """Each process has a share of every parameter and of its optimizer state (``fully_shard``).

    Every module in a ModuleList or a Sequential that has modules in it, such as a transformer block, is gathered on its
    own for its forward and backward pass, and what is left with the whole model. A model with a parameter that several
    modules share is gathered at once.

    Args:
        device: The kind of device to train on.
        timeout: Seconds to wait for the others in an exchange.
        reshard_after_forward: Whether a module is gathered again for its backward pass, which takes less memory.

    Reference:
        Zhao and others, *PyTorch FSDP*, https://arxiv.org/abs/2304.11277.
    """

    cannot: Mapping[str, str] = {
        **DDP.cannot,
        "curvature": "estimates curvature for whole parameters, of which each process has a share. Use strategy='ddp'",
        "whole": "works on whole parameters and would get a share of each. Use strategy='ddp'",
        "process_group": "shares out what is shared out already. Name its optimizer_type as the optimizer",
        "sparse": "takes sparse gradients, which are not sharded. Use strategy='ddp'",
    }

    def __init__(self, device: torch.device, timeout: float = 600.0, reshard_after_forward: bool = True) -> None:
        super().__init__(device, timeout)
        self._reshard_after_forward = reshard_after_forward
        self._mesh = init_device_mesh(self.processes.device.type, (self.processes.size,))

    def shard(self, model: nn.Module) -> nn.Module:
        """Shard the parameters of the model, in place."""
        super().shard(model)
        every = [p for _, p in model.named_parameters(remove_duplicate=False)]
        blocks = []
        if len(every) == len(set(every)):
            lists = [m for m in model.modules() if isinstance(m, (nn.ModuleList, nn.Sequential))]
            blocks = [m for container in lists for m in container if next(m.children(), None) is not None]
        for block in reversed(list(dict.fromkeys(blocks))):  # what is inside comes first
            if not isinstance(block, (nn.ModuleList, nn.ModuleDict)) and trains(block):
                self._share_out(block)
        self._share_out(model)
        return model

    def wrap(self, model: nn.Module, drives: bool) -> nn.Module:
        """Return the model; one that drives itself is gathered by its forward pass, not by ``train_step``."""
        if drives:
            raise ConfigError(
                "the model drives itself by train_step, and parameters are gathered for forward only. Give a loss, or "
                "use strategy='ddp'",
                "strategy",
            )
        return model

    def in_step(self, loader: Iterable[Any]) -> Iterator[tuple[Any, bool]]:
        """Yield the batches, the last one repeated while another process has one: a forward pass takes all of them."""
        batch, batches = None, list(self.processes.gather(len(loader)))  # type: ignore[arg-type]
        for batch in loader:
            yield batch, True
        for _ in range(max(batches) - batches[self.processes.rank]):
            yield batch, False

    def model_state(self, model: nn.Module) -> dict[str, Any]:
        """Return the state of the model, gathered to the first process."""
        return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))

    def load_model_state(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        """Load a whole state; each process takes its share."""
        set_model_state_dict(model, dict(state), options=StateDictOptions(full_state_dict=True))

    def gradients(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the gradients, gathered to the first process: those sharded and those not yet exchanged."""
        found: dict[str, Any] = self.whole(Strategy.gradients(self, model))
        units = [module for module in model.modules() if isinstance(module, FSDPModule)]
        for unit in units:
            unit.unshard()
        for name, gradient in super().gradients(model).items():
            held = found.get(name)
            found[name] = gradient.cpu() if held is None else held + gradient.cpu()
        for unit in units:
            unit.reshard()
        return found

    def whole(self, state: Any) -> Any:
        """Return ``state`` with its sharded tensors gathered, on the CPU; None in their place but in the first."""

        def gathered(tensor: DTensor) -> Tensor | None:
            full = tensor.full_tensor()
            return full.cpu() if self.processes.rank == 0 else None

        return tree_map_only(DTensor, gathered, state)

    def place(self, value: Tensor, parameter: Tensor) -> Tensor:
        """Return this process's share of ``value``."""
        if not isinstance(parameter, DTensor) or value.shape != parameter.shape:
            return super().place(value, parameter)
        return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)

    def place_state(self, optimizer: Optimizer) -> None:
        """Share out the tensors of the state that have the shape of their parameter."""
        for parameter, state in optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[key] = self.place(value, parameter)

    def member_problems(self, member: BaseOptimWrapper, model: nn.Module) -> Iterator[str]:
        """Yield why this strategy cannot train with one of the wrappers."""
        yield from super().member_problems(member, model)
        known = set(model.parameters())
        if not all(p in known for group in member.optimizer.param_groups for p in group["params"]):
            yield "the optimizer was built before the model was sharded. Describe it by a dict"
        fused = any(group.get("fused") for group in member.optimizer.param_groups)
        if fused and isinstance(member.optimizer, FUSED_WHOLE):
            yield f"{type(member.optimizer).__name__} has no fused kernel for sharded parameters. Leave fused out"

    def _share_out(self, module: nn.Module) -> None:
        fully_shard(module, mesh=self._mesh, reshard_after_forward=self._reshard_after_forward)
