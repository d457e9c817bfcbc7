"""Optimizer wrappers: one call makes a whole update, in the right order."""

from typing import Any

from optimzoo.names.zoo import OPTIM_WRAPPERS
from optimzoo.wrappers.amp_optim_wrapper import AmpOptimWrapper
from optimzoo.wrappers.base import BaseOptimWrapper, StepOutcome
from optimzoo.wrappers.curvature import sampled_cross_entropy
from optimzoo.wrappers.optim_wrapper import OptimWrapper
from optimzoo.wrappers.optim_wrapper_dict import OptimWrapperDict

__all__ = [
    "AmpOptimWrapper",
    "ApexOptimWrapper",
    "BaseOptimWrapper",
    "OptimWrapper",
    "OptimWrapperDict",
    "StepOutcome",
    "sampled_cross_entropy",
]

ApexOptimWrapper: type[OptimWrapper]  # a plugin's, found by its name


def __getattr__(name: str) -> Any:
    if name != "ApexOptimWrapper":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return OPTIM_WRAPPERS.get(name)
    except KeyError as error:  # the plugin is turned off
        raise AttributeError(str(error)) from error
