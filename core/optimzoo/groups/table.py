"""The parameter groups of an optimizer as a table: one row per group, or per parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text
from torch import nn

from optimzoo import calls
from optimzoo.groups.merge import known_parameters
from optimzoo.groups.roles import roles_of
from optimzoo.optimizers.parts import part_of

HIDDEN = ("params", "param_names", "part", "lr", "initial_lr", "weight_decay")


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
        part: The part of the optimizer that it is of, if there are several.
        settings: Its other hyperparameters that differ from the optimizer's, and entries that not all groups have.
        example: The name of its first parameter.
    """

    index: int
    rules: tuple[str, ...]
    tensors: int
    elements: int
    lr: Any
    weight_decay: Any
    part: str
    settings: dict[str, Any]
    example: str


def group_rows(optim_wrapper: Grouped) -> list[GroupRow]:
    """Return a row for each parameter group of ``optim_wrapper``."""
    rows = []
    optimizer = optim_wrapper.optimizer
    # Some optimizers count and estimate in their groups: that is neither an argument nor in one group only.
    for index, group in enumerate(optimizer.param_groups):
        part = part_of(optimizer, group)
        everywhere = set.intersection(*map(set, part.param_groups))
        arguments, names = calls.parameters(part.__class__), group.get("param_names", [])
        rules = dict.fromkeys(optim_wrapper.param_rules[name] for name in names if name in optim_wrapper.param_rules)
        settings = {
            key: value
            for key, value in group.items()
            if key not in HIDDEN
            and (key not in everywhere or (key in arguments and part.defaults.get(key, value) != value))
        }
        rows.append(
            GroupRow(
                index=index,
                rules=tuple(rules),
                tensors=len(group["params"]),
                elements=sum(p.numel() for p in group["params"]),
                lr=group.get("initial_lr", group.get("lr")),
                weight_decay=group.get("weight_decay"),
                part=group.get("part", ""),
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
        numbers = map(_told, (row.lr, row.weight_decay))
        told = (
            f"{row.part}: {row.example}" if row.part else row.example,
            "; ".join(row.rules),
            ", ".join(f"{k}={v}" for k, v in row.settings.items()),
        )
        text = Text("\n".join(filter(None, told)) or "-")
        table.add_row(str(row.index), str(row.tensors), f"{row.elements:,}", *numbers, text)
    return table


def parameter_table(members: Mapping[str, Grouped], model: nn.Module) -> Table:
    """Return a table to print with rich of all parameters of a model, and of what trains each.

    Args:
        members: The optimizer wrappers by name; a single one has the name ``""``.
        model: The model.
    """
    roles = roles_of(model)
    held = {
        id(parameter): (member, wrapper, index, group)
        for member, wrapper in members.items()
        for index, group in enumerate(wrapper.optimizer.param_groups)
        for parameter in group["params"]
    }
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("parameter", "shape", "role", "part", "group", "lr", "decay", "why"):
        table.add_column(heading, overflow="fold", justify="right" if heading in ("group", "lr", "decay") else "left")
    for key, (parameter, names) in known_parameters(model).items():
        role, shape = roles[key], "x".join(map(str, parameter.shape))
        told = " ".join(filter(None, (role.name, role.part)))
        if key not in held:
            table.add_row(names[0], shape, told, "-", "-", "-", "-", "in no group")
            continue
        member, wrapper, index, group = held[key]
        lr, decay = (_told(group.get(setting)) for setting in ("lr", "weight_decay"))
        frozen = "" if parameter.requires_grad else "frozen"
        why = ", ".join(filter(None, (frozen, role.why, wrapper.param_rules.get(names[0], ""))))
        table.add_row(names[0], shape, told, group.get("part", member) or "-", str(index), lr, decay, why)
    return table


def _told(value: Any) -> str:
    """Return a number in short; some libraries keep a list of them in a group."""
    try:
        return "-" if value is None else f"{float(value):.4g}"
    except TypeError:
        return str(value)
