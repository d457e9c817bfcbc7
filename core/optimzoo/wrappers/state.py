"""Optimizer state by parameter name: a saved state, laid out for the groups that it is loaded into.

torch numbers parameters by their place in the groups, so a state fits only the grouping that it was saved with. Here
the names in the groups decide; where there are none (a plain torch.optim, mmengine), the order of the parameters does.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence, Set
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import CheckpointError, OptimzooWarning, shown
from optimzoo.groups.modules import plain_name, unwrap
from optimzoo.optimizers.parts import Parts, each_of
from optimzoo.values import is_number
from optimzoo.wrappers.state_checks import (
    OF_THE_LOADER,
    Group,
    check_entries,
    check_layout,
    check_optimizer,
    check_whole,
    cls_of,
    kind_of,
    listed,
    params_of,
)

OURS = (
    *("optimizer", "dtypes", "shapes", "entries", "base_param_settings"),
    *("counts", "loss_scaler", "apex_amp", "own", "attributes"),
)
"""What wrappers add to the state of their optimizer."""

OF_SCHEDULES = ("initial_", "max_", "min_", "base_", "swa_")
"""How what schedules put into groups begins."""


def described(optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of an optimizer, and what tells it from others: the class, the parameters' dtypes and shapes.

    What the optimizer itself keeps under a name of ``OURS`` is under ``"own"``.

    Raises:
        CheckpointError: Its class lays it out otherwise than torch's do, so that nothing could load it.
    """
    state = optimizer.state_dict()
    if not isinstance(state, Mapping) or (state and not {"state", "param_groups"} <= state.keys()):  # ZeRO's is empty
        what = listed(state) if isinstance(state, Mapping) else shown(state)
        raise CheckpointError(
            f"{type(optimizer).__name__} saves {what}, and no 'state' and 'param_groups': nothing could "
            "resume from it. Use the optimizer inside it, or save it by itself"
        )
    own = {key: state[key] for key in OURS if key in state and not isinstance(optimizer, Parts)}
    params = params_of(optimizer)
    told = {"dtypes": [_dtype(p) for p in params], "shapes": [list(p.shape) for p in params]}
    return {**state, "optimizer": kind_of(optimizer), **told, **({"own": own} if own else {})}


