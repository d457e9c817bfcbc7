"""The families: each curve as a schedule of the learning rate (``...LR``) and of the momentum (``...Momentum``)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from optimzoo.errors import ConfigError
from optimzoo.schedules.base import ParamScheduler
from optimzoo.wrappers import BaseOptimWrapper

GENERAL = "ParamScheduler"
"""The suffix of the curves themselves."""


def _momentum(optimizer: Optimizer | BaseOptimWrapper) -> str:
    if "momentum" in optimizer.defaults:
        return "momentum"
    if "betas" in optimizer.defaults:
        return "betas[0]"
    raise ConfigError("the optimizer has neither momentum nor betas to schedule", "type")


PARAM_NAME: dict[str, Callable[[Optimizer | BaseOptimWrapper], str]] = {
    "LR": lambda optimizer: "lr",
    "Momentum": _momentum,
}
"""What finds the key that a family schedules, by the suffix of its class names."""

SEE = {
    "LR": "The value is the learning rate",
    "Momentum": "The value is the momentum (the first of the betas, for optimizers like Adam)",
}


def derive(curve: type[ParamScheduler], family: str) -> type[ParamScheduler]:
    """Return the class of ``curve`` in ``family``: the same arguments, without ``param_name``."""
    if family == GENERAL:
        return curve
    find_name = PARAM_NAME[family]
    own = inspect.signature(curve.__init__)

    def init(self: Any, optimizer: Optimizer | BaseOptimWrapper, *args: Any, **kwargs: Any) -> None:
        param_name = find_name(optimizer) if isinstance(optimizer, (Optimizer, BaseOptimWrapper)) else ""
        curve.__init__(self, optimizer, param_name, *args, **kwargs)

    init.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[p for p in own.parameters.values() if p.name != "param_name"]
    )
    name = curve.__name__.removesuffix(GENERAL) + family
    return type(
        name,
        (curve,),
        {
            "__init__": init,
            "__doc__": f"{inspect.getdoc(curve)}\n\n{SEE[family]}; see ParamScheduler for the other arguments.",
            "__module__": "optimzoo.schedules",
            "__qualname__": name,
        },
    )
