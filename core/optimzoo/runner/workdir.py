"""The folder of a run."""

from __future__ import annotations

import itertools
from pathlib import Path

from optimzoo.errors import ConfigError

OURS = ("checkpoint_*.pt", "config.yaml", "curves.png", "metrics.csv")


def prepare_work_dir(folder: Path, keep: bool) -> Path:
    """Create ``folder`` and return it.

    Args:
        folder: The folder.
        keep: Whether the run continues one that is in there. Else what an earlier run left is moved into a subfolder
            ``previous-1``, ``previous-2``, ..., so that nothing is lost and no run resumes from another's checkpoint.

    Raises:
        ConfigError: The folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
        earlier = [] if keep else [path for pattern in OURS for path in folder.glob(pattern)]
        if earlier:
            aside = next(f for n in itertools.count(1) if not (f := folder / f"previous-{n}").exists())
            aside.mkdir()
            for path in earlier:
                path.rename(aside / path.name)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written to ({error}); choose another folder", "work_dir") from error
    return folder
