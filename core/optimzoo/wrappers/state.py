"""Optimizer state by parameter name: a saved state, laid out for the parameter groups that it is loaded into.

torch numbers parameters by their place in the groups, so a state fits only the grouping that it was saved with. Here
the names in the groups decide; where there are none (a plain torch.optim, mmengine), the order of the parameters does.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import CheckpointError, OptimzooWarning
from optimzoo.groups.modules import plain_name, unwrap
from optimzoo.names.zoo import needs_of
from optimzoo.values import is_number
from optimzoo.wrappers.state_values import cls_of, kind_of, of_one_kind

Group = Mapping[str, Any]

OF_THE_LOADER = ("params", "param_names", "fused", "foreach", "capturable", "differentiable")
"""Keys of a group that say how this process computes, which no checkpoint changes."""

DECOUPLED = "decoupled_weight_decay"
"""The setting that makes another algorithm, of Adam that of AdamW."""


def fit_state(
    optimizer: Optimizer, saved: Mapping[str, Any], order: Sequence[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Return a saved state, laid out for the groups of ``optimizer``, and the dtypes that the parameters had, if known.

    ``saved`` is left as it is. A group's hyperparameters are those of the saved groups that its parameters come from.

    Args:
        optimizer: What the state is for.
        saved: What ``state_dict`` of a wrapper or an optimizer returned.
        order: The names of the optimizer's parameters in the order of the model, which is that of a state saved with
            one group per parameter, or with one for all.

    Raises:
        CheckpointError: It is of other parameters or of another optimizer.
    """
    for key in ("state", "param_groups"):
        if key not in saved:
            raise CheckpointError(f"it holds no optimizer state: there is no {key!r} in it, but {_listed(saved)}")
    groups: list[Group] = saved["param_groups"]
    if any(isinstance(key, str) and key.isdecimal() for key in saved["state"]):
        raise CheckpointError("the parameters of its state are numbered by strings, as JSON writes them: make them int")
    _check_optimizer(optimizer, saved)
    names = [_names(number, group) for number, group in enumerate(optimizer.param_groups)]
    index_of = _match(optimizer, names, saved, order)
    home = {index: group for group in groups for index in group["params"]}
    state = {key: value for key, value in saved["state"].items() if key not in home}
    fitted: list[dict[str, Any]] = []
    dtypes: list[str] = []
    number = 0
    for group_names in names:
        numbers = range(number, number + len(group_names))
        number += len(group_names)
        indices = [index_of.get(name) for name in group_names]
        state.update({n: saved["state"][i] for n, i in zip(numbers, indices) if i in saved["state"]})
        dtypes += [saved["dtypes"][i] if i is not None else "" for i in indices] if "dtypes" in saved else []
        sources = list({id(home[index]): home[index] for index in indices if index is not None}.values())
        fitted.append({**_settings(optimizer, sources, len(fitted)), "params": list(numbers)})
    _check_shapes(optimizer, state, [name for group_names in names for name in group_names])
    return {"state": state, "param_groups": fitted}, dtypes


def add_missing_groups(optimizer: Optimizer, model: nn.Module, saved: Mapping[str, Any]) -> None:
    """Add the groups of a saved state all of whose parameters the model has, by name, and the optimizer has not."""
    held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    parameters = {plain_name(name): parameter for name, parameter in unwrap(model).named_parameters()}
    for group in saved.get("param_groups", ()):
        names = [plain_name(name) for name in group.get("param_names", ())]
        if names and parameters.keys() >= set(names) and held.isdisjoint(parameters[name] for name in names):
            settings = {key: value for key, value in group.items() if key not in OF_THE_LOADER}
            params = [parameters[name].requires_grad_() for name in names]
            optimizer.add_param_group({**settings, "params": params, "param_names": names})


