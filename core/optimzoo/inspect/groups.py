"""The parameter groups of an optimizer as a table: one row per group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict

HIDDEN = ("params", "param_names", "lr", "weight_decay")


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
        settings: Its other hyperparameters that differ from the optimizer's.
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


def group_rows(optim_wrapper: BaseOptimWrapper | OptimWrapperDict) -> list[GroupRow]:
    """Return a row for each parameter group of ``optim_wrapper``."""
    rows = []
    defaults = optim_wrapper.defaults
    for index, group in enumerate(optim_wrapper.optimizer.param_groups):
        names = group.get("param_names", [])
        rules = dict.fromkeys(optim_wrapper.param_rules[name] for name in names if name in optim_wrapper.param_rules)
        own = {k: v for k, v in group.items() if k not in HIDDEN and not k.startswith("initial_")}
        rows.append(
            GroupRow(
                index=index,
                rules=tuple(rules),
                tensors=len(group["params"]),
                elements=sum(p.numel() for p in group["params"]),
                lr=group.get("initial_lr", group.get("lr")),
                weight_decay=group.get("weight_decay"),
                settings={k: v for k, v in own.items() if k not in defaults or defaults[k] != v},
                example=names[0] if names else "",
            )
        )
    return rows


def group_table(optim_wrapper: BaseOptimWrapper | OptimWrapperDict) -> Table:
    """Return the groups as a table to print with rich."""
    rows = group_rows(optim_wrapper)
    name = type(optim_wrapper.optimizer).__name__
    table = Table(title=f"{name}: {len(rows)} parameter group{'s' if len(rows) > 1 else ''}", title_justify="left")
    for heading in ("group", "tensors", "elements", "lr", "weight decay"):
        table.add_column(heading, justify="right")
    for heading in ("rules", "settings", "such as"):
        if heading != "settings" or any(row.settings for row in rows):
            table.add_column(heading, overflow="fold")
    for row in rows:
        cells = [str(row.index), str(row.tensors), f"{row.elements:,}", f"{row.lr:g}" if row.lr is not None else "-"]
        cells.append("-" if row.weight_decay is None else f"{row.weight_decay:g}")
        cells.append("; ".join(row.rules) or "-")
        if any(r.settings for r in rows):
            cells.append(", ".join(f"{k}={v}" for k, v in row.settings.items()) or "-")
        table.add_row(*cells, row.example)
    return table
