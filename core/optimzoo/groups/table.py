"""The parameter groups of an optimizer as a table: one row per group, or per parameter."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text
from torch import nn

from optimzoo import calls
from optimzoo.console import as_html, as_text
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
        lr: Its learning rate.
        initial_lr: That from which schedules take their factors, if there are any.
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
    initial_lr: Any
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
                lr=group.get("lr"),
                initial_lr=group.get("initial_lr", group.get("lr")),
                weight_decay=group.get("weight_decay"),
                part=group.get("part", ""),
                settings=settings,
                example=names[0] if names else "",
            )
        )
    return rows


def group_names(optim_wrapper: Grouped) -> list[str]:
    """Return a name for each group: its own, that of its part and rules, or ``base``; a parameter tells two apart."""
    names: dict[str, None] = {}
    for row, group in zip(group_rows(optim_wrapper), optim_wrapper.optimizer.param_groups):
        name = group.get("name") or ": ".join(filter(None, (row.part, "; ".join(row.rules)))) or "base"
        several = (str(name), f"{name} ({row.example})", f"{name} (group {row.index})")
        names[next(each for each in several if each not in names)] = None
    return list(names)


def in_short(optim_wrapper: Grouped) -> str:
    """Return one line about the groups: how many, of what, and between what their learning rates and decays lie."""
    groups = optim_wrapper.optimizer.param_groups
    tensors = [parameter for group in groups for parameter in group["params"]]
    told = [_counted(optim_wrapper.optimizer), f"{len(tensors)} tensors"]
    told.append(f"{sum(tensor.numel() for tensor in tensors):,} elements")
    for key in ("lr", "weight_decay"):
        values = [group[key] for group in groups if group.get(key) is not None]
        with contextlib.suppress(TypeError):  # of libraries that keep a list of them in a group
            values.sort(key=float)
        ends = dict.fromkeys(map(_told, values[:1] + values[-1:]))
        told += [f"{key} {' to '.join(ends)}"] if ends else []
    return f"{type(optim_wrapper.optimizer).__name__}: {', '.join(told)}"


class Summary:
    """The groups of optimizers as tables: as text where it is printed, as HTML in a notebook.

    Args:
        members: The optimizer wrappers by name; a single one has the name ``""``.
    """

    def __init__(self, members: Mapping[str, Grouped]) -> None:
        self.tables = [group_table(wrapper, name) for name, wrapper in members.items()]

    def __repr__(self) -> str:
        return "\n\n".join(map(as_text, self.tables))

    def _repr_html_(self) -> str:
        return "".join(map(as_html, self.tables))


def group_table(optim_wrapper: Grouped, member: str = "") -> Table:
    """Return the groups as a table to print with rich; ``member`` is what the optimizer is called among several."""
    rows = group_rows(optim_wrapper)
    name = ": ".join(filter(None, (member, type(optim_wrapper.optimizer).__name__)))
    title = f"{name}: {_counted(optim_wrapper.optimizer)}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    scheduled = any(_told(row.lr) != _told(row.initial_lr) for row in rows)
    for heading in ("group", "tensors", "elements", "lr (initial)" if scheduled else "lr", "decay"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("first parameter, rules", overflow="fold")
    for row in rows:
        lr = f"{_told(row.lr)} ({_told(row.initial_lr)})" if scheduled else _told(row.lr)
        told = (
            f"{row.part}: {row.example}" if row.part else row.example,
            "; ".join(row.rules),
            ", ".join(f"{k}={v}" for k, v in row.settings.items()),
        )
        text = Text("\n".join(filter(None, told)) or "-")
        table.add_row(str(row.index), str(row.tensors), f"{row.elements:,}", lr, _told(row.weight_decay), text)
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


def _counted(optimizer: Any) -> str:
    """Say how many groups there are, and which of them a fused kernel steps."""
    groups = optimizer.param_groups
    parts = dict.fromkeys(group.get("part", "") for group in groups if group.get("fused"))
    fused = f", fused=True{' for ' * any(parts)}{' and '.join(parts)}" if parts else ""
    return f"{len(groups)} parameter group{'s' if len(groups) > 1 else ''}{fused}"


def _told(value: Any) -> str:
    """Return a number in short; some libraries keep a list of them in a group."""
    try:
        return "-" if value is None else f"{float(value):.4g}"
    except TypeError:
        return str(value)
