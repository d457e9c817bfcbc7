"""Sophia (Liu et al. 2023): optimzoo's own implementation, since no release of Sophia-Optimizer has the paper's."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo

PAPER = "https://arxiv.org/abs/2305.14342"


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register Sophia-H and Sophia-G."""
    zoo.optimizer(
        "Sophia",
        "optimzoo_plugins.sophia.optimizer:Sophia",
        # Three upstream implementations of one algorithm: with an estimator to choose, and in place.
        aliases=("DecoupledSophia", "Sophia2"),
        about="Momentum over a clipped diagonal Hessian, estimated by Hutchinson's method every k updates (Sophia-H)",
        paper=PAPER,
        needs=("curvature",),
    )
    zoo.optimizer(
        "SophiaG",
        "optimzoo_plugins.sophia.optimizer:SophiaG",
        about="Sophia with the Gauss-Newton-Bartlett estimate, from update_params(loss, curvature=...)",
        paper=PAPER,
        needs=("curvature",),
    )
