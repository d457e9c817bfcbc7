"""A schedule for some of the groups: those whose parameters' names a pattern matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from optimzoo.errors import ConfigError
from optimzoo.groups.patterns import TITLES, name_pattern, names_any
from optimzoo.schedules.state import StandIn


class Subset(StandIn):
    """The groups of an optimizer that patterns choose, in place of all of them; also those that are added later.

    Args:
        whole: The optimizer.
        patterns: A pattern or several, as in the rules of ``paramwise_cfg``. A group is chosen if all its parameters
            match, or its ``name`` or ``part`` does.

    Raises:
        ConfigError: A pattern matches nothing, or only a part of a group.
    """

    def __init__(self, whole: Optimizer, patterns: str | Sequence[str]) -> None:
        self._listed = [patterns] if isinstance(patterns, str) else patterns
        if not isinstance(self._listed, (list, tuple)) or not self._listed:
            raise ConfigError(f"a pattern such as '*.bias', or a list of them, is wanted, got {patterns!r}", "groups")
        self._expressions = [name_pattern(pattern, "groups") for pattern in self._listed]
        self._whole = whole
        self._looked_at = 0
        self._chosen: list[int] = []
        self._blind = False  # of stand-ins for a model's groups, which know no names, all are chosen
        super().__init__([], whole.defaults)
        names = [name for group in whole.param_groups for name in (*_titles(group), *group.get("param_names", ()))]
        for pattern, expression in zip(self._listed, self._expressions):
            if any(name == pattern or names_any(expression, name) for name in names):
                continue
            self._blind = isinstance(whole, StandIn) and not any("param_names" in group for group in whole.param_groups)
            if not self._blind:
                there = "; ".join(_describe(group, number) for number, group in enumerate(whole.param_groups))
                raise ConfigError(f"no parameter group matches {pattern!r}. There are {there}", "groups")

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The chosen groups."""
        groups = self._whole.param_groups
        for number in range(self._looked_at, len(groups)):
            if self._chooses(groups[number], number):
                self._chosen.append(number)
        self._looked_at = len(groups)
        return [groups[number] for number in self._chosen]

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        """Choose among those of the optimizer, whatever is set."""

    def _chooses(self, group: Mapping[str, Any], number: int) -> bool:
        if self._blind or any(title in self._listed or self._match(title) for title in _titles(group)):
            return True
        names = group.get("param_names", ())
        others = [name for name in names if not self._match(name)]
        if 0 < len(others) < len(names):
            raise ConfigError(
                f"a part of {_describe(group, number)} is matched, and not {others[0]!r}: a schedule acts on whole "
                "groups. Give the parameters one of their own, as paramwise_cfg=dict(custom_keys={'bias': "
                "dict(name='bias')}) does, or say merge_groups=False",
                "groups",
            )
        return len(others) < len(names)

    def _match(self, name: str) -> bool:
        return any(names_any(expression, name) for expression in self._expressions)


def _titles(group: Mapping[str, Any]) -> list[str]:
    return [group[key] for key in TITLES if isinstance(group.get(key), str)]


def _describe(group: Mapping[str, Any], number: int) -> str:
    names = list(group.get("param_names", ()))
    shown = [*map(repr, _titles(group)), *names[:3], *(["..."] if len(names) > 3 else [])]
    return f"group {number} ({', '.join(shown) or 'without names: build it from named_parameters()'})"
