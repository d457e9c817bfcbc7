"""torch-optimizer (Novik): unmaintained since 2021; by its qualified names only."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import register

NEEDS = {"Adahessian": ("graph",), "Lookahead": ("own_state",), "SGDW": ("faulty",)}
NOTES = {
    "SGDW": "its decay subtracts the number lr * weight_decay from every weight, whatever its size and sign. "
    "pytorch_optimizer.SGDW decays by lr * weight_decay * weight"
}


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo, NEEDS, every=("whole",), notes=NOTES)
