"""Constructors: from a model and parameter-wise rules to parameter groups, an optimizer and its wrapper."""

from optimzoo.constructors.default import DefaultOptimWrapperConstructor
from optimzoo.constructors.multi import MultiOptimWrapperConstructor
from optimzoo.optimizers.create import create_optimizer

__all__ = ["DefaultOptimWrapperConstructor", "MultiOptimWrapperConstructor", "create_optimizer"]
