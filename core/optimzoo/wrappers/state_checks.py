"""What a saved state has to be: laid out as one, of the class it is loaded into, with all that this class keeps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import CheckpointError, ConfigError, shown
from optimzoo.names.zoo import needs_of
from optimzoo.optimizers.needs import OF_THE_PROCESS, check_settings, is_torchs
from optimzoo.optimizers.parts import PART, Parts, part_of
from optimzoo.values import is_number

Group = Mapping[str, Any]
NUMBER = (int, float, Tensor)

OF_THE_LOADER = ("params", "param_names", *OF_THE_PROCESS)
"""Keys of a group that no checkpoint changes."""

DECOUPLED = "decoupled_weight_decay"
"""The setting that makes another algorithm, of Adam that of AdamW."""

LATER = (*OF_THE_LOADER, DECOUPLED, "maximize")
"""Settings that torch has given to its optimizers over the years, so that a state of an older version lacks them."""

HELD = {
    "ASGD": ("step", "eta", "mu", "ax"),
    "Adadelta": ("step", "square_avg", "acc_delta"),
    "Adafactor": ("step",),
    "Adagrad": ("step", "sum"),
    "Adam": ("step", "exp_avg", "exp_avg_sq"),
    "AdamW": ("step", "exp_avg", "exp_avg_sq"),
    "Adamax": ("step", "exp_avg", "exp_inf"),
    "Muon": ("momentum_buffer",),
    "NAdam": ("step", "mu_product", "exp_avg", "exp_avg_sq"),
    "RAdam": ("step", "exp_avg", "exp_avg_sq"),
    "RMSprop": ("step", "square_avg"),
    "Rprop": ("step", "prev", "step_size"),
    "SparseAdam": ("step", "exp_avg", "exp_avg_sq"),
}
"""What torch's optimizers keep for every parameter that they have updated."""

SCALARS = ("step", "eta", "mu", "mu_product")
"""What of it is one number, in states of older versions one of Python."""

SOMETIMES = ("momentum_buffer", "max_exp_avg_sq", "grad_avg")
"""What some settings make them keep."""


