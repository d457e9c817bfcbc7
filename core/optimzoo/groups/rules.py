"""Rules: which parameters each holds for, and what it makes of their settings."""

from __future__ import annotations

import glob
import math
import operator
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from optimzoo import calls
from optimzoo.errors import ConfigError, Problems, did_you_mean, join_path, near, shown
from optimzoo.groups.modules import KINDS, class_names, plain_name
from optimzoo.groups.norms import is_norm
from optimzoo.groups.patterns import name_pattern, names_any, paths
from optimzoo.groups.roles import NAMES as ROLE_NAMES
from optimzoo.groups.roles import Role, roles_of
from optimzoo.optimizers.described import DescribedOptimizer
from optimzoo.optimizers.needs import check_settings
from optimzoo.optimizers.param_groups import CLIP, NAMES, Group
from optimzoo.values import is_number, number, one_of, whole_number, without_arrays

OTHERS: Mapping[str, Any] = types.MappingProxyType({})
"""What stands for a rule that is for another part of the optimizer, so that the others keep their numbers."""
MULTIPLIERS = {"lr_mult": "lr", "decay_mult": "weight_decay"}
"""The keys that multiply, and what."""


class Place(NamedTuple):
    """A parameter and where it is in its model.

    Args:
        name: Its name in the model.
        parameter: The parameter.
        modules: The modules it is in, from the outermost known down to the one that holds it.
        in_dcn: Whether what holds that module is a deformable convolution.
        role: What it is there for, where that was asked.
    """

    name: str
    parameter: Tensor
    modules: Sequence[nn.Module]
    in_dcn: bool = False
    role: Role = Role("")

    @property
    def own_name(self) -> str:
        """Its name in the module that holds it; of a parametrization, that of the tensor that it makes."""
        parts = self.name.rsplit(".", 3)
        return parts[-2] if len(parts) > 2 and parts[-3] == "parametrizations" else parts[-1]


@dataclass(frozen=True)
class Row:
    """A rule that was read.

    Args:
        label: Its place in ``paramwise_cfg``, by which it is told of.
        holds: Which parameters it holds for.
        multiplies: The settings that it multiplies, and by what.
        sets: The settings that it gives.
        name: Of a custom key, the part of parameters' names.
        conditions: What has to hold, one by one, and what the config says of each.
    """

    label: str
    holds: Callable[[Place], bool]
    multiplies: Mapping[str, float] = field(default_factory=dict)
    sets: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    conditions: Mapping[str, tuple[Any, Callable[[Place], bool]]] = field(default_factory=dict)


