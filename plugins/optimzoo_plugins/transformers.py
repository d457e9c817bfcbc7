"""transformers (Hugging Face): Adafactor, as mmengine's configs mean it."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register Adafactor."""
    zoo.optimizer(
        "Adafactor",
        "transformers.optimization:Adafactor",
        extra="transformers",
        about="Factored second moments; with an lr of your own, set relative_step=False and scale_parameter=False",
        paper="https://arxiv.org/abs/1804.04235",
        needs=("whole",),  # the means over rows and columns are kept as plain tensors
    )