def fit_state(
    optimizer: Optimizer, saved: Mapping[str, Any], order: Sequence[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Return a saved state, laid out for the groups of ``optimizer``, and the dtypes that the parameters had, if known.

    ``saved`` is left as it is. A group's hyperparameters are those of the saved groups that its parameters come from;
    what the optimizer itself keeps beside groups and states goes along. A state without names, of one group per
    parameter or one for all, goes by ``order``, the names as in the model.

    Raises:
        CheckpointError: It is damaged, or of other parameters, or of another optimizer.
    """
    check_layout(saved)
    check_optimizer(optimizer, saved)
    groups: list[Group] = saved["param_groups"]
    names = [_names(number, group) for number, group in enumerate(optimizer.param_groups)]
    index_of = _match(optimizer, names, saved, order)
    home = {index: group for group in groups for index in group["params"]}
    state = {key: value for key, value in saved["state"].items() if key not in home}
    fitted: list[dict[str, Any]] = []
    dtypes: list[str] = []
    shapes: list[Any] = []
    number = 0
    for group_names in names:
        numbers = range(number, number + len(group_names))
        number += len(group_names)
        indices = [index_of.get(name) for name in group_names]
        state.update({n: saved["state"][i] for n, i in zip(numbers, indices) if i in saved["state"]})
        dtypes += [saved["dtypes"][i] if i is not None else "" for i in indices] if saved.get("dtypes") else []
        shapes += [saved["shapes"][i] if i is not None else None for i in indices] if saved.get("shapes") else []
        sources = list({id(home[index]): home[index] for index in indices if index is not None}.values())
        fitted.append({**_settings(optimizer, sources, len(fitted)), "params": list(numbers)})
    check_whole(optimizer, saved, state)
    check_entries(optimizer, state, fitted, [name for group_names in names for name in group_names], shapes)
    beside = {key: value for key, value in saved.items() if key not in OURS}
    return {**beside, **saved.get("own", {}), "state": state, "param_groups": fitted}, dtypes


def add_missing_groups(optimizer: Optimizer, model: nn.Module, saved: Mapping[str, Any]) -> None:
    """Add the groups of a saved state all of whose parameters the model has, by name, and the optimizer has not."""
    held = set(params_of(optimizer))
    parameters = {plain_name(name): parameter for name, parameter in unwrap(model).named_parameters()}
    for group in saved.get("param_groups", ()):
        names = [plain_name(name) for name in group.get("param_names", ())]
        if names and parameters.keys() >= set(names) and held.isdisjoint(parameters[name] for name in names):
            settings = {key: value for key, value in group.items() if key not in OF_THE_LOADER}
            params = [parameters[name].requires_grad_() for name in names]
            optimizer.add_param_group({**settings, "params": params, "param_names": names})


def drop_keys(groups: Sequence[dict[str, Any]], optimizer: Optimizer, at_first: Set[str], saved: Any) -> None:
    """Drop from groups to be loaded what steps have put there, such as a count, and the state lacks, as torch does.

    What schedules put there stays, since a state may be older than they are.
    """
    kept = {*at_first, *optimizer.defaults, *OF_THE_LOADER}.union(*saved["param_groups"])
    for group in groups:
        for key in group.keys() - kept:
            if not key.startswith(OF_SCHEDULES):
                del group[key]


def fit_base(current: Group, optimizer: Optimizer, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base_param_settings`` for a saved state: its own, or those of its one group, or the defaults."""
    groups = saved["param_groups"]
    base = saved.get("base_param_settings") or (groups[0] if len(groups) == 1 else {})
    own = {**current, **optimizer.defaults}
    return {**own, **{k: _like(own.get(k), v) for k, v in copy.deepcopy(base).items() if k not in OF_THE_LOADER}}


def keep_saved(optimizer: Optimizer, saved: Mapping[Any, Any], dtypes: Sequence[str]) -> None:
    """Put the values of a state back that torch has changed in loading it.

    torch casts floats to the dtype of their parameter, integers too, and makes of a string the text of a generator.
    The cast is right for a parameter that had another dtype (in ``dtypes``, if known) when it was saved, alone.
    """
    rounded: set[str] = set()
    for number, parameter in enumerate(params_of(optimizer)):
        loaded, given = optimizer.state.get(parameter), saved.get(number)
        if isinstance(loaded, dict) and isinstance(given, Mapping):
            known = _dtype(parameter) == dtypes[number] if dtypes else None
            for key in loaded.keys() & given.keys() - {"step"}:
                loaded[key] = _as_saved(loaded[key], given[key], bool(known))
                if known is None and _is_narrower(loaded[key], given[key]):
                    rounded.add(str(key))
    if rounded:
        warnings.warn(
            f"{', '.join(sorted(rounded))} in the state were rounded to the dtype of the parameters, "
            "since it does not tell which dtype these had; the state_dict of an optimizer wrapper does",
            OptimzooWarning,
            stacklevel=4,
        )
    for each in each_of(optimizer):
        _tell_of_bits(each)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _names(number: int, group: Group) -> list[str]:
    names = group.get("param_names") or (f"parameter {i} of group {number}" for i in range(len(group["params"])))
    return list(map(plain_name, names))


def _match(
    optimizer: Optimizer, names: list[list[str]], saved: Mapping[str, Any], order: Sequence[str]
) -> dict[str, int]:
    """Return the saved number of each parameter."""
    groups = saved["param_groups"]
    flat = [name for group in names for name in group]
    frozen = {name for name, parameter in zip(flat, params_of(optimizer)) if not parameter.requires_grad}
    indices = [index for group in groups for index in group["params"]]
    if all("param_names" in group for group in (*groups, *optimizer.param_groups)):
        by_name = dict(zip((plain_name(name) for group in groups for name in group["param_names"]), indices))
        missing = [name for name in flat if name not in by_name and name not in frozen]
        lost = [name for name in by_name.keys() - set(flat) if by_name[name] in saved["state"]]
        if missing or lost:
            faults = [f"lacks {listed(missing)}"] * bool(missing)
            faults += [f"has a state of {listed(sorted(lost))} that nothing here takes"] * bool(lost)
            raise CheckpointError(f"it is of other parameters: it {', and '.join(faults)}")
        return by_name
    if len(indices) == len(flat) - len(frozen) and frozen:  # mmengine leaves them out where there are rules
        names = [kept for group in names if (kept := [name for name in group if name not in frozen])]
        flat, order = ([name for name in each if name not in frozen] for each in (flat, order))
    if len(indices) != len(flat):
        raise CheckpointError(
            f"it is of {len(indices)} parameters without names, and the optimizer has {len(flat)}: {listed(flat)}"
        )
    sizes, own = ([len(each) for each in layout] for layout in ([group["params"] for group in groups], names))
    if sizes != own:
        in_order = len(sizes) == 1 or set(sizes) == {1}
        if not in_order or (len(own) > 1 and not order):
            raise CheckpointError(
                f"it has no parameter names, and groups of {listed(sizes)} parameters where the optimizer has "
                f"{listed(own)}, so that what belongs to which cannot be told. Load it into the same groups, or save "
                "it with names, as build_optim_wrapper gives them"
            )
        flat = list(order) or flat
    return dict(zip(flat, indices))


def _settings(optimizer: Optimizer, sources: list[Group], number: int) -> dict[str, Any]:
    """Return the hyperparameters of a group: those on which the saved groups agree, else its own."""
    group, arguments = (
        optimizer.param_groups[number],
        calls.names_of(cls_of(optimizer, optimizer.param_groups[number])),
    )
    settings = {key: value for key, value in group.items() if key != "params"}
    sources = [copy.deepcopy({k: v for k, v in source.items() if k not in OF_THE_LOADER}) for source in sources]
    split = []
    for key in {key: None for source in sources for key in source}:
        first, *others = (source[key] for source in sources if key in source)
        if all(bool(first == other) for other in others):
            settings[key] = _like(group.get(key), first) if key in arguments else first  # which the optimizer computes
        else:
            split.append(key)
    if split:
        warnings.warn(
            f"the parameters of group {number} ({listed(_names(number, group))}) come from saved groups that differ "
            f"in {', '.join(split)}; the group keeps its own",
            OptimzooWarning,
            stacklevel=5,
        )
    return settings


def _like(current: Any, value: Any) -> Any:
    """Return a number as a tensor where the optimizer holds it as one, and the other way round."""
    if isinstance(current, Tensor) and is_number(value):
        return current.new_tensor(value)
    return value.item() if is_number(current) and isinstance(value, Tensor) else value


def _as_saved(loaded: Any, saved: Any, keep: bool) -> Any:
    if isinstance(loaded, Tensor) and isinstance(saved, Tensor):
        own = not keep and saved.ndim > 0 and saved.is_floating_point()  # of the parameter's kind
        return loaded if loaded.dtype == saved.dtype or own else saved.to(loaded.device)
    if isinstance(loaded, dict) and isinstance(saved, Mapping):
        return {key: _as_saved(value, saved[key], keep) for key, value in loaded.items() if key in saved}
    if type(loaded) in (list, tuple) and isinstance(saved, (list, tuple)) and len(loaded) == len(saved):
        return type(loaded)(_as_saved(mine, theirs, keep) for mine, theirs in zip(loaded, saved))
    return saved if isinstance(saved, (str, bytes)) else loaded


def _is_narrower(loaded: Any, saved: Any) -> bool:
    if not (isinstance(loaded, Tensor) and isinstance(saved, Tensor) and saved.is_floating_point()):
        return False
    return bool(torch.finfo(loaded.dtype).bits < torch.finfo(saved.dtype).bits) and loaded.ndim > 0


def _tell_of_bits(optimizer: Optimizer) -> None:
    """Warn if an 8-bit optimizer of bitsandbytes goes on with a state of 32 bits, as its step does in silence."""
    arguments = getattr(optimizer, "args", None)
    if getattr(arguments, "optim_bits", 32) >= 32:
        return
    least = getattr(arguments, "min_8bit_size", 0)
    whole = [s["state1"] for p, s in optimizer.state.items() if p.numel() >= least and "state1" in s]
    if any(value.is_floating_point() for value in whole):
        name = type(optimizer).__name__
        warnings.warn(
            f"the state is of 32 bits, and stays so: {name} quantizes a state that it begins itself, no other",
            OptimzooWarning,
            stacklevel=4,
        )
