"""galore-torch (Zhao and others): gradients projected to a low rank; importing it imports transformers."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import register

KEYS = ("rank", "update_proj_gap", "scale", "proj_type", "dim")
NAMES = ("GaLoreAdafactor", "GaLoreAdamW", "GaLoreAdamW8bit")
NOTE = (
    "groups with a rank need update_proj_gap, scale and proj_type beside it, and keep an object of the library in the "
    "state, which torch.load takes with weights_only=False alone, and no checkpoint of a Runner holds"
)


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo, every=("whole",), notes=dict.fromkeys(NAMES, NOTE), group_keys=dict.fromkeys(NAMES, KEYS))
