"""dadaptation (Defazio and Mishchenko): optimizers that find their step size; leave ``lr`` at 1."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import register

FROZEN_AT_0 = dict.fromkeys(("DAdaptAdam", "DAdaptSGD"), ("frozen_at_0",))
"""AdaGrad and Adan then train nothing at all, and Lion trains that group too. All are ``whole``, since ``item()`` of a
sum over a sharded tensor is that of the own share."""


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo, FROZEN_AT_0, every=("one_lr", "whole"))
