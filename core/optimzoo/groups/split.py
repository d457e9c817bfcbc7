"""Which part of an optimizer that is made of several takes each parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from torch import nn

from optimzoo.errors import ConfigError, Problems, join_path, shown
from optimzoo.groups.modules import KINDS
from optimzoo.groups.patterns import name_pattern, names_any
from optimzoo.groups.roles import NAMES
from optimzoo.groups.rules import CONDITIONS, Place, all_hold, places_of, read_conditions
from optimzoo.optimizers.described import DescribedOptimizer, DescribedPart

Holds = Callable[[Place], bool]


class Taken(NamedTuple):
    """A parameter that a part takes: its place in the model, and the name of the part."""

    place: Place
    part: str


class Split:
    """How the parameters of a model are shared out: to the first part that may take one.

    Args:
        parts: The parts, by name.

    Raises:
        ConfigError: A ``where`` is wrong.
    """

    def __init__(self, parts: Mapping[str, DescribedPart]) -> None:
        self.tests: dict[str, Holds] = {}
        wants = ". It takes hidden matrices of more than one row and column"
        self._wants = {name: wants for name, part in [*parts.items()][:-1] if part.where is None}
        last = [*parts][-1]
        with Problems() as problems:
            for name, part in parts.items():
                if part.where is not None:
                    self.tests[name] = problems.catch(_read_where, part.where, part.path)
                else:
                    self.tests[name] = (lambda place: True) if name == last else _made_for(part.optimizer)
            head = next(iter(parts.values())).head
            listed = [head] if isinstance(head, str) else head
            if listed is not None and not (isinstance(listed, (list, tuple)) and listed):
                raise ConfigError(
                    f"a pattern of names, or a list of them, is wanted, got {shown(head)}", "optimizer.head"
                )
            self._head = None if listed is None else [problems.catch(name_pattern, p, "optimizer.head") for p in listed]

    def of(self, model: nn.Module) -> dict[int, Taken]:
        """Return, by a parameter's id, which part takes it; of frozen ones, some may be left out.

        Raises:
            ConfigError: A parameter that is trained is left over, or a part takes none.
        """
        head = None
        if self._head is not None:
            named = places_of(model, False)
            head = [at.parameter for at in named if any(names_any(pattern, at.name) for pattern in self._head)]
            if not head:
                raise ConfigError("no parameter of the model goes by this name", "optimizer.head")
        taken: dict[int, Taken] = {}
        left: list[Place] = []
        for place in places_of(model, True, head):
            part = next((name for name, holds in self.tests.items() if holds(place)), None)
            if part is not None:
                taken[id(place.parameter)] = Taken(place, part)
            elif place.parameter.requires_grad:
                left.append(place)
        with Problems() as problems:
            if left:
                problems.add(
                    ConfigError(
                        f"{len(left)} parameters are of no part: {_listed(left)}. A last part without 'where' takes "
                        "what is left"
                    )
                )
            found = [each.place for each in taken.values()] + left
            roles = ", ".join(dict.fromkeys(place.role.name for place in found))
            for name in self.tests.keys() - {each.part for each in taken.values()}:
                more = self._wants.get(name, "")
                what = f"the part {name!r} takes no parameter of the model, which has these roles: {roles}{more}"
                problems.add(ConfigError(what))
        return taken


def _read_where(where: Any, path: str) -> Holds:
    """Return what a ``where`` asks: a role, a kind of module, or a pattern; several of them; or conditions."""
    if isinstance(where, (list, tuple)) and where:
        with Problems() as problems:
            several = [problems.catch(_read_where, each, f"{path}[{number}]") for number, each in enumerate(where)]
        return lambda place: any(holds(place) for holds in several)
    if isinstance(where, str):
        key = "role" if where in NAMES else "module" if where in KINDS else "match"
        return CONDITIONS[key](where, path, ())
    if not isinstance(where, Mapping) or not where:
        wanted = (
            f"a role ({', '.join(NAMES)}), a pattern of names, a dict of {', '.join(CONDITIONS)}, or a list of these"
        )
        raise ConfigError(f"{wanted} is wanted, got {shown(where)}", path)
    with Problems() as problems:
        for key in where.keys() - CONDITIONS.keys():
            problems.add(ConfigError(f"it is none of {', '.join(CONDITIONS)}", join_path(path, key)))
        conditions = problems.catch(read_conditions, where, path)
    return all_hold(conditions)


def _made_for(optimizer: DescribedOptimizer) -> Holds:
    """Return whether a parameter is what an optimizer of matrices is made for: hidden, and of a shape that it takes.

    One of a single row or column is a vector: to make it orthogonal is to make it long as a unit.
    """
    facts = optimizer.entry.facts if optimizer.entry else None
    refused = str(facts.value("shapes")) if facts else ""
    of_two = "matrices" in optimizer.needs
    takes = ("matrix",) if of_two or "conv" in refused else ("matrix", "conv", "experts")

    def holds(place: Place) -> bool:
        shape = place.parameter.shape
        return place.role.name in takes and (1 not in shape if len(shape) == 2 else not of_two)

    return holds


def _listed(places: Iterable[Place]) -> str:
    told = [f"{place.name} ({place.role.name}, {tuple(place.parameter.shape)})" for place in places]
    return ", ".join(told[:5]) + (", ..." if len(told) > 5 else "")
