"""How long a run is and how often it validates: the ``train_cfg`` of a config."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimzoo import calls
from optimzoo.errors import ConfigError, Problems, shown
from optimzoo.values import MARKS, as_count, one_of, plain

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
        dynamic_intervals: Pairs of an epoch or iteration and the ``val_interval`` from it on.
    """

    by_epoch: bool = True
    max_epochs: int | None = None
    max_iters: int | None = None
    val_interval: int = 1
    val_begin: int = 1
    dynamic_intervals: Sequence[tuple[int, int]] = ()

    @classmethod
    def from_cfg(cls, cfg: Any) -> TrainPlan:
        """Return the plan that a ``train_cfg`` describes.

        Raises:
            ConfigError: A key or value is wrong.
        """
        path = "train_cfg"
        if isinstance(cfg, TrainPlan):
            return cfg
        if not isinstance(cfg, Mapping):
            raise ConfigError(f"a dict such as {{'by_epoch': True, 'max_epochs': 3}} is wanted, got {shown(cfg)}", path)
        cfg = dict(plain(cfg, path))
        kwargs = {key: value for key, value in cfg.items() if key not in ("type", *MARKS)}
        with Problems() as problems:
            if cfg.get("type") is not None:
                problems.catch(one_of, cfg["type"], LOOPS, f"{path}.type")
            problems.catch(calls.read, cls, {k: v for k, v in kwargs.items() if k not in COUNTS}, path, label=path)
            for key in (k for k in COUNTS if k in cfg):
                kwargs[key] = problems.catch(as_count, cfg[key], f"{path}.{key}", 1)
            kwargs["dynamic_intervals"] = problems.catch(_intervals, cfg.get("dynamic_intervals") or ())
            by_epoch = kwargs.setdefault("by_epoch", LOOPS.get(str(cfg.get("type")), "max_iters" not in cfg))
            if not isinstance(by_epoch, bool):
                problems.raise_all()
            wanted, other = ("max_epochs", "max_iters") if by_epoch else ("max_iters", "max_epochs")
            if wanted not in cfg:
                problems.add(ConfigError(f"by_epoch={by_epoch} needs the length of the run as {wanted!r}", path))
            if other in cfg:
                what = f"by_epoch={by_epoch} goes with {wanted!r}, not {other!r}"
                problems.add(ConfigError(what, f"{path}.{other}"))
        if not by_epoch:
            kwargs.setdefault("val_interval", 1000)
        return cls(**kwargs)

    def interval_at(self, count: int) -> int:
        """Return the ``val_interval`` that holds after so many epochs or iterations."""
        passed = bisect.bisect([begin for begin, _ in self.dynamic_intervals], count + 1)
        return self.dynamic_intervals[passed - 1][1] if passed else self.val_interval

    def length(self, epoch_length: int | None) -> int | None:
        """Return the number of iterations, given that of an epoch."""
        if not self.by_epoch:
            return self.max_iters
        return None if epoch_length is None or self.max_epochs is None else self.max_epochs * epoch_length


def _intervals(listed: Any) -> list[tuple[int, int]]:
    path = "train_cfg.dynamic_intervals"
    pairs = listed if isinstance(listed, (list, tuple)) else [listed]
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        raise ConfigError(f"a list of pairs such as [[280, 1]] is wanted, got {shown(listed)}", path)
    begins = [as_count(begin, f"{path}[{number}][0]", 1) for number, (begin, _) in enumerate(pairs)]
    if begins != sorted(set(begins)):
        raise ConfigError(f"each begins later than the one before, got {shown(listed)}", path)
    return [(begin, as_count(pair[1], f"{path}[{n}][1]", 1)) for n, (begin, pair) in enumerate(zip(begins, pairs))]
