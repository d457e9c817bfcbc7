"""ZeRO: an optimizer whose state is spread over the processes of a distributed run."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch

from optimzoo.errors import ConfigError, OptimzooWarning
from optimzoo.names.zoo import OPTIMIZERS
from optimzoo.optimizers.fused import look_before_fused
from optimzoo.optimizers.muon import MUON, StepsTogether

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own code, at import
    from torch.distributed.optim import ZeroRedundancyOptimizer as _ZeroRedundancyOptimizer

CANNOT = {
    "closure": "decides by its own loss how often to evaluate, which may differ between the processes",
    "curvature": "estimates curvature, which is not exchanged",
    "loss": "takes the loss itself in step(), which ZeRO does not pass on",
    "two_passes": "evaluates the loss at two points for an update, which ZeRO does not",
    "modes": "trains other parameters than those to use, and ZeRO does not switch between them",
    "one_lr": "adapts one step size over all parameters, and each process would adapt its own",
    "sparse": "takes sparse gradients, which ZeRO does not",
}
"""The needs of an optimizer that ZeRO cannot meet, and why."""


class ZeroRedundancyOptimizer(_ZeroRedundancyOptimizer):
    """Spreads the state of any optimizer over the processes; each updates its share of the parameters for all.

    Args:
        params: Parameters or parameter groups.
        optimizer_type: The name of the optimizer to shard, as in a config.
        **kwargs: Its arguments, and those of ``torch.distributed.optim.ZeroRedundancyOptimizer``.

    Raises:
        ConfigError: There is no process group, or the optimizer cannot be spread.
        UnknownNameError: No such optimizer is registered.

    Reference:
        Rajbhandari, Rasley, Ruwase and He, *ZeRO: Memory Optimizations Toward Training Trillion Parameter Models*,
        https://arxiv.org/abs/1910.02054.
    """

    def __init__(self, params: Any, optimizer_type: str, **kwargs: Any) -> None:
        cls = OPTIMIZERS.get(optimizer_type, "optimizer_type")
        if not torch.distributed.is_initialized():
            raise ConfigError(
                "its state is spread over the processes of a distributed run: train under torchrun or with "
                "strategy='ddp', call torch.distributed.init_process_group first, or use the optimizer itself",
                "type",
            )
        entry = OPTIMIZERS.entry_of(cls)
        for need in (need for need in (entry.needs if entry else ()) if need in CANNOT):
            raise ConfigError(f"{optimizer_type} {CANNOT[need]}", "optimizer_type")
        super().__init__(params, cls, **kwargs)
        self.defaults = {**self.optim.defaults, **self.defaults}
        for group, local in zip(self.param_groups, self.optim.param_groups):  # torch adds them in the first step
            group.update({key: value for key, value in local.items() if key not in group})

    def _init_local_optimizer(self) -> None:
        super()._init_local_optimizer()  # type: ignore[misc]
        if type(self.optim) is MUON:
            StepsTogether(self.optim)
        look_before_fused(self.optim)

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state on the process of rank 0 and nothing on the others. Called on every process.

        Warns:
            OptimzooWarning: The class inside keeps more than groups and states of parameters, which is not saved.
        """
        beside = [key for key in self.optim.state_dict() if key not in ("state", "param_groups")]
        if beside:
            what = f"{', '.join(beside)} of {type(self.optim).__name__} are not saved: a resumed run goes another way"
            warnings.warn(what, OptimzooWarning, stacklevel=2)
        self.consolidate_state_dict()
        return super().state_dict() if torch.distributed.get_rank() == 0 else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the whole state, of which each process keeps its part; ``state_dict`` is left as it is."""
        super().load_state_dict(copy.deepcopy(state_dict))  # torch empties what it is given
        self.state.clear()  # what counts is in the optimizer of this process
