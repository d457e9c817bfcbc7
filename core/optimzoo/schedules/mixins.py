"""What fixes the key of a schedule: the families ``...LR`` and ``...Momentum`` of each curve."""

from dataclasses import dataclass, field
from typing import Any

from torch.optim import Optimizer

from optimzoo.errors import ConfigError
from optimzoo.wrappers import BaseOptimWrapper


@dataclass(init=False, repr=False, eq=False)
class LRSchedulerMixin:
    """Makes a schedule of any key one of the learning rate: ``class MineLR(LRSchedulerMixin, Mine)``."""

    param_name: str = field(default="lr", init=False)

    def __init__(self, optimizer: Optimizer | BaseOptimWrapper, *args: Any, **kwargs: Any) -> None:
        super().__init__(optimizer, "lr", *args, **kwargs)  # type: ignore[call-arg]


@dataclass(init=False, repr=False, eq=False)
class MomentumSchedulerMixin:
    """Makes a schedule of any key one of the momentum, or of the first of the betas where there is none."""

    param_name: str = field(default="momentum", init=False)

    def __init__(self, optimizer: Optimizer | BaseOptimWrapper, *args: Any, **kwargs: Any) -> None:
        super().__init__(optimizer, "momentum", *args, **kwargs)  # type: ignore[call-arg]

    def __post_init__(self) -> None:
        """Find the key in the optimizer, which each subclass's ``__init__`` has noted."""
        self._note_arguments()  # type: ignore[attr-defined]
        optimizer: Any = vars(self)["optimizer"]
        if isinstance(optimizer, (Optimizer, BaseOptimWrapper)):
            known = {**optimizer.param_groups[0], **optimizer.defaults}
            keys = [name for key, name in (("momentum", "momentum"), ("betas", "betas[0]")) if key in known]
            if not keys:
                kind = type(getattr(optimizer, "optimizer", optimizer)).__name__
                raise ConfigError(f"the optimizer, {kind}, has neither momentum nor betas to schedule", "type")
            self.param_name = keys[0]
        super().__post_init__()  # type: ignore[misc]
