"""dadaptation (Defazio and Mishchenko): optimizers that find their step size; leave ``lr`` at 1."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo

VARIANTS = ("AdaGrad", "Adam", "Adan", "Lion", "SGD")
FROZEN_AT_0 = dict.fromkeys(("Adam", "SGD"), ("frozen_at_0",))
"""AdaGrad and Adan then train nothing at all, and Lion trains that group too. All are ``whole``, since ``item()`` of a
sum over a sharded tensor is that of the own share."""


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register the D-Adaptation variants."""
    for variant in VARIANTS:
        zoo.optimizer(
            f"DAdapt{variant}",
            f"dadaptation:DAdapt{variant}",
            extra="dadaptation",
            about=f"{variant} with a step size adapted to the distance to the solution; lr=1 is the default",
            paper="https://arxiv.org/abs/2301.07733",
            needs=("one_lr", "whole", *FROZEN_AT_0.get(variant, ())),
        )
