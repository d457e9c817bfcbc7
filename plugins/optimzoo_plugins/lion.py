"""lion-pytorch (Wang): Lion."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register Lion."""
    zoo.optimizer(
        "Lion",
        "lion_pytorch:Lion",
        extra="lion",
        about="The sign of an interpolated momentum; wants 3 to 10 times less lr than AdamW, and more weight decay",
        paper="https://arxiv.org/abs/2302.06675",
    )
