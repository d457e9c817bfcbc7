"""The families: each curve as a schedule of the learning rate (``...LR``) and of the momentum (``...Momentum``)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer

from optimzoo.errors import ConfigError
from optimzoo.schedulers.base import ParamScheduler
from optimzoo.wrappers import BaseOptimWrapper

GENERAL = "ParamScheduler"
"""The suffix of the curves themselves."""


@dataclass(frozen=True)
class Family:
    """What a family schedules.

    Args:
        suffix: The end of its class names.
        what: The hyperparameter, in words.
        param_name: Finds its key in the optimizer's groups.
    """

    suffix: str
    what: str
    param_name: Callable[[Optimizer | BaseOptimWrapper], str]


def _momentum(optimizer: Optimizer | BaseOptimWrapper) -> str:
    if "momentum" in optimizer.defaults:
        return "momentum"
    if "betas" in optimizer.defaults:
        return "betas[0]"
    raise ConfigError("the optimizer has neither momentum nor betas to schedule", "type")


LR = Family("LR", "learning rate", lambda optimizer: "lr")
MOMENTUM = Family("Momentum", "momentum (the first of the betas, for optimizers like Adam)", _momentum)


def derive(curve: type[ParamScheduler], family: Family) -> type[ParamScheduler]:
    """Return the class of ``curve`` in ``family``: the same arguments, without ``param_name``."""
    signature = inspect.signature(curve)
    own = inspect.signature(curve.__init__)

    def init(self: Any, optimizer: Optimizer | BaseOptimWrapper, *args: Any, **kwargs: Any) -> None:
        param_name = "" if not isinstance(optimizer, (Optimizer, BaseOptimWrapper)) else family.param_name(optimizer)
        curve.__init__(self, optimizer, param_name, *args, **kwargs)

    init.__signature__ = _without_param_name(own)  # type: ignore[attr-defined]
    name = curve.__name__.removesuffix(GENERAL) + family.suffix
    more = f"The value is the {family.what}; see {ParamScheduler.__name__} for the other arguments."
    return type(
        name,
        (curve,),
        {
            "__init__": init,
            "__signature__": _without_param_name(signature),
            "__doc__": f"{inspect.getdoc(curve)}\n\n{more}",
            "__module__": "optimzoo.schedulers",
            "__qualname__": name,
        },
    )


def _without_param_name(signature: inspect.Signature) -> inspect.Signature:
    return signature.replace(parameters=[p for p in signature.parameters.values() if p.name != "param_name"])
