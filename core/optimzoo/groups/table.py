"""The parameter groups of an optimizer as a table: one row per group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from optimzoo import calls

HIDDEN = ("params", "param_names", "lr", "initial_lr", "weight_decay")


class Grouped(Protocol):
    """What the table reads of a wrapper."""

    @property
    def optimizer(self) -> Any: ...  # noqa: D102
    @property
    def param_rules(self) -> Mapping[str, str]: ...  # noqa: D102


@dataclass(frozen=True)
class GroupRow:
    """One parameter group.

    Args:
        index: Its place among the groups.
        rules: The rules that made it, in the order in which they first applied.
        tensors: Its parameters.
        elements: Their elements.
        lr: Its learning rate, before any schedule.
        weight_decay: Its weight decay.
        settings: Its other hyperparameters that differ from the optimizer's, and entries that not all groups have.
        example: The name of its first parameter.
    """

    index: int
    rules: tuple[str, ...]
    tensors: int
    elements: int
    lr: Any
    weight_decay: Any
    settings: dict[str, Any]
    example: str


def group_rows(optim_wrapper: Grouped) -> list[GroupRow]:
    """Return a row for each parameter group of ``optim_wrapper``."""
    rows = []
    optimizer = optim_wrapper.optimizer
    # Some optimizers count and estimate in their groups: that is neither an argument nor in one group only.
    arguments = calls.parameters(optimizer.__class__)
    everywhere = set.intersection(*map(set, optimizer.param_groups))
    for index, group in enumerate(optimizer.param_groups):
        names = group.get("param_names", [])
        rules = dict.fromkeys(optim_wrapper.param_rules[name] for name in names if name in optim_wrapper.param_rules)
        settings = {
            key: value
            for key, value in group.items()
            if key not in HIDDEN
            and (key not in everywhere or (key in arguments and optimizer.defaults.get(key, value) != value))
        }
        rows.append(
            GroupRow(
                index=index,
                rules=tuple(rules),
                tensors=len(group["params"]),
                elements=sum(p.numel() for p in group["params"]),
                lr=group.get("initial_lr", group.get("lr")),
                weight_decay=group.get("weight_decay"),
                settings=settings,
                example=names[0] if names else "",
            )
        )
    return rows


def group_table(optim_wrapper: Grouped) -> Table:
    """Return the groups as a table to print with rich."""
    rows = group_rows(optim_wrapper)
    name = type(optim_wrapper.optimizer).__name__
    title = f"{name}: {len(rows)} parameter group{'s' if len(rows) > 1 else ''}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("group", "tensors", "elements", "lr", "decay"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("first parameter, rules, settings", overflow="fold")
    for row in rows:
        numbers = ["-" if value is None else _told(value) for value in (row.lr, row.weight_decay)]
        told = (row.example, "; ".join(row.rules), ", ".join(f"{k}={v}" for k, v in row.settings.items()))
        text = Text("\n".join(filter(None, told)) or "-")
        table.add_row(str(row.index), str(row.tensors), f"{row.elements:,}", *numbers, text)
    return table


def _told(value: Any) -> str:
    """Return a number in short; some libraries keep a list of them in a group."""
    try:
        return f"{float(value):.4g}"
    except TypeError:
        return str(value)
