"""What a user trusts: packages named on the command line, and those of the settings file, never of a config."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from optimzoo.config.readers import read
from optimzoo.errors import ConfigError, OptimzooError, did_you_mean, near, shown
from optimzoo.names.entry import OWN_DISTRIBUTION, dotted
from optimzoo.names.trust import Trust
from optimzoo.names.zoo import REGISTRIES, plugins

OF_OTHERS = re.compile(r"\..*|(site|dist)-packages|python\d.*")
"""Folders below a project that hold code of others."""


def settings_file() -> Path:
    """Return the user's settings file: ``optimzoo/settings.toml`` in ``$XDG_CONFIG_HOME``, or else in ``~/.config``."""
    home = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (home if home.is_absolute() else Path.home() / ".config") / "optimzoo" / "settings.toml"


def read_settings() -> frozenset[str]:
    """Return the packages that the settings file trusts, none if there is no such file.

    Raises:
        ConfigError: The file cannot be read, or holds something else.
    """
    file = settings_file()
    settings = read(file) if file.is_file() else {}
    for key in (key for key in settings if key != "trust"):
        raise ConfigError(f"there is no such setting in {file}.{did_you_mean(near(key, ['trust']))}", key)
    return _packages(settings.get("trust", []), f"trust in {file}")


def trust_for(file: Path, asked: Iterable[str] = (), code_dir: Path | None = None, looks: bool = False) -> Trust:
    """Return whose code a config that is data may name.

    Args:
        file: The config.
        asked: Packages, and modules of its folder, that the user trusts for it.
        code_dir: The folder of its modules, if the user names one.
        looks: Whether it is only looked at.

    Raises:
        ConfigError: A name is none, or the settings file is wrong.
    """
    loaded = [
        r
        for r in plugins.reports()
        if r.status == "loaded" and r.distribution != OWN_DISTRIBUTION and ":" not in r.target
    ]
    entries = [e for registry in REGISTRIES.values() for e in registry.entries() if e.plugin]
    modules = {dotted(entry.target).partition(":")[0] for entry in entries}
    return Trust(
        (code_dir or file.parent).resolve(),
        _packages(list(asked), "--trust"),
        read_settings() | {report.target.partition(".")[0] for report in loaded},
        frozenset(modules | {module.partition(".")[0] for module in modules}),
        looks,
    )


def code_folder(cfg: Mapping[str, Any], file: Path) -> Path:
    """Return the folder in which a config that is data names modules: its own, or one below it.

    Raises:
        ConfigError: It names another.
    """
    named, own = cfg.get("code_dir"), file.parent.resolve()
    folder = own
    if named is None:
        return own
    if not isinstance(named, str):
        raise ConfigError(f"the path of a folder is wanted, got {shown(named)}", "code_dir")
    try:
        folder = (own / named).resolve()
        below = folder.relative_to(own).parts if folder.is_dir() else (".",)
    except (OSError, ValueError, RuntimeError):
        below = (".",)
    if any(map(OF_OTHERS.fullmatch, below)) or (folder / "os.py").exists():  # another Python's library
        raise ConfigError(
            f"{shown(named)} is not the folder of {file}, or one below it that holds code of its own: a config that is "
            f"data names no other. If you trust what is there, say so: --code-dir {shown(named)}",
            "code_dir",
        )
    return folder


def _packages(names: Any, where: str) -> frozenset[str]:
    if not isinstance(names, list) or not all(isinstance(n, str) and n.replace(".", "_").isidentifier() for n in names):
        raise OptimzooError(f"{where}: names of packages are wanted, such as 'torchvision', got {shown(names)}")
    return frozenset(names)
