"""How deep in its model a parameter is: the input at 0, the layers from 1 on, the head above them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from optimzoo import calls
from optimzoo.errors import ConfigError
from optimzoo.groups.modules import plain_name

GetDepth = Callable[[str], tuple[int, int]]
"""From a parameter's name to its depth and the number of depths, as ``get_layer_depth`` of mmpretrain's models."""

LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks?|stages?|h|resblocks|layer[1-9])\.\w*?\d+(?=\.)")
"""A member of a stack of layers, by the names that model libraries give to stacks."""
BETWEEN = re.compile(r"(?:^|\.)downsample_layers\.([1-9]\d*)(?=\.)")
"""A member of the list that ConvNeXt has of what comes before each stage; the first is the input."""
WITH_THE_ONE_BEFORE = 99999
"""What timm's matchers call the order of layers that go with the group before."""
HEAD = re.compile(r"head|classifier|logit", re.I)


def depth_function(model: nn.Module, num_layers: int | None = None) -> GetDepth:
    """Return the function that tells the depths of the parameters of ``model``.

    Args:
        model: With a method ``get_layer_depth``, of its own or of its ``backbone``, that is the function; with
            ``group_matcher``, as models of timm have, the depths are timm's. Else the layers are found by their names.
        num_layers: The number of depths between the input and the head, over which the layers that are found by their
            names are spread evenly; as many as there are layers by default.

    Raises:
        ConfigError: The layers are not found, or there are several stacks of them.
    """
    backbone: Any = getattr(model, "backbone", None)
    parts: tuple[tuple[str, Any], ...] = (("", model), ("backbone.", backbone))
    for prefix, part in parts if num_layers is None else ():
        with calls.placed(f"group_matcher of {type(part).__name__}", ""):
            matcher = part.group_matcher(coarse=False) if hasattr(part, "group_matcher") else None
            if matcher is not None and not hasattr(part, "get_layer_depth"):
                return _by_matcher(model, prefix, matcher).__getitem__
    if num_layers is None and hasattr(model, "get_layer_depth"):
        return model.get_layer_depth  # type: ignore[return-value]
    if num_layers is None and hasattr(backbone, "get_layer_depth"):
        return lambda name: backbone.get_layer_depth(name, "backbone.")
    prefix = "backbone." if isinstance(backbone, nn.Module) else ""
    return _by_names(model, prefix, num_layers).__getitem__


def _by_matcher(model: nn.Module, prefix: str, matcher: Any) -> dict[str, tuple[int, int]]:
    """Number the groups of layers that a matcher of timm makes, in their order; what it does not match is the last.

    A matcher is a function of a name, or a dict with a regular expression, or a list of such with an order, for each
    kind of layer. The order ``(99999,)`` is that of the group before.
    """
    kinds = []
    for number, (kind, patterns) in enumerate(matcher.items() if isinstance(matcher, Mapping) else ()):
        try:
            for expression, order in [(patterns, ())] if isinstance(patterns, str) else patterns or ():
                kinds.append((re.compile(expression), (number,), order or ()))
        except (re.error, TypeError, ValueError) as error:
            wanted = "a regular expression, or a list of (expression, order), is wanted from group_matcher"
            raise ConfigError(f"{wanted} under {kind!r}, got {patterns!r}: {error}") from error

    def place(name: str) -> tuple[float, ...]:
        if not isinstance(matcher, Mapping):
            found = matcher(name)
            return tuple(found) if isinstance(found, (tuple, list)) else (found,)
        for expression, number, order in kinds:
            match = expression.match(name)
            if match:
                return tuple(float(part) for part in (*number, *match.groups(), *order) if part is not None)
        return (math.inf,)

    names = [plain_name(name) for name, _ in model.named_parameters(remove_duplicate=False)]
    places = {name: place(name[len(prefix) :]) for name in names if name.startswith(prefix)}
    depth_of: dict[tuple[float, ...], int] = {}
    for each in sorted(set(places.values())):
        depth_of[each] = max(depth_of.values(), default=-1) + (not depth_of or each[-1] != WITH_THE_ONE_BEFORE)
    count = max(depth_of.values()) + 1
    return {name: (depth_of[places[name]] if name in places else count - 1, count) for name in names}


