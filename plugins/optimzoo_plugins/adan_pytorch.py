"""adan-pytorch (Wang): Adan."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import register


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo, every=("whole",))
