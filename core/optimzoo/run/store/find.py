"""Which checkpoint a run continues from."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from optimzoo.errors import CheckpointError, OptimzooWarning
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint
from optimzoo.run.store.work_dir import earlier_runs


def find_checkpoint(resume: bool | str | Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return the path and the content of the checkpoint to resume from.

    Args:
        resume: True for the newest in ``folder`` that can be read, or the path of one.
        folder: The folder of the run.

    Raises:
        CheckpointError: There is none, or the one that is named cannot be read.
    """
    if not isinstance(resume, bool):
        path = Path(resume)
        try:
            return path, load_checkpoint(path)
        except CheckpointError as error:
            older = [p for p in checkpoints_in(path.parent) if p.name < path.name]
            hint = f". The one before it is {older[-1]}" if older else ""
            raise CheckpointError(f"{error}{hint}") from error
    errors: list[CheckpointError] = []
    for path in reversed(checkpoints_in(folder)):
        try:
            state = load_checkpoint(path)
        except CheckpointError as error:
            errors.append(error)
            continue
        if errors:
            warnings.warn(f"{errors[0]}; resuming from {path} instead", OptimzooWarning, stacklevel=5)
        return path, state
    if errors:
        raise CheckpointError(f"none of the {len(errors)} checkpoints in {folder} can be read: {errors[0]}")
    aside = [path for run in earlier_runs(folder) for path in checkpoints_in(run)]
    hint = f". An earlier run left {aside[-1]}, which can be named to resume from" if aside else ""
    raise CheckpointError(f"there is no checkpoint in {folder} to resume from; train without resuming{hint}")
