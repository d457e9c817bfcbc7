"""What is written down of each library: its names, its licence, and who owns a bare name that several bring.

``libraries.json`` has the names, so that they are known where a library is not installed, with what installs it, and
``optimzoo list`` imports nothing; ``make names`` reads them from what is installed. Its ``sharded`` are names
that two processes under FSDP2 train as one process does, to 1e-10; of the others it is not known. ``methods.json`` says
what a method does and where it is described, once for all the libraries that have it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from optimzoo.names.hookspecs import Zoo

FOLDER = Path(__file__).parent
OWNERS = {
    "transformers": "what mmengine's configs mean",
    "torch": "torch's own",
    "lion": "the first implementation of Lion for torch",
    "dadaptation": "its authors'",
    "bitsandbytes": "what mmengine's configs mean",
    "schedulefree": "its authors'",
    "prodigyopt": "its authors'",
    "madgrad": "its author's",
    "adamp": "its authors'",
    "came_pytorch": "its authors'",
    "adam_mini": "its authors'",
    "galore_torch": "its authors'",
    "muon_optimizer": "its author's",
    "prodigyplus": "its author's",
    "flashoptim": "its authors'",
    "pytorch_optimizer": "maintained, and needs nothing beside torch",
    "timm": "maintained, and imports much",
    "heavyball": "maintained, and compiles",
    "torchao": "maintained by torch's authors",
    "adam_atan2_pytorch": "maintained",
}
"""A bare name belongs to the first of these plugins that has it, whatever its case, and why. The others' names, and
those of plugins that are not here, are qualified."""


@cache
def libraries() -> dict[str, Any]:
    """Return what is written down, by plugin."""
    return _read("libraries.json")


def licence(plugin: str) -> str:
    """Return the licence of the plugin's library."""
    return str(libraries()[plugin]["licence"])


@cache
def owners() -> dict[str, str]:
    """Return the plugin that each name, in small letters, belongs to."""
    return {name.lower(): plugin for plugin in reversed(OWNERS) for name in libraries()[plugin]["names"]}


def method(plugin: str, name: str) -> tuple[str, str]:
    """Return one line about a method, and where it is described."""
    key = name.replace("_", "").lower()
    about, paper = _methods().get(f"{plugin}.{key}") or _methods().get(key) or ("", "")
    return about, paper


def register(
    zoo: Zoo,
    needs: Mapping[str, Iterable[str]] | None = None,
    every: Iterable[str] = (),
    notes: Mapping[str, str] | None = None,
    group_keys: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """Register the names that are written down for the plugin.

    Args:
        zoo: What the plugin was given.
        needs: What a class needs, by name.
        every: What all of them need; but ``"whole"`` is not for those that the library's row has as ``sharded``.
        notes: What surprises the user of a class, by name.
        group_keys: Keys that a class reads from its groups, by name.
    """
    plugin = zoo.plugin
    library = libraries()[plugin]
    where = library.get("where", {})
    for name in library["names"]:
        about, paper = method(plugin, name)
        common = (need for need in every if need != "whole" or name not in library.get("sharded", ()))
        zoo.optimizer(
            name,
            where.get(name, f"{library['module']}:{name}"),
            extra=library.get("extra", library["distribution"]),
            about=about,
            paper=paper,
            needs=(*common, *(needs or {}).get(name, ())),
            bare=owners().get(name.lower()) == plugin and name not in library.get("qualified", ()),
            notes={"": notes[name]} if notes and name in notes else {},
            group_keys=(group_keys or {}).get(name, ()),
            licence=licence(plugin),
        )


@cache
def _methods() -> dict[str, Any]:
    return _read("methods.json")


def _read(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / name).read_text(encoding="utf-8")))
