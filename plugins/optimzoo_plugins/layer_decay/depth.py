"""How deep in its model a parameter is: the input at 0, the layers from 1 on, the head above them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from optimzoo.errors import ConfigError

GetDepth = Callable[[str], tuple[int, int]]
"""From a parameter's name to its depth and the number of depths, as ``get_layer_depth`` of mmpretrain's models."""

LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks?|stages?|h|resblocks|layer[1-9])\.\w*?\d+(?=\.)")
"""A member of a stack of layers, by the names that model libraries give to stacks."""
BETWEEN = re.compile(r"(?:^|\.)downsample_layers\.([1-9]\d*)(?=\.)")
"""A member of the list that ConvNeXt has of what comes before each stage; the first is the input."""
HEAD = re.compile(r"head|classifier|logit", re.I)


def depth_function(model: nn.Module, num_layers: int | None = None) -> GetDepth:
    """Return the function that tells the depths of the parameters of ``model``.

    Args:
        model: With a method ``get_layer_depth``, of its own or of its ``backbone``, that is the function. Else the
            layers are found by their names.
        num_layers: The number of depths between the input and the head, over which the layers that are found by their
            names are spread evenly; as many as there are layers by default.

    Raises:
        ConfigError: The layers are not found, or there are several stacks of them.
    """
    backbone = getattr(model, "backbone", None)
    if num_layers is None and hasattr(model, "get_layer_depth"):
        return model.get_layer_depth  # type: ignore[return-value]
    if num_layers is None and hasattr(backbone, "get_layer_depth"):
        return lambda name: backbone.get_layer_depth(name, "backbone.")  # type: ignore[union-attr]
    prefix = "backbone." if isinstance(backbone, nn.Module) else ""
    return _by_names(model, prefix, num_layers).__getitem__


def _by_names(model: nn.Module, prefix: str, num_layers: int | None) -> dict[str, tuple[int, int]]:
    """Number the layers in the order of the model; what is registered before them is the input, the rest the head."""
    modules = dict(model.named_modules(remove_duplicate=False))
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    layers: dict[str, tuple[str, str]] = {}  # of each parameter in a layer, the layer, and the member of the stack
    for name in (n for n in names if n.startswith(prefix)):
        found = [name[: match.end()] for match in LAYER.finditer(name)]
        if found:
            layers[name] = _innermost(name, found, modules), found[0]
    stages = {member for layer, member in layers.values() if layer != member}
    layers = {name: (layer, member) for name, (layer, member) in layers.items() if layer not in stages}
    homes = sorted({".".join(member.split(".")[:-2]) for _, member in layers.values()})
    if len(homes) != 1:
        told = f"it has layers in {' and in '.join(map(repr, homes))}" if homes else "no list of layers is found in it"
        raise ConfigError(
            f"the depths of {type(model).__name__} are not known: {told}. Give it a method get_layer_depth(name) that "
            "returns a parameter's depth and the number of depths, or set layer_depth to such a function"
        )
    numbers = {layer: number for number, layer in enumerate(dict.fromkeys(layer for layer, _ in layers.values()), 1)}
    between = num_layers or len(numbers)
    depth_of = {layer: math.ceil(number * between / len(numbers)) for layer, number in numbers.items()}
    last = {_number(member): depth_of[layer] for layer, member in layers.values() if layer != member}
    top, depths, current = between + 1, {}, 0
    for name in names:
        if name in layers:
            current = depth_of[layers[name][0]]
        between_stages = BETWEEN.search(name)
        embeds = isinstance(modules[name.rpartition(".")[0]], nn.Embedding)
        if between_stages and int(between_stages[1]) - 1 in last:
            depth = last[int(between_stages[1]) - 1]
        elif name in layers or any(name.startswith(f"{stage}.") for stage in stages):
            depth = current  # what joins two stages goes with the layer before it
        elif name.startswith(prefix) and (current == 0 or embeds) and not HEAD.search(name):
            depth = 0
        else:
            depth = top
        depths[name] = depth, top + 1
    return depths


def _innermost(name: str, found: list[str], modules: Mapping[str, nn.Module]) -> str:
    """Return the layer that a parameter is in: a member of a stack, or of the stack that this member is or holds."""
    if len(found) > 1 and _is_stack(modules[found[1].rpartition(".")[0]]):
        return found[1]
    member = modules[found[0]]
    if isinstance(member, (nn.Sequential, nn.ModuleList)) and _is_stack(member):
        return f"{found[0]}.{name[len(found[0]) + 1 :].partition('.')[0]}"
    return found[0]


def _is_stack(module: nn.Module) -> bool:
    """Whether ``module`` holds layers of one kind, as a stage does, and not the different parts of one layer."""
    members = list(module.children())
    if len({type(member) for member in members}) != 1 or not any(True for _ in members[0].children()):
        return False
    names = [{name for name, _ in member.named_parameters()} for member in members]
    return min(names, key=len) <= set.intersection(*names)  # the first of a stage may have a shortcut more


def _number(member: str) -> int:
    return int(re.findall(r"\d+$", member)[0])


def checked(depth: Any, name: str, path: str) -> tuple[int, int]:
    """Return what a depth function returned, if it is a depth and a number of depths above it."""
    if isinstance(depth, (tuple, list)) and len(depth) == 2 and all(isinstance(number, int) for number in depth):
        at, count = depth
        if 0 <= at < count:
            return at, count
    raise ConfigError(f"for {name!r}, a depth and the number of depths above it are wanted, got {depth!r}", path)