def inside(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer whose state it is: that inside of ZeRO, or itself."""
    return getattr(optimizer, "optim", optimizer)


def cls_of(optimizer: Optimizer, group: Group | None = None) -> type:
    """Return the class of the optimizer whose state it is, or of the part whose ``group`` it is."""
    return type(inside(optimizer if group is None else part_of(optimizer, group)))


def kind_of(optimizer: Optimizer) -> str:
    """Return the name of the class with its package, within which libraries move their classes."""
    cls = cls_of(optimizer)
    name = f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"
    parts = (
        [f"{part}={kind_of(each)}" for part, each in optimizer.parts.items()] if isinstance(optimizer, Parts) else []
    )
    return f"{name}({', '.join(parts)})" if parts else name


def params_of(optimizer: Optimizer) -> list[Tensor]:
    """Return the parameters of all groups."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def check_layout(saved: Any) -> None:
    """Check that something is laid out as the state of an optimizer is; a CheckpointError says where it is not."""
    _want(isinstance(saved, Mapping), saved, "a state, which is a dict,", "")
    for key in ("state", "param_groups"):
        if key not in saved:
            raise CheckpointError(f"it holds no optimizer state: there is no {key!r} in it, but {listed(saved)}")
    state, groups = saved["state"], saved["param_groups"]
    _want(isinstance(state, Mapping), state, "a dict", "state")
    entries = saved.get("entries", 0)
    _want(isinstance(entries, int), entries, "the number of entries", "entries")
    if any(isinstance(key, str) and key.isdecimal() for key in state):
        raise CheckpointError("the parameters of its state are numbered by strings, as JSON writes them: make them int")
    for number, entry in state.items():
        _want(isinstance(entry, Mapping) or not isinstance(number, int), entry, "a dict", f"state[{number}]")
    _want(_is_list_of(groups, Mapping) and len(groups) > 0, groups, "a list of dicts", "param_groups")
    indices: list[int] = []
    for number, group in enumerate(groups):
        params, names = group.get("params"), group.get("param_names", ())
        _want(
            all(isinstance(key, str) for key in group), [*group], "a name for each setting", f"param_groups[{number}]"
        )
        counted = _is_list_of(params, int) and min(params, default=0) >= 0
        _want(counted, params, "a list of whole numbers", f"param_groups[{number}].params")
        named = _is_list_of(names, str) and (not names or len(names) == len(params))
        _want(named, names, "a list of a name for each parameter", f"param_groups[{number}].param_names")
        indices += params
    _want(len(indices) == len(set(indices)), indices, "each parameter once", "param_groups")
    dtypes, base = saved.get("dtypes", ()), saved.get("base_param_settings")
    told = _is_list_of(dtypes, str) and (not dtypes or len(dtypes) > max(indices, default=0))
    _want(told, dtypes, "a list of a dtype for each parameter", "dtypes")
    _want(base is None or isinstance(base, Mapping), base, "a dict", "base_param_settings")
    shapes, own = saved.get("shapes", []), saved.get("own", {})
    told = _is_list_of(shapes, (list, tuple)) and (not shapes or len(shapes) > max(indices, default=0))
    _want(told, shapes, "a list of a shape for each parameter", "shapes")
    _want(isinstance(own, Mapping), own, "a dict", "own")
    beside = saved.get("attributes", [])
    _want(_is_list_of(beside, Mapping), beside, "a list of a dict for each optimizer", "attributes")
    _want(isinstance(saved.get("optimizer", ""), str), saved.get("optimizer"), "the name of a class", "optimizer")


def check_optimizer(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Refuse the state of another optimizer, or of no optimizer at all: its settings are checked as those of a build.

    An older version of a library may lack a setting, or have one more.
    """
    if isinstance(optimizer, Parts):
        if saved.get("optimizer", kind_of(optimizer)) != kind_of(optimizer):
            raise CheckpointError(
                f"it is of another optimizer: of {saved['optimizer']}, and this is {kind_of(optimizer)}"
            )
        for name, part in optimizer.parts.items():
            groups = [group for group in saved["param_groups"] if group.get(PART) == name]
            check_optimizer(part, {"param_groups": groups})
        strays = [group.get(PART) for group in saved["param_groups"] if group.get(PART) not in optimizer.parts]
        _want(not strays, strays, f"groups of the parts {', '.join(optimizer.parts)}", "param_groups")
        return
    cls, defaults, told = cls_of(optimizer), inside(optimizer).defaults, saved.get("optimizer")
    own = {key for group in optimizer.param_groups for key in group} | defaults.keys()
    told_apart = told is not None and not _of_one_kind(told, kind_of(optimizer))
    others = [key for key in _arguments_of_torch() if key not in own and key not in LATER] if told is None else []
    for number, group in enumerate(saved["param_groups"]):
        place = f"param_groups[{number}]"
        lacks = [k for k, v in defaults.items() if k not in group and (is_number(v) or isinstance(v, tuple))]
        has = [k for k in group if k not in own and k not in OF_THE_LOADER and not k.startswith("initial_")]
        what = f"it has {listed(has)}, but not {listed(lacks)}" if has and lacks else ""
        if told_apart:
            what = f"of {told}, and this is {kind_of(optimizer)}"
        elif is_torchs(cls) and not what:  # whose versions are known
            lacks = [key for key in defaults if key not in group and key not in LATER]
            has = [k for k in others if k in group and f"initial_{k}" not in group]  # which mmengine's schedules add
            what = f"it lacks {listed(lacks)}" if lacks else f"it has {listed(has)}" if has else ""
        if what:
            where = "" if told_apart else place
            raise CheckpointError(f"it is of another optimizer than {cls.__name__}: {what}", where)
        if DECOUPLED in own and group.get(DECOUPLED, defaults.get(DECOUPLED)) != defaults.get(DECOUPLED):
            raise CheckpointError(
                f"it is of another algorithm than {cls.__name__} here: its {DECOUPLED} is {group[DECOUPLED]}, and "
                f"that of the optimizer {defaults.get(DECOUPLED)}",
                place,
            )
        _check_kinds(optimizer.param_groups[0], group, place)
        _check_settings(cls, group, place)
    _check_settings(cls, saved.get("base_param_settings") or {}, "base_param_settings")


def _check_kinds(own: Group, saved: Group, place: str) -> None:
    """Check that the values of a saved group are of the kinds of the optimizer's, those among them that it computes."""
    for key in own.keys() & saved.keys() - {*OF_THE_LOADER}:
        kind = next((kind for kind in (str, NUMBER, (list, tuple)) if isinstance(own[key], kind)), None)
        fits = kind is None or saved[key] is None or isinstance(saved[key], kind)
        one = not isinstance(saved[key], Tensor) or saved[key].numel() == 1 or isinstance(own[key], Tensor)
        _want(fits and one, saved[key], f"a value such as {shown(own[key], 50)}", f"{place}.{key}")


def _check_settings(cls: type, settings: Mapping[str, Any], place: str) -> None:
    try:
        check_settings(cls, settings, place)
    except ConfigError as error:
        raise CheckpointError(str(error)) from error


def _arguments_of_torch() -> set[str]:
    """Return the names of the arguments of all the classes of torch.optim."""
    return {name for cls in Optimizer.__subclasses__() if is_torchs(cls) for name in calls.parameters(cls)}  # type: ignore[arg-type]


def _of_one_kind(saved: str, own: str) -> bool:
    """Whether two names are of one class; that of a script is ``__main__`` where it is run."""
    (package, _, name), (own_package, _, own_name) = saved.partition("."), own.partition(".")
    return name == own_name and (package == own_package or "__main__" in (package, own_package))


def check_whole(optimizer: Optimizer, saved: Mapping[str, Any], state: Mapping[Any, Any]) -> None:
    """Refuse a state that had entries of parameters that are trained here, and lost them on its way."""
    had, has = saved.get("entries", 0), len(saved["state"])
    if had > has and any(p.requires_grad and i not in state for i, p in enumerate(params_of(optimizer))):
        raise CheckpointError(
            f"it was saved with {had} entries, and {has or 'none'} are there. torch.distributed.checkpoint reads only "
            "what the loading side has: give it stateful(optim_wrapper) of optimzoo.trainers.dcp. What was taken out "
            "on purpose has to be taken from 'entries' too",
            "state",
        )


def check_entries(
    optimizer: Optimizer,
    state: Mapping[Any, Any],
    groups: Sequence[Group],
    names: Sequence[str],
    saved_shapes: Sequence[Any] = (),
) -> None:
    """Check the state of each parameter: what torch's own classes keep, and the shapes of its tensors.

    Those of other classes, which may keep anything, where it is not known that the parameter has its shape still.
    """
    if "closure" in needs_of(optimizer):
        return  # LBFGS keeps all parameters in one vector
    wrong = []
    settings = (group for group in groups for _ in group["params"])
    for number, (parameter, name, group) in enumerate(zip(params_of(optimizer), names, settings)):
        entry, cls = state.get(number) or {}, cls_of(optimizer, group)
        if number in state and is_torchs(cls):
            _check_entry(cls, entry, _held(cls.__name__, group, parameter.ndim), f"that of {name!r}", parameter.ndim)
        shapes = [v.shape for k, v in entry.items() if isinstance(v, Tensor) and k not in SCALARS and v.ndim > 0]
        known = bool(saved_shapes) and saved_shapes[number] == list(parameter.shape)
        if is_torchs(cls):  # Adafactor's are factored
            factored = cls.__name__ == "Adafactor"
            shapes = [s for s in shapes if not (_suits(s, parameter.shape) if factored else s == parameter.shape)]
        elif known or any(_suits(shape, parameter.shape) for shape in shapes):
            shapes = []
        else:
            shapes = [shape for shape in shapes if len(shape) == parameter.ndim]
        if shapes:
            wrong.append(f"{name} {tuple(parameter.shape)} (saved {tuple(shapes[0])})")
    if wrong:
        raise CheckpointError(f"it is of parameters of other shapes: {listed(wrong, quote=False)}")


def check_kept(optimizer: Optimizer) -> None:
    """Check that each parameter has what torch's own classes keep under the settings that the groups have now."""
    for number, group in enumerate(optimizer.param_groups):
        cls = cls_of(optimizer, group)
        names = group.get("param_names") or [f"parameter {n} of group {number}" for n in range(len(group["params"]))]
        for name, parameter in zip(names, group["params"]):
            entry = optimizer.state.get(parameter)
            if entry and is_torchs(cls):
                _check_entry(
                    cls, entry, _held(cls.__name__, group, parameter.ndim), f"that of {name!r}", parameter.ndim
                )


def _held(name: str, group: Group, ndim: int) -> tuple[str, ...]:
    """Return what a class of torch keeps of a parameter that it has updated, under the settings of a group."""
    more = {"amsgrad": "max_exp_avg_sq", "centered": "grad_avg"}
    more |= {"momentum": "momentum_buffer"} if name == "RMSprop" else {}
    factors = (("row_var", "col_var") if ndim > 1 else ("variance",)) if name == "Adafactor" else ()
    return (*HELD.get(name, ()), *factors, *(kept for setting, kept in more.items() if group.get(setting)))


def _check_entry(cls: type, entry: Mapping[Any, Any], held: Sequence[str], whose: str, ndim: int) -> None:
    for key in (*held, *(key for key in entry if key in SOMETIMES and key not in held and entry[key] is not None)):
        value: Any = entry.get(key)
        is_one = isinstance(value, Tensor) and (value.numel() == 1 if key in SCALARS else value.ndim > 0 or ndim == 0)
        if not is_one and not (key in SCALARS and is_number(value)):
            what = "lacks" if key not in entry else f"has {shown(value, 50)} as"
            raise CheckpointError(f"{whose} {what} {key!r}, which {cls.__name__} keeps", "state")
        if key == "step" and not 0 <= float(value) < math.inf:
            raise CheckpointError(f"{whose} has made {shown(value, 50)} steps", "state")


def _suits(saved: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a tensor of the state may belong to a parameter; a factored one has sizes of 1."""
    return len(saved) == len(shape) and all(size in (1, own) for size, own in zip(saved, shape))


def listed(names: Iterable[str | int], quote: bool = True) -> str:
    """Return the first of some names, and how many more there are."""
    every = [repr(name) if quote else str(name) for name in names]
    return ", ".join(every[:5]) + (f" and {len(every) - 5} more" if len(every) > 5 else "") or "nothing"


def _want(holds: bool, value: Any, wanted: str, place: str) -> None:
    if not holds:
        raise CheckpointError(f"{wanted} is wanted, got {shown(value)}", place)


def _is_list_of(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, kind) for item in value)
