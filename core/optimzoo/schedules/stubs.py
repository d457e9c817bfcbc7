"""Writes ``__init__.pyi`` of this package, from which editors and type checkers know the derived classes.

Run ``python -m optimzoo.schedules.stubs`` after a change to a curve or a family.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import optimzoo.schedules as package
from optimzoo.schedules.windows import INF

HEADER = """\
# Written by `python -m optimzoo.schedules.stubs`; do not edit.
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from optimzoo.wrappers import BaseOptimWrapper

from .base import ParamScheduler as ParamScheduler
from .group import SchedulerGroup as SchedulerGroup
from .windows import INF as INF

_ParamScheduler = ParamScheduler

__all__: list[str]
"""

STUB = Path(__file__).with_name("__init__.pyi")


def stub() -> str:
    """Return the text of the stub."""
    classes = [getattr(package, name) for name in package.__all__ if name not in HEADER]
    return HEADER + "".join(map(_class, classes))


def _class(cls: type) -> str:
    lines = [
        f"\n\nclass {cls.__name__}(ParamScheduler):",
        f'    r"""{inspect.getdoc(cls)}\n"""'.replace("\n", "\n    "),
    ]
    parameters = [
        f"        {p.name}: {p.annotation}{'' if p.default is p.empty else f' = {_default(p.default)}'},"
        for p in inspect.signature(cls).parameters.values()
    ]
    lines += ["", "    def __init__(", "        self,", *parameters, "    ) -> None: ...", ""]
    return "\n".join(line.rstrip() for line in lines)


def _default(value: object) -> str:
    return "INF" if value == INF else repr(value)


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
