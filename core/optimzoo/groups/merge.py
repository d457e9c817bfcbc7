"""Parameter groups of a model: naming their parameters, and merging those with equal hyperparameters."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from optimzoo.errors import ConfigError
from optimzoo.groups.modules import plain_name
from optimzoo.optimizers.param_groups import NAMES, Group


def aliases_of(model: nn.Module) -> dict[int, list[str]]:
    """Return every name of each parameter, by the parameter's id; a shared parameter has several."""
    aliases: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(parameter), []).append(plain_name(name))
    return aliases


def name_groups(groups: Iterable[Group], aliases: Mapping[int, list[str]]) -> list[Group]:
    """Return copies of the groups with the names of their parameters.

    Raises:
        ConfigError: A parameter is in two places.
    """
    named, seen = [], set()
    for group in groups:
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        names = []
        for parameter in params:
            known = aliases.get(id(parameter), ["(not a parameter of the model)"])
            if id(parameter) in seen:
                raise ConfigError(
                    f"{known[0]!r} is shared: it is also {', '.join(map(repr, known[1:])) or 'listed again'}. Set "
                    "bypass_duplicate=True to train it once, with the settings of the first name",
                    "paramwise_cfg",
                )
            seen.add(id(parameter))
            names.append(known[0])
        named.append({**group, "params": params, NAMES: names})
    return named


def merge_groups(groups: Iterable[Group], defaults: Mapping[str, Any]) -> list[Group]:
    """Merge groups with equal hyperparameters, in first-seen order.

    A fused or foreach kernel works on one group at a time, so one group per parameter leaves it nothing to fuse.

    Args:
        groups: Named groups.
        defaults: Hyperparameters that a group has where it does not say otherwise.
    """
    merged: dict[Hashable, Group] = {}
    for group in (g for g in groups if g["params"]):
        own = {k: v for k, v in group.items() if k not in ("params", NAMES)}
        own = {k: v for k, v in own.items() if k not in defaults or _frozen(defaults[k]) != _frozen(v)}
        key = tuple(sorted((k, _frozen(v)) for k, v in own.items()))
        into = merged.setdefault(key, {"params": [], NAMES: [], **own})
        into["params"].extend(group["params"])
        into[NAMES].extend(group[NAMES])
    return list(merged.values())


def _frozen(value: Any) -> Hashable:
    """Return a hashable stand-in: equal values have equal ones, and True is not 1."""
    if isinstance(value, Tensor):
        return ("tensor", value.dtype, value.device, _frozen(value.tolist()))
    if isinstance(value, (list, tuple)):
        return ("sequence", *map(_frozen, value))
    if isinstance(value, Mapping):
        return ("mapping", *sorted((str(k), _frozen(v)) for k, v in value.items()))
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return (type(value).__name__, value)
    if isinstance(value, (int, float)):
        return ("number", value)
    return ("object", id(value))
