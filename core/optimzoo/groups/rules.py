"""Composable rules: settings for the parameters that meet a rule's conditions, all matching rules together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from optimzoo import calls
from optimzoo.errors import ConfigError, did_you_mean, near
from optimzoo.groups.modules import KINDS, class_names
from optimzoo.groups.patterns import name_pattern, names_any, paths
from optimzoo.optimizers.described import DescribedOptimizer
from optimzoo.optimizers.param_groups import NAMES, Group
from optimzoo.values import whole_number

MULTIPLIERS = {"lr_mult": "lr", "decay_mult": "weight_decay"}


@dataclass(frozen=True)
class Place:
    """A parameter and where it is in its model.

    Args:
        name: Its name in the model.
        parameter: The parameter.
        modules: The modules it is in, from the model down to the one that holds it.
    """

    name: str
    parameter: Tensor
    modules: Sequence[nn.Module]


def _match(pattern: Any, path: str) -> Callable[[Place], bool]:
    expression = name_pattern(pattern, path)
    return lambda place: names_any(expression, place.name)


def _module(kind: Any, path: str) -> Callable[[Place], bool]:
    if not isinstance(kind, str):
        raise ConfigError(f"a kind of module ({', '.join(KINDS)}) or a class name is wanted, got {kind!r}", path)
    is_kind = KINDS.get(kind, lambda module: kind in class_names(module))
    return lambda place: any(map(is_kind, place.modules))


def _ndim(dimensions: Any, path: str) -> Callable[[Place], bool]:
    wanted = whole_number(dimensions, path, 0)
    return lambda place: place.parameter.ndim == wanted


CONDITIONS: dict[str, Callable[[Any, str], Callable[[Place], bool]]] = {
    "match": _match,
    "module": _module,
    "ndim": _ndim,
}


def rules_problems(rules: Any, optimizer: DescribedOptimizer) -> Iterator[ConfigError]:
    """Yield what is wrong with ``paramwise_cfg.rules``, as far as it can be told without a model."""
    if not isinstance(rules, (list, tuple)):
        yield ConfigError(f"a list of dicts is wanted, got {rules!r}", "paramwise_cfg.rules")
        return
    for index, rule in enumerate(rules):
        path = f"paramwise_cfg.rules[{index}]"
        if not isinstance(rule, Mapping):
            yield ConfigError(f"a dict such as {{'match': 'head.*', 'lr_mult': 10}} is wanted, got {rule!r}", path)
            continue
        conditions = [key for key in CONDITIONS if key in rule]
        for key in conditions:
            try:
                CONDITIONS[key](rule[key], f"{path}.{key}")
            except ConfigError as error:
                yield error
        if not conditions:
            yield ConfigError(f"it says nothing of which parameters: it needs {' or '.join(CONDITIONS)}", path)
        if len(conditions) == len(rule):
            yield ConfigError("it sets nothing: it needs lr_mult, decay_mult or an argument of the optimizer", path)
        for key in (k for k in MULTIPLIERS if k in rule):
            yield from optimizer.multiplier_problems(key, rule[key], path)
        yield from _own_problems(_own(rule), optimizer, path)


def _own(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in rule.items() if key not in CONDITIONS and key not in MULTIPLIERS}


def _own_problems(own: Mapping[str, Any], optimizer: DescribedOptimizer, path: str) -> Iterator[ConfigError]:
    arguments = calls.parameters(optimizer.cls)
    hidden = tuple(name for name in arguments if name not in optimizer.settings)
    for key in own:
        hint = did_you_mean(near(key, (*CONDITIONS, *MULTIPLIERS, *optimizer.settings)))
        if key in hidden or (key not in arguments and hint):
            yield ConfigError(f"neither a rule nor {optimizer.cls.__name__} has a key {key!r}.{hint}", f"{path}.{key}")
        else:
            yield from calls.problems(optimizer.cls, {key: own[key]}, path, given=hidden)


def apply_rules(
    rules: Sequence[Mapping[str, Any]], groups: Iterable[Group], model: nn.Module, settings: Mapping[str, Any]
) -> tuple[list[Group], dict[int, list[str]]]:
    """Give each parameter the settings of the rules that it meets.

    Keys are set in the order of the rules, over what the groups say; the multipliers of all rules come on top.

    Args:
        rules: What ``rules_problems`` finds nothing wrong with.
        groups: Named groups; left as they are.
        model: The model that the names come from.
        settings: The optimizer's hyperparameters, for groups that do not say otherwise.

    Returns:
        One group for each parameter, and the rules that each parameter meets, by the parameter's id.

    Raises:
        ConfigError: A rule matches nothing.
    """
    met = _matches(rules, model)
    split: list[Group] = []
    for group in groups:
        for name, parameter in zip(group[NAMES], group["params"]):
            own = {**group, "params": [parameter], NAMES: [name]}
            matching = [rules[index] for index in met.get(id(parameter), ())]
            for rule in matching:
                own.update(_own(rule))
            for rule in matching:
                for multiplier, target in MULTIPLIERS.items():
                    if multiplier in rule:
                        own[target] = own.get(target, settings[target]) * rule[multiplier]
            split.append(own)
    return split, {key: [f"rules[{index}]" for index in indices] for key, indices in met.items()}


def _matches(rules: Sequence[Mapping[str, Any]], model: nn.Module) -> dict[int, list[int]]:
    """Return the indices of the rules that each parameter meets, by the parameter's id."""
    modules = dict(model.named_modules(remove_duplicate=False))
    places = [
        Place(name, parameter, [model, *(modules[path] for path in paths(name)[:-1])])
        for name, parameter in model.named_parameters()
    ]
    met: dict[int, list[int]] = {}
    problems = []
    for index, rule in enumerate(rules):
        path = f"paramwise_cfg.rules[{index}]"
        conditions = {key: CONDITIONS[key](rule[key], f"{path}.{key}") for key in CONDITIONS if key in rule}
        matching = [place for place in places if all(holds(place) for holds in conditions.values())]
        for place in matching:
            met.setdefault(id(place.parameter), []).append(index)
        if not matching:
            alone = next((key for key, holds in conditions.items() if not any(map(holds, places))), None)
            problems.append(_unmatched(rule, alone, path, places, model))
    calls.raise_all(problems)
    return met


def _unmatched(
    rule: Mapping[str, Any], condition: str | None, path: str, places: Sequence[Place], model: nn.Module
) -> ConfigError:
    """Return the error for a rule that no parameter meets; ``condition`` is the one that fails even alone."""
    if condition is None:
        return ConfigError("no parameter meets all of its conditions", path)
    known: set[str] = set()
    if condition == "match":
        expression = name_pattern(rule["match"])
        for name, parameter in model.named_parameters(remove_duplicate=False):
            first = next(place.name for place in places if place.parameter is parameter)
            if names_any(expression, name):
                message = f"{name!r} is shared, and its settings are those of its first name, {first!r}"
                return ConfigError(message, f"{path}.match")
        known = {part for place in places for name in paths(place.name) for part in (name, name.rpartition(".")[2])}
    elif condition == "module":
        known = {*KINDS, *(type(module).__name__ for place in places for module in place.modules)}
    wanted = str(rule[condition])
    hint = did_you_mean(near(wanted.removeprefix("re:").replace("*", "").strip("."), known))
    return ConfigError(f"no parameter of the model meets {condition}={rule[condition]!r}.{hint}", f"{path}.{condition}")
