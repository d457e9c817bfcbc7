"""The names that stand in the engine's own source, read from it without importing anything: schedules and the face."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parent
SCHEDULE = re.compile(r'^class (\w+(?:LR|Momentum|ParamScheduler))\(.*\):\n    r?"""(.+?)\.?(?:""")?$', re.MULTILINE)
PUBLIC = re.compile(r"^from \.(\S+) import (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Schedule:
    """A schedule of the engine's.

    Args:
        name: The name of the class.
        about: The first line of its docstring.
    """

    name: str
    about: str


@functools.cache
def bundled_schedules() -> tuple[Schedule, ...]:
    """Return every schedule: a class of ``optimzoo.schedules.curves`` whose name ends as a family's does."""
    files = sorted((PACKAGE / "schedules" / "curves").glob("*.py"))
    texts = (file.read_text(encoding="utf-8") for file in files)
    return tuple(sorted((Schedule(*found) for text in texts for found in SCHEDULE.findall(text)), key=lambda s: s.name))


def public_names() -> dict[str, list[str]]:
    """Return the names of ``optimzoo.__init__.pyi`` by the module they come from; a star stands for the schedules."""
    found: dict[str, list[str]] = {}
    for module, name in PUBLIC.findall((PACKAGE / "__init__.pyi").read_text(encoding="utf-8")):
        names = [schedule.name for schedule in bundled_schedules()] if name == "*" else [name]
        found.setdefault(module, []).extend(names)
    return found
