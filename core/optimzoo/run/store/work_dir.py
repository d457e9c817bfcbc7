"""The folder of a run: one run at a time, and nothing of an earlier one lost."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from optimzoo.config.load import config_text
from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning, shown
from optimzoo.run.store.atomic import telling, write
from optimzoo.run.store.checkpoint import checkpoints_in

try:
    import fcntl
except ImportError:  # on Windows two runs in one folder are not noticed
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")

LOCK = ".lock"
TRIES = 5
"""How often a run writes into a folder that somebody else removes."""
MARKER = "# Written by optimzoo"
RECORDS = ("best.pt", "curves.png", "metrics.csv", "metrics.jsonl", "tensorboard", "config.yaml")
"""What a run leaves besides checkpoints; the config, by which the others are known as a run's, is moved last."""


def path_of(value: Any, key: str, wanted: str = "a folder") -> Path:
    """Return the path that a key of a config names.

    Raises:
        ConfigError: It is no path.
    """
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        raise ConfigError(f"the path of {wanted} is wanted, got {shown(value)}", key)
    return Path(value)


def work_dir_of(value: Any) -> Path:
    """Return the folder of a run; one that cannot be made, below a file, is an error."""
    folder = path_of(value, "work_dir")
    for file in filter(os.path.isfile, (folder, *folder.parents)):
        raise _unwritable(folder, f"{file} is a file")
    return folder


def _unwritable(folder: Path, why: object) -> ConfigError:
    return ConfigError(f"{folder} cannot be written to ({why}); choose another folder", "work_dir")


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Create ``folder``, and keep other runs out of it; the system lets go when the process ends, however it ends.

    Raises:
        ConfigError: The folder cannot be written to, or another run is in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise _unwritable(folder, error) from error
    with lock:
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise ConfigError(
                f"another run (process {lock.read()}) is writing to {folder}; wait for it, or choose another folder",
                "work_dir",
            ) from error
        except OSError:  # a file system without locks
            pass
        with telling(folder / LOCK, 8):
            os.ftruncate(lock.fileno(), 0)
            os.write(lock.fileno(), str(os.getpid()).encode())
        yield


def check_room(folder: Path, start: Path | None) -> None:
    """Look whether all that ``begin`` would move was written by a run.

    Raises:
        ConfigError: It was not.
    """
    foreign = _records(folder) if _continues(folder, start) else [*_records(folder), *checkpoints_in(folder)]
    config = folder / "config.yaml"
    if foreign and not (config.is_file() and config.read_bytes().startswith(MARKER.encode())):
        raise ConfigError(
            f"{foreign[0]} was not written by a run and would be overwritten; choose another folder", "work_dir"
        )


def insist(write: Callable[[], T], folder: Path, config: Mapping[str, Any], held: contextlib.ExitStack) -> T:
    """Write into the folder of a run; if it was removed since, it is made anew, and that is tried again.

    Raises:
        OptimzooError: It cannot be written to, or is removed again and again.
    """
    for left in reversed(range(TRIES)):
        try:
            if not (folder / LOCK).exists():
                held.enter_context(hold(folder))
                write_config(config, folder)
                message = f"{folder} was removed during the run, and is made anew"
                warnings.warn(message, OptimzooWarning, stacklevel=2)
            return write()
        except OptimzooError as error:
            if not left or not isinstance(error.__cause__, (FileNotFoundError, RuntimeError)):
                raise
    raise AssertionError  # the last try returns or raises


def begin(folder: Path, start: Path | None, config: Mapping[str, Any]) -> Path | None:
    """Move what an earlier run left in ``folder`` into a subfolder, ``previous-1``, ..., and write the config of a run.

    Args:
        folder: The folder.
        start: The checkpoint that the new run continues from. If it is in ``folder``, the checkpoints up to it stay
            (none, if it is ``best.pt``), and the rest of what the run left is copied.
        config: The config.

    Returns:
        The subfolder, or None if there was nothing to move.

    Raises:
        WriteError: The folder cannot be written to.
    """
    moved_to = _make_room(folder, start)
    write_config(config, folder)
    return moved_to


def _make_room(folder: Path, start: Path | None) -> Path | None:
    saved = checkpoints_in(folder)
    kept = next((n for n, path in enumerate(saved, 1) if start is not None and path.samefile(start)), 0)
    continued, records = _continues(folder, start), _records(folder)
    copied = sum(file.stat().st_size for path in records for file in (path, *path.rglob("*"))) if continued else 0
    with telling(folder / "previous-N", copied):
        for partial in folder.glob("checkpoint_*.partial"):
            partial.unlink()
        if not saved[kept:] and (continued or not records):
            return None
        aside = _aside(folder)
        for path in saved[kept:]:
            path.replace(aside / path.name)
        for path in records:
            if not continued:
                path.replace(aside / path.name)
            elif path.is_dir():
                shutil.copytree(path, aside / path.name)
            else:
                shutil.copy2(path, aside)
    return aside


def write_config(config: Mapping[str, Any], folder: Path) -> None:
    """Write the config of a run where ``optimzoo train`` can read it."""
    path = folder / "config.yaml"
    code = f" --code-dir {config['code_dir']}" if config.get("code_dir") else ""
    header = (
        f"{MARKER}: the config of this run. To run it again: optimzoo train {path}{code} --work-dir ANOTHER_FOLDER\n"
    )
    write(path, header + config_text(config))


def earlier_runs(folder: Path) -> list[Path]:
    """Return the subfolders that earlier runs were moved into, oldest first."""
    found = [(int(match[1]), p) for p in folder.glob("*") if (match := re.fullmatch(r"previous-(\d+)", p.name))]
    return [path for _, path in sorted(found)]


def _records(folder: Path) -> list[Path]:
    return [folder / name for name in RECORDS if (folder / name).exists()]


def _continues(folder: Path, start: Path | None) -> bool:
    return start is not None and start.parent.samefile(folder)


def _aside(folder: Path) -> Path:
    """Return a new subfolder to move an earlier run into."""
    last = [int(path.name.partition("-")[2]) for path in earlier_runs(folder)][-1:]
    aside = folder / f"previous-{sum(last) + 1}"
    aside.mkdir()
    return aside
