"""Optimizer wrappers: one call makes a whole update, in the right order."""

from optimzoo.wrappers.base import BaseOptimWrapper
from optimzoo.wrappers.curvature import sampled_cross_entropy
from optimzoo.wrappers.optim_wrapper import OptimWrapper, StepOutcome

__all__ = ["BaseOptimWrapper", "OptimWrapper", "StepOutcome", "sampled_cross_entropy"]
