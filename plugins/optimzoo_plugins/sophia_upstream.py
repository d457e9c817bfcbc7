"""Sophia-Optimizer (Gomez): the upstream class, by its qualified name only; ``Sophia`` and its kin are optimzoo's own.

Version 0.2.4 is the last that imports. Its step() squares the gradient of the true labels at every step, where the
paper samples labels every k steps, and applies the momentum twice.
"""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import register


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo)
