"""heavyball (Nestler): Shampoo, SOAP and PSGD, compiled in the first step; it clears the gradients."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import register

NEEDS = {
    "MSAMLaProp": ("modes",),
    "PSGDLRA": ("params_only",),
    "SAMWrapper": ("closure",),
    "SFAdamW": ("modes",),
}
NOTES = {
    "Scion": "its first step draws every weight anew, whatever the learning rate: not for weights that were trained"
}


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo, NEEDS, every=("whole",), notes=NOTES)
