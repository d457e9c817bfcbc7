"""Sophia-Optimizer (Gomez): the upstream class, by its qualified name only; ``Sophia`` and its kin are optimzoo's own.

Version 0.2.4 is the last that imports. Its step() squares the gradient of the true labels at every step, where the
paper samples labels every k steps, and applies the momentum twice.
"""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register the upstream class."""
    zoo.optimizer(
        "SophiaG",
        "sophia:SophiaG",
        extra="sophia",
        about="Upstream's Sophia-G, with the empirical Fisher for curvature",
        paper="https://arxiv.org/abs/2305.14342",
        bare=False,
    )
