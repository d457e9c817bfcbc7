"""adam-atan2-pytorch (Wang): Adam and ADOPT with atan2 in place of the division."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import register

NEEDS = {"MuonAdamAtan2": ("two_lists",), "PolarAdamAtan2": ("two_lists",)}
NOTES = {"AdoptAtan2": "it decays by lr / (lr at its construction) * weight_decay"}


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo, NEEDS, every=("whole",), notes=NOTES)