def fit_base(current: Group, optimizer: Optimizer, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base_param_settings`` for a saved state: its own, or those of its one group, or the defaults."""
    groups = saved["param_groups"]
    base = saved.get("base_param_settings") or (groups[0] if len(groups) == 1 else {})
    own = {**current, **optimizer.defaults}
    return {**own, **{k: _like(own.get(k), v) for k, v in copy.deepcopy(base).items() if k not in OF_THE_LOADER}}


def _names(number: int, group: Group) -> list[str]:
    names = group.get("param_names") or (f"parameter {i} of group {number}" for i in range(len(group["params"])))
    return list(map(plain_name, names))


def _match(
    optimizer: Optimizer, names: list[list[str]], saved: Mapping[str, Any], order: Sequence[str]
) -> dict[str, int]:
    """Return the saved number of each parameter."""
    groups = saved["param_groups"]
    flat = [name for group in names for name in group]
    params = (parameter for group in optimizer.param_groups for parameter in group["params"])
    frozen = {name for name, parameter in zip(flat, params) if not parameter.requires_grad}
    indices = [index for group in groups for index in group["params"]]
    if all("param_names" in group for group in (*groups, *optimizer.param_groups)):
        by_name = dict(zip((plain_name(name) for group in groups for name in group["param_names"]), indices))
        missing = [name for name in flat if name not in by_name and name not in frozen]
        lost = [name for name in by_name.keys() - set(flat) if by_name[name] in saved["state"]]
        if missing or lost:
            raise CheckpointError(
                f"it is of other parameters: it lacks {_listed(missing)}, and has a state of {_listed(sorted(lost))} "
                "that nothing here takes"
            )
        return by_name
    if len(indices) == len(flat) - len(frozen) and frozen:  # mmengine leaves them out where there are rules
        names = [kept for group in names if (kept := [name for name in group if name not in frozen])]
        flat, order = ([name for name in each if name not in frozen] for each in (flat, order))
    if len(indices) != len(flat):
        raise CheckpointError(
            f"it is of {len(indices)} parameters without names, and the optimizer has {len(flat)}: {_listed(flat)}"
        )
    sizes, own = ([len(each) for each in layout] for layout in ([group["params"] for group in groups], names))
    if sizes != own:
        in_order = len(sizes) == 1 or set(sizes) == {1}
        if not in_order or (len(own) > 1 and not order):
            raise CheckpointError(
                f"it has no parameter names, and groups of {_listed(sizes)} parameters where the optimizer has "
                f"{_listed(own)}, so that what belongs to which cannot be told. Load it into the same groups, or save "
                "it with names, as build_optim_wrapper gives them"
            )
        flat = list(order) or flat
    return dict(zip(flat, indices))


def _settings(optimizer: Optimizer, sources: list[Group], number: int) -> dict[str, Any]:
    """Return the hyperparameters of a group: those on which the saved groups agree, else its own."""
    group, arguments = optimizer.param_groups[number], calls.parameters(cls_of(optimizer))
    settings = {key: value for key, value in group.items() if key != "params"}
    split = []
    for key in {key: None for source in sources for key in source if key not in OF_THE_LOADER}:
        first, *others = (source[key] for source in sources if key in source)
        if all(bool(first == other) for other in others):
            settings[key] = _like(group.get(key), first) if key in arguments else first  # which the optimizer computes
        else:
            split.append(key)
    if split:
        warnings.warn(
            f"the parameters of group {number} ({_listed(_names(number, group))}) come from saved groups that differ "
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


def _check_optimizer(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Refuse the state of another optimizer; an older version of the same may lack a key, or have one more."""
    groups: list[Group] = saved["param_groups"]
    for group, own in zip(groups, optimizer.param_groups):
        lacks = [k for k, v in optimizer.defaults.items() if k not in group and (is_number(v) or isinstance(v, tuple))]
        has = [k for k in group if k not in own and k not in OF_THE_LOADER and not k.startswith("initial_")]
        if lacks and has:
            raise CheckpointError(
                f"it is of another optimizer than {type(optimizer).__name__}: it has {_listed(has)}, but not "
                f"{_listed(lacks)}"
            )
        if DECOUPLED in own and group.get(DECOUPLED, own[DECOUPLED]) != own[DECOUPLED]:
            raise CheckpointError(
                f"it is of another algorithm than {type(optimizer).__name__} here: its {DECOUPLED} is "
                f"{group[DECOUPLED]}, and that of the optimizer {own[DECOUPLED]}"
            )
    if "optimizer" in saved and not of_one_kind(saved["optimizer"], kind_of(optimizer)):
        raise CheckpointError(
            f"it is of another optimizer than {type(optimizer).__name__}: of {saved['optimizer']}, and this is "
            f"{kind_of(optimizer)}"
        )


def _check_shapes(optimizer: Optimizer, state: Mapping[Any, Any], names: list[str]) -> None:
    if "closure" in needs_of(optimizer):
        return  # LBFGS keeps all parameters in one vector
    params = (p for group in optimizer.param_groups for p in group["params"])
    cls = type(optimizer)
    whole = cls.__module__.partition("torch.optim.")[0] == "" and cls.__name__ != "Adafactor"  # whose state is factored
    wrong = []
    for number, (parameter, name) in enumerate(zip(params, names)):
        entry = state.get(number, {})
        shapes = [v.shape for v in entry.values() if isinstance(v, Tensor) and v.ndim > 0]
        if whole:
            shapes = [shape for shape in shapes if shape != parameter.shape]
        else:
            shapes = [shape for shape in shapes if len(shape) == parameter.ndim]
        if shapes and (whole or not any(_suits(shape, parameter.shape) for shape in shapes)):
            wrong.append(f"{name} {tuple(parameter.shape)} (saved {tuple(shapes[0])})")
    if wrong:
        raise CheckpointError(f"it is of parameters of other shapes: {_listed(wrong, quote=False)}")


def _suits(saved: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a tensor of the state may belong to a parameter; a factored one has sizes of 1."""
    return all(size in (1, own) for size, own in zip(saved, shape))


def _listed(names: Iterable[str | int], quote: bool = True) -> str:
    every = [repr(name) if quote else str(name) for name in names]
    return ", ".join(every[:5]) + (f" and {len(every) - 5} more" if len(every) > 5 else "") or "nothing"
