"""galore-torch (Zhao and others): gradients projected to a low rank; importing it imports transformers."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import register

KEYS = ("rank", "update_proj_gap", "scale", "proj_type", "dim")
NAMES = ("GaLoreAdafactor", "GaLoreAdamW", "GaLoreAdamW8bit")
NOTE = (
    "groups with a rank need update_proj_gap, scale and proj_type beside it, and have a state that is not loaded "
    "again: its shapes are not those of the parameters"
)


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo, every=("whole",), notes=dict.fromkeys(NAMES, NOTE), group_keys=dict.fromkeys(NAMES, KEYS))
