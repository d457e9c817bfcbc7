"""muon-optimizer (Jordan): Muon as its author wrote it."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import register

NEEDS = {
    "Muon": ("params_only", "process_group"),
    "MuonWithAuxAdam": ("bare_groups", "process_group"),
    "SingleDeviceMuon": ("matrices",),
    "SingleDeviceMuonWithAuxAdam": ("bare_groups",),
}


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo, NEEDS, every=("whole",))
