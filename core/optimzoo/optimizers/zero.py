"""ZeRO: an optimizer whose state is spread over the processes of a distributed run."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from optimzoo.errors import ConfigError
from optimzoo.zoo import OPTIMIZERS

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own code, at import
    from torch.distributed.optim import ZeroRedundancyOptimizer as _ZeroRedundancyOptimizer


class ZeroRedundancyOptimizer(_ZeroRedundancyOptimizer):
    """Spreads the state of any optimizer over the processes; each updates its share of the parameters for all.

    Args:
        params: Parameters or parameter groups.
        optimizer_type: The name of the optimizer to shard, as in a config.
        **kwargs: Its arguments, and those of ``torch.distributed.optim.ZeroRedundancyOptimizer``.

    Raises:
        ConfigError: There is no process group.
        UnknownNameError: No such optimizer is registered.

    Reference:
        Rajbhandari, Rasley, Ruwase and He, *ZeRO: Memory Optimizations Toward Training Trillion Parameter Models*,
        https://arxiv.org/abs/1910.02054.
    """

    def __init__(self, params: Any, optimizer_type: str, **kwargs: Any) -> None:
        cls = OPTIMIZERS.get(optimizer_type, "optimizer_type")
        if not torch.distributed.is_initialized():
            raise ConfigError(
                "its state is spread over the processes of a distributed run: call "
                "torch.distributed.init_process_group first, or use the optimizer itself",
                "type",
            )
        super().__init__(params, cls, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state on the process of rank 0 and nothing on the others. Called on every process."""
        self.consolidate_state_dict()
        return super().state_dict() if torch.distributed.get_rank() == 0 else {}
