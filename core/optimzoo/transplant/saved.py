"""What a saved state says of each parameter, whoever has saved it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from optimzoo import calls
from optimzoo.errors import CheckpointError
from optimzoo.files import read_plain
from optimzoo.groups.modules import plain_name, unwrap
from optimzoo.names.zoo import OPTIMIZERS
from optimzoo.optimizers.parts import PART
from optimzoo.wrappers.state_checks import HELD, LATER, check_layout, listed

PLACES = ("optim_wrapper", "optimizer", "optimizer_states", "optimizer_state_dict", "optimizers")
"""Where a checkpoint keeps it: that of this package, mmengine's and others', Lightning's, torch's documents."""
TORCHS = ("AdamW", "Adam", *HELD)
"""Classes of torch's, in the order in which a state that fits several is taken for one of them."""
NESTED = "__bnb_optimizer_quant_state__"
"""Where bitsandbytes keeps the tensors of an entry in a state dict."""
NOT_DECAYED = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")
"""The names to which the Trainer of transformers gives no weight decay, in lower case."""

Entry = dict[str, Any]


@dataclass(frozen=True)
class Saved:
    """The state of one parameter: the class of the optimizer, the settings of the group, and what is kept."""

    cls: type
    settings: Mapping[str, Any]
    entry: Entry


def read_state(path: Path) -> tuple[dict[str, Any], Any]:
    """Return the content of a file, read with ``weights_only=True``, and the optimizer's state in it.

    Raises:
        CheckpointError: The file cannot be read so, or there is no such state.
    """
    content = read_plain(path, "the optimizer's state")
    place = next((key for key in PLACES if isinstance(content, Mapping) and key in content), None)
    state = content if place is None or "param_groups" in content else content[place]
    if isinstance(state, list) and len(state) == 1:
        state = state[0]
    if not _states(state):
        raise CheckpointError(f"{path} holds no optimizer state: neither 'param_groups' nor one of {listed(PLACES)}")
    return dict(content), state


def saved_parameters(state: Any, model: nn.Module, source: str | None = None) -> dict[str, Saved]:
    """Return what is saved of each parameter, by its name in the model or else in the state.

    Args:
        state: The state of an optimizer, or a dict or list of several.
        model: The model that it was trained with.
        source: The name of the optimizer, if the state does not tell it.

    Raises:
        CheckpointError: Which parameter or which optimizer it is of cannot be told.
    """
    found: dict[str, Saved] = {}
    for each in _states(state):
        check_layout(each)
        names = _names(each, model)
        for group in each["param_groups"]:
            entries = {i: _flat(each["state"][i]) for i in group["params"] if i in each["state"]}
            if not entries:
                continue
            cls = _class_of(each.get("optimizer"), group, list(entries.values()), source)
            settings = {key: value for key, value in group.items() if key not in ("params", "param_names")}
            found.update({names[index]: Saved(cls, settings, entry) for index, entry in entries.items()})
    return found


def _states(state: Any) -> list[Mapping[str, Any]]:
    """Return the states of optimizers in one, or in a dict or list of several."""
    if isinstance(state, Mapping) and "param_groups" in state:
        return [state]
    several = list(state.values()) if isinstance(state, Mapping) else state if isinstance(state, list) else []
    return several if all(isinstance(each, Mapping) and "param_groups" in each for each in several) else []


def _flat(entry: Mapping[str, Any]) -> Entry:
    return {**{key: value for key, value in entry.items() if key != NESTED}, **entry.get(NESTED, {})}


def _names(state: Mapping[str, Any], model: nn.Module) -> dict[int, str]:
    """Return the names of the parameters by their numbers."""
    parameters = {plain_name(name): p for name, p in unwrap(model).named_parameters()}
    groups = state["param_groups"]
    if all(len(group.get("param_names", ())) == len(group["params"]) for group in groups):
        pairs = ((i, plain_name(name)) for group in groups for i, name in zip(group["params"], group["param_names"]))
        named = dict(pairs)
        begin = _common_beginning(list(named.values()), parameters.keys())
        return {index: name.removeprefix(begin) for index, name in named.items()}
    sizes = [len(group["params"]) for group in groups]
    indices = [index for group in groups for index in group["params"]]
    for order in _orders(sizes, parameters):
        if len(order) == len(indices) and all(
            _fits(state["state"].get(index, {}), parameters[name]) for index, name in zip(indices, order)
        ):
            return dict(zip(indices, order))
    raise CheckpointError(
        f"it has no parameter names, and its groups of {listed(sizes)} are not those of the model's {len(parameters)} "
        "parameters in their order, nor those of the Trainer of transformers: load it into the optimizer that it is "
        "of, made by build_optimizer in the same groups, and save the state of that, which has the names"
    )


def _common_beginning(names: Sequence[str], own: Any) -> str:
    """Return what names have before those of the model, such as ``model.`` in a module of Lightning's."""
    ends = [name for name in own if names and names[0].endswith(f".{name}")]
    begins = [names[0].removesuffix(end) for end in ends if names]
    return next((b for b in begins if all(name.removeprefix(b) in own for name in names)), "")


def _orders(sizes: Sequence[int], parameters: Mapping[str, Tensor]) -> Iterator[list[str]]:
    """Yield the orders that parameters without names may have: that of the model, or that of transformers' groups."""
    trained = [name for name, parameter in parameters.items() if parameter.requires_grad]
    if len(sizes) == 1 or set(sizes) == {1}:
        yield from (trained, [*parameters])
    elif len(sizes) == 2:
        apart = [name for name in trained if NOT_DECAYED.search(name.lower())]
        decayed = [name for name in trained if name not in apart]
        if [len(decayed), len(apart)] == list(sizes):
            yield decayed + apart


def _fits(entry: Mapping[str, Any], parameter: Tensor) -> bool:
    """Whether what is kept of a parameter may be of this one, by the shapes."""
    tensors = [v for v in _flat(entry).values() if isinstance(v, Tensor) and v.ndim == parameter.ndim > 0]
    return not tensors or any(tensor.shape == parameter.shape for tensor in tensors)


def _class_of(told: Any, group: Mapping[str, Any], entries: Sequence[Entry], source: str | None) -> type:
    """Return the class that a group of a state is of: as it says, as ``source`` says, or one of torch's that fits."""
    part = str(group.get(PART, ""))
    inside = re.search(rf"[(,] ?{re.escape(part)}=([\w.]+)", told) if isinstance(told, str) and part else None
    kind = inside[1] if inside else told if isinstance(told, str) else ""
    package, _, name = kind.partition(".")
    if source is None and kind:
        for entry in OPTIMIZERS.entries():
            module, _, attribute = entry.target.partition(":") if isinstance(entry.target, str) else ("", "", "")
            if attribute == name and module.partition(".")[0] == package:
                found = OPTIMIZERS.get(OPTIMIZERS.display_name(entry), "the saved state")
                return cast(type, found)
        raise CheckpointError(
            f"it is of {kind}, which has no name here: say which it is, as --from package.module:Class"
        )
    if source is not None:
        found = OPTIMIZERS.get(source, "--from")
        return found if isinstance(found, type) else type(found)
    for name in dict.fromkeys(TORCHS):
        cls = getattr(torch.optim, name, None)
        settings = {key for key in calls.parameters(cls) if key not in ("params", *LATER)} if cls else {""}
        if settings <= group.keys() and all(set(HELD[name]) <= entry.keys() for entry in entries):
            return cls  # type: ignore[return-value]
    raise CheckpointError(
        f"which optimizer it is of cannot be told: it keeps {listed(sorted(entries[0]))}. Say so: --from NAME"
    )
