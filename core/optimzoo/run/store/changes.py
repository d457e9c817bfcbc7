"""What has changed in a config since a checkpoint was made with it, and which of the two holds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optimzoo.errors import OptimzooWarning, join_path

INCIDENTAL = (
    *("checkpoint", "code_dir", "device", "hooks", "log_groups", "log_interval"),
    *("metrics", "strategy", "train_cfg", "val_dataloader", "work_dir"),
)
"""Keys of a config that may change without a word: what has been trained so far does not depend on them."""

OF_THE_GROUPS = ("optim_wrapper.optimizer", "optim_wrapper.paramwise_cfg")
"""Where the settings of the parameter groups come from, which a checkpoint holds too."""

OF_THE_CHECKPOINT = ("randomness.seed", "load_from")
"""What a checkpoint decides in any case: the order of the data, and the weights."""


def warn_of_changes(old: Any, new: Any, path: Path | None, on_change: str) -> None:
    """Warn of every difference between two configs, and say which of the two holds from now on."""
    restored = {
        "error": (*OF_THE_CHECKPOINT, *OF_THE_GROUPS),
        "restore": (*OF_THE_CHECKPOINT, *OF_THE_GROUPS, "param_scheduler"),
        "config": OF_THE_CHECKPOINT,
    }[on_change]
    changes = [
        f"{key} stays {before} ({now} in the config)" if key.startswith(restored) else f"{key} is {now} (was {before})"
        for key, before, now in _differences(old, new, "")
        if not key.startswith(INCIDENTAL)
    ]
    if changes:
        warnings.warn(
            f"the config differs from the one that made {path}: {'; '.join(changes)}", OptimzooWarning, stacklevel=4
        )


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
