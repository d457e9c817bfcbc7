"""Constructors: from a model and parameter-wise rules to parameter groups, an optimizer and its wrapper."""

from typing import Any

from optimzoo.constructors.default import DefaultOptimWrapperConstructor
from optimzoo.constructors.multi import MultiOptimWrapperConstructor
from optimzoo.names.zoo import OPTIM_WRAPPER_CONSTRUCTORS
from optimzoo.optimizers.create import create_optimizer

__all__ = [
    "DefaultOptimWrapperConstructor",
    "LayerDecayOptimWrapperConstructor",
    "MultiOptimWrapperConstructor",
    "create_optimizer",
]

LayerDecayOptimWrapperConstructor: type[DefaultOptimWrapperConstructor]  # a plugin's, found by its name


def __getattr__(name: str) -> Any:
    if name != "LayerDecayOptimWrapperConstructor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return OPTIM_WRAPPER_CONSTRUCTORS.get(name)
    except KeyError as error:  # the plugin is turned off
        raise AttributeError(str(error)) from error
