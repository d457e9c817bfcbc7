"""The registries and the plugins that fill them."""

from __future__ import annotations

from typing import Any

from optimzoo import calls
from optimzoo.names import builtin
from optimzoo.names.hookspecs import hookimpl
from optimzoo.names.manager import PluginManager
from optimzoo.names.registry import Registry

__all__ = [
    "HOOKS",
    "OPTIMIZERS",
    "OPTIM_WRAPPERS",
    "OPTIM_WRAPPER_CONSTRUCTORS",
    "PARAM_SCHEDULERS",
    "REGISTRIES",
    "STRATEGIES",
    "hookimpl",
    "needs_of",
    "needs_of_class",
    "plugins",
]


OPTIMIZERS = Registry(
    "optimizer", "torch.optim:Optimizer", "a subclass of torch.optim.Optimizer", own_keys=("vet", "needs")
)
OPTIM_WRAPPERS = Registry("optimizer wrapper", "optimzoo.wrappers:BaseOptimWrapper", "a subclass of BaseOptimWrapper")
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    "constructor", "collections.abc:Callable", "a class whose objects are called with the model"
)
PARAM_SCHEDULERS = Registry("parameter scheduler", "optimzoo.schedules:ParamScheduler", "a subclass of ParamScheduler")
HOOKS = Registry("hook", "optimzoo.run:Hook", "a subclass of optimzoo.run.Hook")
STRATEGIES = Registry("strategy", "optimzoo.run:Strategy", "a subclass of optimzoo.run.Strategy")

REGISTRIES = {
    registry.kind: registry
    for registry in (OPTIMIZERS, OPTIM_WRAPPERS, OPTIM_WRAPPER_CONSTRUCTORS, PARAM_SCHEDULERS, HOOKS, STRATEGIES)
}

plugins = PluginManager(REGISTRIES, builtin)


def needs_of(optimizer: Any) -> frozenset[str]:
    """Return the ``entry.NEEDS`` of an optimizer: those of its class, and those that its config declares.

    One of several parts needs what any of them does.
    """
    parts = getattr(optimizer, "parts", None)
    if isinstance(parts, dict):
        return frozenset().union(*map(needs_of, parts.values()))
    return needs_of_class(type(optimizer)) | frozenset(getattr(optimizer, "declared_needs", ()))


def needs_of_class(cls: Any) -> frozenset[str]:
    """Return the ``entry.NEEDS`` of an optimizer's class or its nearest registered base, and what is plain to see.

    A class with the methods ``train`` and ``eval`` has modes; a ``step`` whose closure has no default needs a closure.
    """
    entry = OPTIMIZERS.entry_of(cls)
    needs = set(entry.needs if entry else ())
    if all(callable(getattr(cls, name, None)) for name in ("train", "eval")):
        needs.add("modes")
    closure = calls.parameters(cls.step).get("closure") if hasattr(cls, "step") else None
    if closure is not None and closure.default is closure.empty:
        needs.add("closure")
    return frozenset(needs)
