"""Constructors: from a model and parameter-wise rules to parameter groups, an optimizer and its wrapper."""

from optimzoo.constructors.create import create_optimizer
from optimzoo.constructors.default import DefaultOptimWrapperConstructor
from optimzoo.constructors.multi import MultiOptimWrapperConstructor

__all__ = ["DefaultOptimWrapperConstructor", "MultiOptimWrapperConstructor", "create_optimizer"]