def settled(own: Mapping[str, Any], rows: Iterable[Row], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a group after ``rows``: all that they give, the last last, then multiplied by all.

    Args:
        own: The settings of the group before.
        rows: The rows.
        settings: The optimizer's hyperparameters, which are multiplied where the group does not say otherwise.
    """
    rows, result = list(rows), dict(own)
    for row in rows:
        result.update(row.sets)
    for row in rows:
        for setting, factor in row.multiplies.items():
            result[setting] = result.get(setting, settings[setting]) * factor
    return result


def multiplier(optimizer: DescribedOptimizer, setting: str, value: Any, path: str) -> float:
    """Return the factor ``value`` if ``setting`` can be multiplied by it.

    Raises:
        ConfigError: It is no number from 0 on, or the optimizer's config does not say what it multiplies.
    """
    if not is_number(value):
        raise ConfigError(f"a number is wanted, got {shown(value)}", path)
    base = optimizer.settings.get(setting)
    if base is None or (base == 0 and setting not in optimizer.given):
        what = f"it multiplies {setting}, which the optimizer's config does not set: set optimizer.{setting}"
        raise ConfigError(what, path)
    if not 0 <= value < math.inf:
        raise ConfigError(f"a number of at least 0 is wanted, and a finite one, got {shown(value)}", path)
    factor: float = value
    return factor


def _match(pattern: Any, path: str, but: Collection[str]) -> Callable[[Place], bool]:
    expression = name_pattern(pattern, path)
    return lambda place: names_any(expression, place.name)


def _module(kind: Any, path: str, but: Collection[str] = ()) -> Callable[[Place], bool]:
    if not isinstance(kind, str):
        raise ConfigError(f"a kind of module ({', '.join(KINDS)}) or a class name is wanted, got {shown(kind)}", path)
    is_kind = KINDS.get(kind, lambda module: kind in class_names(module))
    if kind == "norm":
        is_kind = partial(is_norm, but=but)
    return lambda place: any(map(is_kind, place.modules))


def _ndim(dimensions: Any, path: str, but: Collection[str]) -> Callable[[Place], bool]:
    wanted = whole_number(dimensions, path, 0)
    return lambda place: place.parameter.ndim == wanted


def _role(role: Any, path: str, but: Collection[str]) -> Callable[[Place], bool]:
    wanted = [one_of(name, ROLE_NAMES, path) for name in (role if isinstance(role, (list, tuple)) else [role])]
    return lambda place: any(map(place.role.is_called, wanted))


def _numel(
    compare: Callable[[int, int], bool], elements: Any, path: str, but: Collection[str]
) -> Callable[[Place], bool]:
    bound = whole_number(elements, path, 0)
    return lambda place: compare(place.parameter.numel(), bound)


CONDITIONS: dict[str, Callable[[Any, str, Collection[str]], Callable[[Place], bool]]] = {
    "match": _match,
    "module": _module,
    "ndim": _ndim,
    "role": _role,
    "min_numel": partial(_numel, operator.ge),
    "max_numel": partial(_numel, operator.le),
}
"""What a rule, a part or a member may ask of a parameter: that all of it holds."""
Conditions = dict[str, tuple[Any, Callable[[Place], bool]]]
"""Conditions by their keys, and what the config says of each."""


def read_conditions(given: Mapping[str, Any], path: str, but: Collection[str] = ()) -> Conditions:
    """Return what is asked under the keys of ``CONDITIONS``; classes called as in ``but`` are no norms."""
    asked = {key: given[key] for key in given if key in CONDITIONS}
    with Problems() as problems:
        return {k: (v, problems.catch(CONDITIONS[k], v, join_path(path, k), but)) for k, v in asked.items()}


def all_hold(conditions: Conditions) -> Callable[[Place], bool]:
    """Return whether all conditions hold of a parameter."""
    tests = [holds for _, holds in conditions.values()]
    return lambda place: all(holds(place) for holds in tests)


def read_rule(rule: Any, label: str, optimizer: DescribedOptimizer, but: Collection[str] = ()) -> Row:
    """Return what one of ``paramwise_cfg.rules`` says; classes called as in ``but`` are no norms.

    Raises:
        ConfigError: It is wrong; one error lists all that is.
    """
    path = f"paramwise_cfg.{label}"
    if not isinstance(rule, Mapping):
        raise ConfigError(f"a dict such as {{'match': 'head.*', 'lr_mult': 10}} is wanted, got {shown(rule)}", path)
    multiplies: dict[str, float] = {}
    sets: dict[str, Any] = {}
    with Problems() as problems:
        conditions = problems.catch(read_conditions, rule, path, but)
        for key, value in rule.items():
            at = f"{path}.{key}"
            if key in MULTIPLIERS:
                setting = MULTIPLIERS[key]
                multiplies[setting] = problems.catch(multiplier, optimizer, setting, value, at)
            elif key == "name":
                sets[key] = problems.catch(_title, value, at)
            elif key == "clip" and key not in (*optimizer.settings, *optimizer.group_keys):
                sets[CLIP] = label, problems.catch(number, value, at, 0)
            elif key not in CONDITIONS:
                sets[key] = problems.catch(argument, optimizer, key, value, path)
        if CONDITIONS.keys().isdisjoint(rule):
            what = f"it says nothing of which parameters: it needs {' or '.join(CONDITIONS)}"
            problems.add(ConfigError(what, path))
        if CONDITIONS.keys() >= rule.keys():
            what = "it sets nothing: it needs lr_mult, decay_mult, clip or an argument of the optimizer"
            problems.add(ConfigError(what, path))
    return Row(label, all_hold(conditions), multiplies, sets, conditions=conditions)


def _title(name: Any, path: str) -> str:
    if not isinstance(name, str) or not name:
        raise ConfigError(f"what the group is to be called is wanted, got {shown(name)}", path)
    return name


def argument(optimizer: DescribedOptimizer, key: str, value: Any, path: str) -> Any:
    """Return the value of an argument of the optimizer, or of what only its groups have.

    Raises:
        ConfigError: The optimizer has no such argument, or it takes no such value.
    """
    value = without_arrays(value)
    for inner in optimizer.inners:  # whose groups they are too
        if key in inner.group_keys or key in calls.parameters(inner.cls).keys() - {inner.first_argument}:
            return argument(inner, key, value, path)
    if key in optimizer.group_keys:
        check_settings(optimizer.cls, {key: value}, path)
    else:
        arguments = calls.parameters(optimizer.cls)
        hidden = tuple(name for name in arguments if name not in optimizer.settings)
        required = tuple(name for name, argument in arguments.items() if argument.default is argument.empty)
        hint = did_you_mean(near(key, (*CONDITIONS, *MULTIPLIERS, *optimizer.settings, *optimizer.group_keys)))
        of_whole = key in hidden or key in (*optimizer.inner, "optimizer_type")
        if of_whole or (key not in arguments and (hint or optimizer.inners)):
            what = f"neither a rule nor {optimizer.cls.__name__} has a key {key!r}.{hint}"
            raise ConfigError(what, f"{path}.{key}")
        calls.read(optimizer.cls, {key: value}, path, hidden + required, ranged=True)
        if key != "nesterov":  # which is right or wrong together with the momentum
            check_settings(optimizer.cls, {key: value}, path)
    return value


def places_of(model: nn.Module, with_roles: bool, head: Iterable[Tensor] | None = None) -> list[Place]:
    """Return where each parameter of a model is, by its first name."""
    modules = dict(model.named_modules(remove_duplicate=False))
    roles = roles_of(model, head) if with_roles else {}
    return [
        Place(
            plain_name(name),
            parameter,
            [model, *(modules[path] for path in paths(name)[:-1])],
            role=roles.get(id(parameter), Role("")),
        )
        for name, parameter in model.named_parameters()
    ]


def apply_rules(
    rules: Sequence[Row], groups: Iterable[Group], model: nn.Module, settings: Mapping[str, Any]
) -> tuple[list[Group], dict[int, list[str]]]:
    """Give each parameter the settings of the rules that it meets, over what the groups say.

    Args:
        rules: The rules.
        groups: Named groups; left as they are.
        model: The model that the names come from.
        settings: The optimizer's hyperparameters, for groups that do not say otherwise.

    Returns:
        One group for each parameter, and the labels of the rules that each parameter meets, by the parameter's id.

    Raises:
        ConfigError: A rule matches nothing.
    """
    places = places_of(model, any("role" in row.conditions for row in rules))
    met: dict[int, list[Row]] = {}
    problems = []
    for row in rules:
        matching = [place for place in places if row.holds(place)]
        for place in matching:
            met.setdefault(id(place.parameter), []).append(row)
        if not matching:
            problems.append(_unmatched(row, places, model))
    calls.raise_all(problems)
    split = [
        {**settled(group, met.get(id(parameter), ()), settings), "params": [parameter], NAMES: [name]}
        for group in groups
        for name, parameter in zip(group[NAMES], group["params"])
    ]
    return split, {key: [row.label for row in rows] for key, rows in met.items()}


def _unmatched(row: Row, places: Sequence[Place], model: nn.Module) -> ConfigError:
    """Return the error for a rule that no parameter meets, about the first condition that fails even alone."""
    path = f"paramwise_cfg.{row.label}"
    for condition, (wanted, holds) in row.conditions.items():
        if any(map(holds, places)):
            continue
        path = f"{path}.{condition}"
        known: dict[str, str] = {}
        if condition == "match":
            for name, parameter in model.named_parameters(remove_duplicate=False):
                if holds(Place(name, parameter, ())):
                    first = next(place.name for place in places if place.parameter is parameter)
                    what = f"{name!r} is shared, and its settings are those of its first name, {first!r}"
                    return ConfigError(what, path)
            every = dict.fromkeys(name for place in places for name in paths(place.name))
            known = {last: f"*.{glob.escape(last)}" for last in (name.rpartition(".")[2] for name in every)}
            known |= {name: glob.escape(name) for name in every}
        elif condition == "module":
            kinds = (*KINDS, *(type(module).__name__ for place in places for module in place.modules))
            known = {kind: kind for kind in dict.fromkeys(kinds) if any(map(_module(kind, path), places))}
        near_ones = near(str(wanted).removeprefix("re:").replace("*", "").strip("."), known)
        hint = did_you_mean(list(dict.fromkeys(known[word] for word in near_ones)))
        return ConfigError(f"no parameter of the model meets {condition}={wanted!r}.{hint}", path)
    return ConfigError("no parameter meets all of its conditions", path)
