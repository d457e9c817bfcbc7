"""Layer decay by nesting: a learning rate that shrinks by a factor with every level of the module tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo

if TYPE_CHECKING:
    from optimzoo_plugins.layer_decay.constructor import (
        LayerDecayOptimWrapperConstructor as LayerDecayOptimWrapperConstructor,
    )


def __getattr__(name: str) -> Any:
    """Import the constructor on its first use: registering it imports no torch."""
    if name == "LayerDecayOptimWrapperConstructor":
        from optimzoo_plugins.layer_decay.constructor import LayerDecayOptimWrapperConstructor

        return LayerDecayOptimWrapperConstructor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register the constructor."""
    zoo.constructor(
        "LayerDecayOptimWrapperConstructor",
        "optimzoo_plugins.layer_decay.constructor:LayerDecayOptimWrapperConstructor",
        about="lr multiplied by decay_factor once per nesting level",
    )
