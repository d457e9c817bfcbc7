"""Wrappers and schedules in ``torch.distributed.checkpoint``, which reads only what there is already a place for.

A fresh optimizer has no state, so nothing of a checkpoint has a place in it, and nothing is read, without a word. Here
every parameter that is trained has its entries: those that it lacks are taken from a step of a copy. A part that is
never taken apart says which of them are the optimizer's own.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.stateful import Stateful

from optimzoo import calls
from optimzoo.errors import CheckpointError, ConfigError
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
        >>> fresh = build_optim_wrapper(torch.nn.Linear(2, 1), dict(optimizer=dict(type="AdamW", lr=0.1)))
        >>> {name: sorted(entry) for name, entry in stateful(fresh).state_dict()["state"].items()}
        {'bias': ['exp_avg', 'exp_avg_sq', 'step'], 'weight': ['exp_avg', 'exp_avg_sq', 'step']}
    """
    if isinstance(part, OptimWrapperDict):
        return _Several(part)
    if isinstance(part, BaseOptimWrapper):
        return _One(part)
    if isinstance(part, torch.optim.Optimizer) or not isinstance(part, Stateful):
        raise ConfigError(
            "an optimizer wrapper or schedules are wanted; a bare optimizer is saved by get_optimizer_state_dict of "
            f"torch.distributed.checkpoint.state_dict, got {part!r}"
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
        held = {names[number]: entry for number, entry in saved["state"].items() if number in names}
        aside = {
            **saved,
            "state": {key: value for key, value in saved["state"].items() if key not in names},
            "held": {name: _outline(entry) for name, entry in held.items()},
        }
        params = params_of(self._wrapper.optimizer)  # a state has the groups in their order
        lacks = any(p.requires_grad and name not in held for name, p in zip(names.values(), params))
        entries = {**(_template(self._wrapper) if lacks else {}), **held}
        return {"state": {name: _own(entries[name]) for name in sorted(entries)}, ASIDE: (aside,)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        (aside,) = state_dict[ASIDE]
        numbers = {name: number for number, name in _names(aside).items()}
        state: dict[Any, Any] = dict(aside["state"])
        for name, wanted in aside["held"].items():
            entry = state_dict["state"].get(name, {})
            found = {key: entry[key] for key in wanted if key in entry}
            if _outline(found) != wanted:
                raise CheckpointError(
                    f"the checkpoint has {listed(wanted)} of {name!r}, and there was a place for {listed(found)} only: "
                    "make the optimizer's first updates before the load",
                    f"state.{name}",
                )
            state[numbers[name]] = found
        whole = {key: value for key, value in aside.items() if key != "held"}
        self._wrapper.load_state_dict({**whole, "state": state})


class _Several:
    """The states of the members of an OptimWrapperDict."""

    def __init__(self, wrappers: OptimWrapperDict) -> None:
        self._wrappers = wrappers
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
        with torch.enable_grad(), calls.no_exit(f"{type(optimizer).__name__}.step"):
            optimizer.zero_grad()
            for p in (p for p in params_of(optimizer) if p.requires_grad):
                (backward_with_graph if "graph" in needs_of(optimizer) else Tensor.backward)((p + p * p / 2).sum())
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


def _own(value: Any) -> Any:
    """Return containers that may be written into, with the tensors of the state."""
    if isinstance(value, Mapping):
        return {key: _own(inner) for key, inner in value.items()}
    return [_own(inner) for inner in value] if isinstance(value, list) else value


def _outline(value: Any) -> Any:
    """Return which places a value has."""
    if isinstance(value, Mapping):
        return {key: _outline(inner) for key, inner in value.items()}
    return [_outline(inner) for inner in value] if isinstance(value, list) else None
