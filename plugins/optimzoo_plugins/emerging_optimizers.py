"""emerging-optimizers (NVIDIA): orthogonalized and Kronecker-factored updates; wants Python 3.12."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import register


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo, every=("matrices", "whole"))
