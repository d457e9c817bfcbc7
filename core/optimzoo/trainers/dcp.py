"""Wrappers and schedules in ``torch.distributed.checkpoint``, which reads only what there is already a place for.

A fresh optimizer has no state, so nothing of a checkpoint has a place in it, and nothing is read, without a word. Here
every parameter that is trained has its entries: those that it lacks are taken from a step of a copy. What is a number,
or no tensor, is kept aside as one object, which DCP never takes apart; it says which entries are the optimizer's own.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.stateful import Stateful
from torch.utils._pytree import tree_map_only, tree_map_with_path

from optimzoo import calls
from optimzoo.errors import CheckpointError, ConfigError, shown
from optimzoo.groups.modules import plain_name
from optimzoo.names.entry import NEEDS
from optimzoo.names.zoo import needs_of
from optimzoo.traces import describe_error
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict
from optimzoo.wrappers.gradients import backward_with_graph
from optimzoo.wrappers.state_checks import listed, params_of

CANNOT = ("closure", "two_passes", "process_group")
"""The needs of optimizers whose state grows with the steps, or is not whole in a process."""
ASIDE = "aside"


def stateful(part: Any) -> Stateful:
    """Return what ``dcp.save`` and ``dcp.load`` take for a wrapper, several, or schedules, to be saved and restored.

    The state is by the names of the parameters, so it may be loaded into other groups, and where parameters are
    DTensors, by other numbers of processes. ``dcp.load`` writes into the tensors that it finds, so after an error they
    may be changed in part.

    Args:
        part: An optimizer wrapper, an ``OptimWrapperDict``, a ``SchedulerGroup`` or another scheduler.

    Raises:
        ConfigError: It has no state, or its optimizer keeps one that has no fixed places.

    Examples:
        >>> import torch
        >>> from optimzoo import build_optim_wrapper
        >>> from optimzoo.trainers.dcp import stateful
        >>> fresh = build_optim_wrapper(torch.nn.Linear(2, 2), dict(optimizer=dict(type="AdamW", lr=0.1)))
        >>> {name: sorted(entry) for name, entry in stateful(fresh).state_dict()["state"].items()}
        {'bias': ['exp_avg', 'exp_avg_sq'], 'weight': ['exp_avg', 'exp_avg_sq']}
    """
    if isinstance(part, OptimWrapperDict):
        return _Several(part)
    if isinstance(part, BaseOptimWrapper):
        return _One(part)
    if isinstance(part, torch.optim.Optimizer) or not isinstance(part, Stateful):
        raise ConfigError(
            "an optimizer wrapper or schedules are wanted; a bare optimizer is saved by get_optimizer_state_dict of "
            f"torch.distributed.checkpoint.state_dict, got {shown(part)}"
        )
    return _Plain(part)


class _Plain:
    """The state of schedules, which is small: one object that is never taken apart."""

    def __init__(self, part: Stateful) -> None:
        self._part = part

    def state_dict(self) -> dict[str, Any]:
        return {ASIDE: (self._part.state_dict(),)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        (state,) = state_dict[ASIDE]
        self._part.load_state_dict(state)


class _One:
    """The state of a wrapper: its entries by parameter, and aside all that is not of one parameter."""

    def __init__(self, wrapper: BaseOptimWrapper) -> None:
        for need in CANNOT:
            if need in needs_of(wrapper.optimizer):
                name = type(wrapper.optimizer).__name__
                raise ConfigError(f"{name} {NEEDS[need]}: torch.distributed.checkpoint cannot hold its state")
        self._wrapper = wrapper

    def state_dict(self) -> dict[str, Any]:
        saved = self._wrapper.state_dict()
        names = _names(saved)
        params = dict(zip(names.values(), params_of(self._wrapper.optimizer)))  # a state has the groups in their order
        held = {names[number]: entry for number, entry in saved["state"].items() if number in names}
        tensors: dict[str, dict[str, Tensor]] = {name: {} for name in held}
        aside = {
            **saved,
            "state": {key: value for key, value in saved["state"].items() if key not in names},
            "held": {name: _taken_apart(entry, tensors[name], params[name]) for name, entry in held.items()},
        }
        if any(p.requires_grad and name not in held for name, p in params.items()):
            for name, entry in _template(self._wrapper).items():
                if name not in held:
                    _taken_apart(entry, tensors.setdefault(name, {}), params[name])
        return {"state": dict(sorted(tensors.items())), ASIDE: (aside,)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        (aside,) = state_dict[ASIDE]
        numbers = {name: number for number, name in _names(aside).items()}
        state: dict[Any, Any] = dict(aside["state"])
        for name, entry in aside["held"].items():
            lost: list[str] = []
            tensors = state_dict["state"].get(name, {})
            state[numbers[name]] = _put_together(entry, tensors, lost)
            if lost:
                raise CheckpointError(
                    f"the checkpoint has {listed(lost)} of {name!r}, and there was a place for {listed(tensors)} only: "
                    "make the optimizer's first updates before the load",
                    f"state.{name}",
                )
        whole = {key: value for key, value in aside.items() if key != "held"}
        self._wrapper.load_state_dict({**whole, "state": state})


class _Several:
    """The states of the members of an OptimWrapperDict."""

    def __init__(self, wrappers: OptimWrapperDict) -> None:
        self._members = {name: _One(wrapper) for name, wrapper in wrappers.items()}

    def state_dict(self) -> dict[str, Any]:
        return {name: member.state_dict() for name, member in self._members.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, member in self._members.items():
            with calls.placed("", name):
                member.load_state_dict(state_dict[name])


def _names(saved: Mapping[str, Any]) -> dict[int, str]:
    """Return the name of each parameter of a state by its number; without names, the number."""
    found: dict[int, str] = {}
    for group in saved["param_groups"]:
        names = map(plain_name, group["param_names"]) if "param_names" in group else map(str, group["params"])
        found |= zip(group["params"], names)
    return found


def _template(wrapper: BaseOptimWrapper) -> dict[str, Any]:
    """Return the entries that a first step would make, of all parameters by their names: those of a copy."""
    optimizer = wrapper.optimizer
    try:
        copied = copy.deepcopy(wrapper)
        optimizer = copied.optimizer
        with torch.enable_grad(), warnings.catch_warnings(), calls.no_exit(f"{type(optimizer).__name__}.step"):
            warnings.simplefilter("ignore")  # of a step that nobody asked for
            optimizer.zero_grad()
            for p in (p for p in params_of(optimizer) if p.requires_grad):
                if "graph" in needs_of(optimizer):
                    backward_with_graph((p + p * p / 2).sum())
                else:  # sharded as the parameter is, also if it is a row or a number, of which a sum's would not be
                    p.grad = torch.ones_like(p).add_(p.detach())
            if "modes" in needs_of(optimizer):
                optimizer.train()  # type: ignore[attr-defined]
            optimizer.step(*([lambda: 0.0] if "loss" in needs_of(optimizer) else []))
        saved = copied.state_dict()
    except Exception as error:
        raise CheckpointError(
            f"no places can be made for the state of {type(optimizer).__name__}, for a step of a copy fails: make its "
            f"first updates before the load. {describe_error(error)}"
        ) from error
    names = _names(saved)
    return {names[number]: entry for number, entry in saved["state"].items() if number in names}


@dataclass(frozen=True)
class _Place:
    """What stands for a tensor in an entry that was taken apart."""

    path: str


def _taken_apart(entry: Any, tensors: dict[str, Tensor], parameter: Tensor) -> Any:
    """Return the entry of a parameter with a place for each tensor, which ``tensors`` gets by its path.

    Single numbers stay, unless they are of a parameter of one number, whose entry may be a DTensor elsewhere.
    """

    def place(path: Sequence[Any], value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        is_like = value.ndim and value.shape == parameter.shape
        if type(value) is Tensor and value.numel() == 1 and not is_like:  # of which some libraries change the shape
            return value.detach().cpu()
        name = ".".join(str(step.key if hasattr(step, "key") else step.idx) for step in path)
        tensors[name] = value
        return _Place(name)

    return tree_map_with_path(place, entry)


def _put_together(entry: Any, tensors: Mapping[str, Tensor], lost: list[str]) -> Any:
    """Return what was taken apart; ``lost`` gets the paths of tensors that are not there."""

    def put(place: _Place) -> Tensor | None:
        if place.path not in tensors:
            lost.append(place.path)
        return tensors.get(place.path)

    return tree_map_only(_Place, put, entry)