def undecayed(model: nn.Module) -> Callable[[str], bool]:
    """Return whether a parameter is one that the model, or its ``backbone``, wants without weight decay, as in timm.

    Args:
        model: With methods ``no_weight_decay``, the names of such parameters, and ``no_weight_decay_keywords``, parts
            of their names, or without.
    """
    names: set[str] = set()
    parts: set[str] = set()
    each: tuple[tuple[str, Any], ...] = (("", model), ("backbone.", getattr(model, "backbone", None)))
    for prefix, part in each:
        names |= {prefix + name for name in (part.no_weight_decay() if hasattr(part, "no_weight_decay") else ()) or ()}
        parts |= set((part.no_weight_decay_keywords() if hasattr(part, "no_weight_decay_keywords") else ()) or ())
    return lambda name: name in names or any(part in name for part in parts)


def _by_names(model: nn.Module, prefix: str, num_layers: int | None) -> dict[str, tuple[int, int]]:
    """Number the layers in the order of the model; what is registered before them is the input, the rest the head."""
    modules = {plain_name(name): module for name, module in model.named_modules(remove_duplicate=False)}
    params = {plain_name(name): parameter for name, parameter in model.named_parameters(remove_duplicate=False)}
    names = list(params)
    layers: dict[str, tuple[str, str]] = {}  # of each parameter in a layer, the layer, and the member of the stack
    for name in (n for n in names if n.startswith(prefix)):
        found = [name[: match.end()] for match in LAYER.finditer(name)]
        if found:
            layers[name] = _innermost(name, found, modules), found[0]
    stages = {member for layer, member in layers.values() if layer != member}
    layers = {name: (layer, member) for name, (layer, member) in layers.items() if layer not in stages}
    home = {name: ".".join(member.split(".")[:-2]) for name, (_, member) in layers.items()}
    homes = sorted({home[name] for name in layers if params[name].requires_grad} or set(home.values()))
    layers = {name: found for name, found in layers.items() if home[name] in homes}  # not those of a frozen teacher
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
    inner = found[1].rpartition(".")[0] if len(found) > 1 else ""
    if inner and (_is_stack(modules[inner]) or _are_stages(found[0], inner[len(found[0]) :], modules)):
        return found[1]
    member = modules[found[0]]
    is_list = isinstance(member, (nn.Sequential, nn.ModuleList))
    if is_list and (_is_stack(member) or _are_stages(found[0], "", modules)):
        return f"{found[0]}.{name[len(found[0]) + 1 :].partition('.')[0]}"
    return found[0]


def _are_stages(member: str, inside: str, modules: Mapping[str, nn.Module]) -> bool:
    """Whether the members of a stack hold blocks, which may be of several classes, and not the parts of one layer.

    Stages are called so, or have different blocks or numbers of them; the parts of each layer are the same.
    """
    stack = member.rpartition(".")[0]
    lists = [modules.get(f"{stack}.{name}{inside}") for name, _ in modules[stack].named_children()]
    blocks = [list(each.children()) for each in lists if isinstance(each, (nn.Sequential, nn.ModuleList))]
    if inside.count(".") > 1 or any(not _has_parts(block) for each in blocks for block in each):
        return False
    kinds = {tuple(type(block) for block in each) for each in blocks}
    return stack.rpartition(".")[2].startswith("stage") or len(kinds) > 1


def _has_parts(block: nn.Module) -> bool:
    """Whether ``block`` is made of modules, or has no parameters."""
    return any(True for _ in block.children()) or next(block.parameters(), None) is None


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
