"""Layer decay by nesting: a learning rate that shrinks by a factor with every level of the module tree."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register the constructor."""
    zoo.constructor(
        "LayerDecayOptimWrapperConstructor",
        "optimzoo_plugins.layer_decay.constructor:LayerDecayOptimWrapperConstructor",
        about="lr multiplied by decay_factor once per nesting level",
    )
