"""NVIDIA's apex.amp: mixed precision from before torch had its own."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register the wrapper."""
    zoo.wrapper(
        "ApexOptimWrapper",
        "optimzoo_plugins.apex.optim_wrapper:ApexOptimWrapper",
        about="Mixed precision by NVIDIA's apex.amp",
    )
