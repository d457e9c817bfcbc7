"""prodigy-plus-schedule-free (Booker): Prodigy's step size without a schedule; leave ``lr`` at 1."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import register


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo, every=("modes", "whole"))
