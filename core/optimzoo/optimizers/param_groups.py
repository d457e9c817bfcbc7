"""Parameter groups as torch's optimizers take them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from optimzoo.errors import ConfigError, shown

Group = dict[str, Any]
NAMES = "param_names"
"""torch's key for the names of a group's parameters, in their order."""
CLIP = "clip_rule"
"""The key for the rule that clips the gradients of a group, and the norm it clips those of all its groups to."""


def as_groups(params: Iterable[Any]) -> list[Group]:
    """Return parameters, ``(name, parameter)`` pairs, or groups of either, as a list of groups.

    Raises:
        ConfigError: It is none of these, or a mixture.
    """
    if isinstance(params, Tensor):
        raise ConfigError("parameters come in a list, got one tensor")
    items = _in_order(params)
    if not any(isinstance(item, Mapping) for item in items):
        return [_as_group({"params": items})]
    if not all(isinstance(item, Mapping) for item in items):
        raise ConfigError("parameters and groups of parameters are mixed in one list")
    return [_as_group(item) for item in items]


def _as_group(group: Mapping[str, Any]) -> Group:
    if "params" not in group:
        raise ConfigError(
            f"a group has its parameters under the key 'params', got {', '.join(map(str, group)) or '{}'}"
        )
    params = group["params"]
    items = [params] if isinstance(params, Tensor) else _in_order(params)
    named = [item for item in items if isinstance(item, tuple) and len(item) == 2]
    if named and len(named) < len(items):
        raise ConfigError("some parameters of a group have names, and others have not")
    tensors = [tensor for _, tensor in named] if named else items
    for wrong in (item for item in tensors if not isinstance(item, Tensor)):
        raise ConfigError(f"a parameter is a tensor, got {shown(wrong)}")
    return {**group, "params": tensors, **({NAMES: [name for name, _ in named]} if named else {})}


def _in_order(params: Iterable[Any]) -> list[Any]:
    if isinstance(params, (set, frozenset)):
        raise ConfigError(
            "parameters come in a list, got a set: its order is another in each run, and a saved state goes by it"
        )
    return list(params)


def copied(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy in which no tensor is that of another dict."""
    return {key: value.clone() if isinstance(value, Tensor) else value for key, value in settings.items()}
