"""schedulefree (Defazio and others): an average of the iterates in place of a schedule."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import register

SWITCHED = ("AdamWScheduleFree", "RAdamScheduleFree", "SGDScheduleFree")
SWITCHED_TOO = ("AdamWScheduleFreePaper", "AdamWScheduleFreeReference", "SGDScheduleFreeReference")
NEEDS = {
    **dict.fromkeys((*SWITCHED, *SWITCHED_TOO), ("modes",)),
    **{f"{name}Closure": ("closure",) for name in SWITCHED},
}


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo, NEEDS, every=("whole",))
