"""A saved state, made into one of the optimizer that is to go on."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from optimzoo.errors import CheckpointError, ConfigError
from optimzoo.groups.modules import plain_name
from optimzoo.optimizers.fused import is_sharded
from optimzoo.optimizers.parts import part_of
from optimzoo.traces import describe_error
from optimzoo.transplant.moments import GROUP, UntriedError, counterparts, filled, new_entry, of_group, plain
from optimzoo.transplant.saved import Saved, saved_parameters
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict
from optimzoo.wrappers.members import members
from optimzoo.wrappers.state_checks import params_of


@dataclass(frozen=True)
class Carried:
    """What became of the state of one parameter.

    Args:
        name: The parameter.
        outcome: ``"carried"`` as it was; ``"converted"``, its tensors under other names, in another form, or of means
            over another number of updates; ``"fresh"``: nothing was kept; ``"left"``: nothing here takes it.
        old: The optimizer that it was of, or "".
        new: The optimizer that it is for, or "".
        why: What was converted, or why nothing was kept.
    """

    name: str
    outcome: str
    old: str
    new: str
    why: str = ""


def convert_state(
    optim_wrapper: BaseOptimWrapper | OptimWrapperDict, model: nn.Module, state: Any, source: str | None = None
) -> tuple[dict[str, Any], list[Carried]]:
    """Return a state that ``optim_wrapper.load_state_dict`` takes, and what became of each parameter.

    A tensor is carried over where both optimizers, run on the same gradients, keep the same in it, whatever the number
    of updates that it is a mean over; and the state of a parameter if all that the new optimizer keeps of it is there,
    with its count of updates. Settings are those of the new optimizer.

    Args:
        optim_wrapper: What is to go on, as it was built.
        model: The model.
        state: The state of an optimizer of torch's or of an ``OptimWrapper``'s, here or of mmengine's, or a dict or
            list of such; ``read_state`` finds it in a file.
        source: The name or path of the optimizer that it is of, if that is not to be seen in it.

    Raises:
        CheckpointError: It is damaged, or what it is of cannot be told, or it has nothing of the model.
        ConfigError: The groups of ``optim_wrapper`` have no names of parameters, or these are shared out (FSDP2).
    """
    if any(is_sharded(p) for wrapper in members(optim_wrapper).values() for p in params_of(wrapper.optimizer)):
        raise ConfigError("its parameters are shares of FSDP2's: convert the state before fully_shard", "optim_wrapper")
    saved = saved_parameters(state, model, source)
    report: list[Carried] = []
    states = {name: _convert(wrapper, saved, report) for name, wrapper in members(optim_wrapper).items()}
    known = {each.name for each in report}
    report += [
        Carried(name, "left", each.cls.__name__, "", "it is not trained here")
        for name, each in saved.items()
        if name not in known
    ]
    if not known & saved.keys():
        some = ", ".join([*saved][:3])
        raise CheckpointError(f"it is of no parameter that is trained here: it has {some or 'no entries'}")
    return (states if isinstance(optim_wrapper, OptimWrapperDict) else states[""]), report


def _convert(wrapper: BaseOptimWrapper, saved: dict[str, Saved], report: list[Carried]) -> dict[str, Any]:
    state = wrapper.state_dict()
    entries: dict[int, Any] = dict(state["state"])  # some keep something from their construction on
    number = 0
    for group, described in zip(wrapper.optimizer.param_groups, state["param_groups"]):
        cls = type(part_of(wrapper.optimizer, group))
        own: dict[int, Any] = {}
        carried: list[Carried] = []
        wholes: list[dict[str, Any]] = []
        if len(group.get("param_names", ())) != len(group["params"]):
            raise ConfigError(
                "its groups have no names of parameters: build it by build_optim_wrapper", "optim_wrapper"
            )
        names = [plain_name(name) for name in group["param_names"]]
        for name, parameter in zip(names, group["params"]):
            old = saved.get(name)
            if old is None:
                carried.append(Carried(name, "fresh", "", cls.__name__, "nothing of it is there"))
            else:
                entry, told, whole = _entry(name, parameter, old, cls, group)
                carried.append(told)
                if entry is not None:
                    own[number] = entry
                    wholes.append(whole)
            number += 1
        if own and any(wholes):
            frozen = {name for name, p in zip(names, group["params"]) if not p.requires_grad}
            own, carried, settings = _with_its_own(own, carried, wholes, frozen)
            described.update(settings)
        entries |= own
        report += carried
    return {**state, "state": entries, "entries": len(entries)}


def _entry(
    name: str, parameter: Tensor, old: Saved, cls: type, group: dict[str, Any]
) -> tuple[dict[str, Any] | None, Carried, dict[str, Any]]:
    """Return what the new optimizer is to keep of a parameter, what was done, and what it is to keep of the group."""
    told = (name, "fresh", old.cls.__name__, cls.__name__)
    try:
        every = counterparts(old.cls, old.settings, cls, group, parameter)
        empty = new_entry(cls, group, parameter)
    except UntriedError as error:
        return None, Carried(*told, str(error)), {}
    values = {**of_group(old.settings), **plain(old.entry)}
    means = {key: theirs for key, theirs in every.items() if not key.startswith(GROUP)}
    missing = [key.removeprefix(GROUP) for key, theirs in every.items() if theirs not in values]
    if missing or not means:
        what = f"{', '.join(missing)} of it means nothing that was kept" if missing else "it keeps nothing"
        return None, Carried(*told, what), {}
    begun = plain(empty)
    shapes = {key: (_shape(begun[key]), _shape(values[theirs])) for key, theirs in means.items()}
    # Prodigy keeps a single 0 of a parameter that began at 0
    wrong = [key for key, (own, its) in shapes.items() if its != own and (its or old.cls is not cls)]
    if wrong:
        return None, Carried(*told, f"{', '.join(wrong)} has another shape than the parameter"), {}
    try:
        entry = filled(empty, {key: values[theirs] for key, theirs in means.items()})
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise CheckpointError(f"what it keeps of {name!r} is damaged: {describe_error(error)}") from error
    of_whole = {key.removeprefix(GROUP): values[theirs] for key, theirs in every.items() if key.startswith(GROUP)}
    notes = [f"{theirs} as {key}" for key, theirs in means.items() if theirs.removeprefix(GROUP) != key]
    notes += _in_another_form(old.entry, empty)
    notes += [
        f"{key} {_shown(old.settings[key])}, now {_shown(group[key])}"
        for key in ("betas", "momentum", "alpha")
        if key in old.settings and key in group and tuple(_listed(old.settings[key])) != tuple(_listed(group[key]))
    ]
    return entry, Carried(name, "converted" if notes else "carried", *told[2:], "; ".join(notes)), of_whole


def _with_its_own(
    own: dict[int, Any], carried: list[Carried], wholes: list[dict[str, Any]], frozen: set[str]
) -> tuple[dict[int, Any], list[Carried], dict[str, Any]]:
    """Return with the entries what is kept of the whole group, such as a count of updates.

    If not all of its parameters were carried alike, none is.
    """
    first, *others = wholes
    every = all(each.outcome != "fresh" or each.name in frozen for each in carried)
    if every and all(_numbers(other) == _numbers(first) for other in others):
        return own, carried, {key: _plain_count(value) for key, value in first.items()}
    why = f"its {', '.join(first)} is one for the group, whose parameters were not all carried alike"
    return {}, [Carried(each.name, "fresh", each.old, each.new, each.why or why) for each in carried], {}


def _numbers(whole: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in whole.items()}


def _plain_count(value: Any) -> Any:
    """Return a count that torch's optimizers hold in a tensor as the integer that groups hold."""
    is_count = isinstance(value, Tensor) and not value.ndim and float(value).is_integer()
    return int(value) if is_count else copy.copy(value)


def _in_another_form(old: dict[str, Any], new: dict[str, Any]) -> Iterable[str]:
    bits = [any("qmap" in key or type(value) not in _PLAIN for key, value in entry.items()) for entry in (old, new)]
    return [["in few bits", "in 32 bits"][bits[0]]] if bits[0] != bits[1] else []


_PLAIN = (Tensor, nn.Parameter, int, float, bool, type(None), str)


def _shape(value: Any) -> tuple[int, ...]:
    """Return a shape in which all forms of a single number are alike."""
    return tuple(value.shape) if isinstance(value, Tensor) and value.numel() != 1 else ()


def _listed(value: Any) -> Iterable[Any]:
    return map(float, value) if isinstance(value, (list, tuple)) else [float(value)]


def _shown(value: Any) -> str:
    return " ".join(f"{each:g}" for each in _listed(value))
