"""Parameter groups of a model: naming their parameters, and merging those with equal hyperparameters."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from optimzoo.errors import ConfigError
from optimzoo.groups.modules import AROUND
from optimzoo.optimizers.param_groups import NAMES, Group


class Known(NamedTuple):
    """A parameter of a model, and its names there; a shared one has several."""

    parameter: nn.Parameter
    names: list[str]


def known_parameters(model: nn.Module) -> dict[int, Known]:
    """Return the parameters of ``model`` by their ids, in its order.

    Raises:
        ConfigError: One has no shape yet, so that nobody can tell which rules hold for it.
    """
    known: dict[int, Known] = {}

    def walk(module: nn.Module, prefix: str) -> None:
        for name, parameter in module._parameters.items():
            if parameter is not None:
                key = id(parameter)
                if key not in known:
                    known[key] = Known(parameter, [])
                known[key].names.append(prefix + name)
        for name, child in module._modules.items():
            if child is not None:
                walk(child, prefix if name in AROUND else f"{prefix}{name}.")

    walk(model, "")
    lazy = [names[0] for parameter, names in known.values() if is_lazy(parameter)]
    if lazy:
        named = ", ".join(lazy[:3]) + (" and others" if len(lazy) > 3 else "")
        raise ConfigError(f"{len(lazy)} parameters of the model have no shape yet ({named}): call it on a batch first")
    return known


def name_groups(groups: Iterable[Group], known: Mapping[int, Known]) -> list[Group]:
    """Return copies of the groups with the names of their parameters.

    Raises:
        ConfigError: A parameter is in two places.
    """
    named: list[Group] = []
    seen: set[int] = set()
    for group in groups:
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        names = []
        for key in map(id, params):
            first, *others = known[key].names if key in known else ["(not a parameter of the model)"]
            if key in seen:
                raise ConfigError(
                    f"{first!r} is shared: it is also {', '.join(map(repr, others)) or 'listed again'}. Set "
                    "bypass_duplicate=True to train it once, with the settings of the first name",
                    "paramwise_cfg",
                )
            seen.add(key)
            names.append(first)
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
    seen: dict[Hashable, Group] = {}
    for group in (g for g in groups if g["params"]):
        items = [(key, type(value), value) for key, value in group.items() if key not in ("params", NAMES)]
        quick = tuple(items)
        try:  # most are as one before
            into = seen.get(quick)
        except TypeError:  # a list cannot be asked for
            quick, into = (), None
        if into is None:
            own = {k: v for k, _, v in items if k not in defaults or _frozen(defaults[k]) != _frozen(v)}
            frozen = tuple(sorted((k, _frozen(v)) for k, v in own.items()))
            into = merged.setdefault(frozen, {"params": [], NAMES: [], **own})
            if quick:
                seen[quick] = into
        into["params"] += group["params"]
        into[NAMES] += group[NAMES]
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
