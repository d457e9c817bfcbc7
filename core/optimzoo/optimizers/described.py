"""The optimizer that a config describes, as parameter-wise settings see it: nothing is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from optimzoo import calls
from optimzoo.errors import ConfigError
from optimzoo.names.zoo import OPTIMIZERS
from optimzoo.values import is_number


class DescribedOptimizer:
    """The class that ``cfg`` names, and the hyperparameters it would be built with.

    Args:
        cfg: ``type`` and the optimizer's arguments.

    Attributes:
        cls: The optimizer's class.
        given: The arguments that ``cfg`` gives.
        settings: Those, and the defaults of the rest.

    Raises:
        ConfigError: ``cfg`` is no dict, or its ``type`` leads nowhere.
    """

    def __init__(self, cfg: Any) -> None:
        self.cls, self.given = OPTIMIZERS.resolve(cfg)
        signature = calls.parameters(self.cls)
        self.settings = {n: p.default for n, p in signature.items() if p.default is not p.empty} | self.given

    @property
    def first_argument(self) -> str:
        """The name of the argument that takes the parameters; not every library calls it ``params``."""
        return next(iter(calls.parameters(self.cls)), "params")

    def multiplier_problems(self, key: str, value: Any, path: str) -> Iterator[ConfigError]:
        """Yield what is wrong with the multiplier ``key``, which stands under ``path``."""
        if not is_number(value):
            yield ConfigError(f"a number is wanted, got {value!r}", f"{path}.{key}")
        name = "lr" if "lr_mult" in key else "weight_decay"
        base = self.settings.get(name)
        if base is None or (base == 0 and name not in self.given):
            yield ConfigError(
                f"it multiplies {name}, which the optimizer's config does not set: set optimizer.{name}",
                f"{path}.{key}",
            )
