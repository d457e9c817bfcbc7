"""What has changed in a config since a checkpoint was made with it, and which of the two holds."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from optimzoo.errors import OptimzooWarning, join_path, shown

INCIDENTAL = (
    *("checkpoint", "code_dir", "device", "hooks", "log_groups", "log_interval"),
    *("metrics", "strategy", "train_cfg", "val_dataloader", "work_dir"),
)
"""Keys of a config that may change without a word: what has been trained so far does not depend on them."""

OF_THE_GROUPS = r"optim_wrapper(\.[^.]+)?\.(optimizer|paramwise_cfg)\b(?!.*\.type$)"
"""Where the settings of the parameter groups come from, which a checkpoint holds too; the classes are the config's."""

OF_THE_CHECKPOINT = r"randomness\.seed|load_from"
"""What a checkpoint decides in any case: the order of the data, and the weights."""

MOST = 20
"""Differences that are told."""


def warn_of_changes(old: Any, new: Any, path: Path | None, on_change: str, settings: Collection[str]) -> None:
    """Warn of every difference between two configs, and say which of the two holds from now on.

    Args:
        old: The config of the checkpoint.
        new: That of the run.
        path: The checkpoint.
        on_change: As for the Runner.
        settings: What the parameter groups have; other arguments of an optimizer are the config's.
    """
    restored = {
        "error": f"{OF_THE_CHECKPOINT}|{OF_THE_GROUPS}",
        "restore": f"{OF_THE_CHECKPOINT}|{OF_THE_GROUPS}|param_scheduler",
        "config": OF_THE_CHECKPOINT,
    }[on_change]

    def stays(key: str) -> bool:
        named = {part.partition("[")[0] for part in key.split(".")}
        return bool(re.match(restored, key)) and (".optimizer." not in key or not named.isdisjoint(settings))

    changes = [
        f"{key} stays {then} ({now} in the config)" if stays(key) else f"{key} is {now} (was {then})"
        for key, *values in _differences(old, new, "")
        for then, now in [[value[:200] if isinstance(value, str) else shown(value) for value in values]]
        if not key.startswith(INCIDENTAL)
    ]
    if changes:
        more = f"; and {len(changes) - MOST} more" if len(changes) > MOST else ""
        message = f"the config differs from the one that made {path}: {'; '.join(changes[:MOST])}{more}"
        warnings.warn(message, OptimzooWarning, stacklevel=4)


def _differences(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path of each difference between two configs, and what stands there in each."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in {**old, **new}:
            yield from _differences(old.get(key, "unset"), new.get(key, "unset"), join_path(path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, now) in enumerate(zip(old, new)):
            yield from _differences(before, now, join_path(path, index))
    elif old != new:
        yield path, old, new
