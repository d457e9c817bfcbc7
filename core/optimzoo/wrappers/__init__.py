"""Optimizer wrappers: one call makes a whole update, in the right order."""

from optimzoo.wrappers.amp_optim_wrapper import AmpOptimWrapper
from optimzoo.wrappers.apex_optim_wrapper import ApexOptimWrapper
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
