"""How long a run is and how often it validates: the ``train_cfg`` of a config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optimzoo import calls
from optimzoo.errors import ConfigError, OptimzooError
from optimzoo.values import MARKS, one_of, whole_number

LOOPS = {"EpochBasedTrainLoop": True, "IterBasedTrainLoop": False}
"""mmengine's loops, and whether each goes by epoch."""

COUNTS = ("max_epochs", "max_iters", "val_interval", "val_begin")


@dataclass(frozen=True)
class TrainPlan:
    """The length of a run.

    Args:
        by_epoch: Whether ``val_interval`` and ``val_begin`` count epochs; else iterations.
        max_epochs: Passes over the data, by epoch.
        max_iters: Iterations, else.
        val_interval: Epochs or iterations from one validation to the next.
        val_begin: The epoch or iteration from which on to validate.
    """

    by_epoch: bool = True
    max_epochs: int | None = None
    max_iters: int | None = None
    val_interval: int = 1
    val_begin: int = 1

    @classmethod
    def from_cfg(cls, cfg: Mapping[str, Any]) -> TrainPlan:
        """Return the plan that a ``train_cfg`` describes.

        Raises:
            ConfigError: A key or value is wrong.
        """
        calls.raise_all(plan_problems(cfg))
        kwargs = {key: value for key, value in cfg.items() if key not in ("type", *MARKS)}
        kwargs.setdefault("by_epoch", LOOPS.get(cfg.get("type", ""), "max_iters" not in cfg))
        if not kwargs["by_epoch"]:
            kwargs.setdefault("val_interval", 1000)
        return cls(**kwargs)

    def length(self, epoch_length: int | None) -> int | None:
        """Return the number of iterations, given that of an epoch."""
        if not self.by_epoch:
            return self.max_iters
        return None if epoch_length is None or self.max_epochs is None else self.max_epochs * epoch_length


def plan_problems(cfg: Any) -> Iterator[OptimzooError]:
    """Yield what is wrong with a ``train_cfg``."""
    path = "train_cfg"
    if not isinstance(cfg, Mapping):
        yield ConfigError(f"a dict such as {{'by_epoch': True, 'max_epochs': 3}} is wanted, got {cfg!r}", path)
        return
    kind = cfg.get("type")
    if kind is not None:
        yield from calls.caught(one_of, kind, LOOPS, f"{path}.type")
    rest = {key: value for key, value in cfg.items() if key not in ("type", *MARKS)}
    yield from calls.problems(TrainPlan, rest, path, label=path)
    for key in (k for k in COUNTS if k in cfg):
        yield from calls.caught(whole_number, cfg[key], f"{path}.{key}", 1)
    by_epoch = cfg.get("by_epoch", LOOPS.get(str(kind), "max_iters" not in cfg))
    wanted, other = ("max_epochs", "max_iters") if by_epoch else ("max_iters", "max_epochs")
    if wanted not in cfg:
        yield ConfigError(f"by_epoch={by_epoch} needs the length of the run as {wanted!r}", path)
    if other in cfg:
        yield ConfigError(f"by_epoch={by_epoch} goes with {wanted!r}, not {other!r}", f"{path}.{other}")
