"""timm (Wightman): the optimizers of the image models; importing them wants torchvision."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import register

NEEDS = {"Adahessian": ("graph",), "Lookahead": ("own_state",)}


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo, NEEDS, every=("whole",))
