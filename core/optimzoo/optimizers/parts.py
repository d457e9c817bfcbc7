"""Several optimizers in one, each for a part of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from optimzoo.errors import CheckpointError, ConfigError, shown
from optimzoo.names.zoo import needs_of
from optimzoo.optimizers.param_groups import Group

PART = "part"
"""The key of a group that names its part."""
CANNOT = {
    "model": "is built with the whole model",
    "process_group": "spreads its state over processes: go the other way round, and spread each by itself",
    "two_passes": "moves the parameters, and evaluates the loss again, between which the other parts would step",
}
"""The needs of an optimizer that it cannot have as a part, and why."""


class Parts(Optimizer):
    """Several optimizers as one: one list of groups, one step, one state.

    A group has the name of its part under ``"part"``. In a step the parts go one after the other; one that evaluates
    the loss itself comes last.

    Args:
        parts: The optimizers by the names of the parts, over different parameters.

    Attributes:
        parts: The same.

    Raises:
        ConfigError: A parameter is in two parts, or an optimizer cannot be one of several.

    Examples:
        >>> import torch
        >>> from optimzoo import build_optimizer
        >>> model = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 9))
        >>> optimizer = build_optimizer(model, dict(type="Muon", lr=0.02, rest=dict(type="AdamW", lr=0.001)))
        >>> for group in optimizer.param_groups:
        ...     print(group["part"], group["lr"], group["param_names"])
        Muon 0.02 ['1.weight']
        rest 0.001 ['0.weight', '1.bias', '2.weight', '2.bias']
    """

    def __init__(self, parts: Mapping[str, Optimizer]) -> None:
        self.parts = dict(parts)
        for name, optimizer in self.parts.items():
            for need in needs_of(optimizer) & CANNOT.keys():
                raise ConfigError(f"{type(optimizer).__name__} cannot be a part: it {CANNOT[need]}", name)
            for group in optimizer.param_groups:
                group[PART] = name
        evaluate = [name for name, optimizer in self.parts.items() if "closure" in needs_of(optimizer)]
        if len(evaluate) > 1:
            raise ConfigError(f"{' and '.join(evaluate)} would each evaluate the loss themselves: one part may")
        self._last = [name for name, optimizer in self.parts.items() if needs_of(optimizer) & {"closure", "loss"}]
        self._joins = True
        try:
            groups = [group for each in self.parts.values() for group in each.param_groups]
            super().__init__(groups, _common(groups))
        except ValueError as error:
            raise ConfigError(f"a parameter is in two parts: {error}") from error
        self._joins = False

    @property  # type: ignore[override]
    def state(self) -> MutableMapping[Any, Any]:
        """The states of the parameters of all parts."""
        return _States(self.parts)

    @state.setter
    def state(self, state: Any) -> None:
        pass  # torch's __init__ sets one, and the states are those of the parts

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Let each part make its step, and return the loss if there is a ``closure`` that computes it."""
        loss = None
        if closure is not None and len(self._last) < len(self.parts):
            with torch.enable_grad():
                loss = closure()
        for name, optimizer in self.parts.items():
            if name not in self._last:
                optimizer.step()
        for name in self._last:
            own = self.parts[name].step(closure)
            loss = own if loss is None else loss
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parts."""
        for optimizer in self.parts.values():
            optimizer.zero_grad(set_to_none)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group to the part that it names under ``"part"``.

        Raises:
            ConfigError: It names none.
        """
        if not self._joins:
            name = param_group.get(PART)
            if name not in self.parts:
                raise ConfigError(
                    f"which part is the group of? {PART!r} is one of {', '.join(self.parts)}, got {shown(name)}"
                )
            part = self.parts[name]
            part.add_param_group({key: value for key, value in param_group.items() if key != PART})
            param_group = part.param_groups[-1]
            param_group[PART] = name
        super().add_param_group(param_group)

    def train(self) -> None:
        """Switch the parts that have modes to the parameters to train."""
        self._switch("train")

    def eval(self) -> None:
        """Switch the parts that have modes to the parameters to use."""
        self._switch("eval")

    def _switch(self, mode: str) -> None:
        for optimizer in self.parts.values():
            if "modes" in needs_of(optimizer):
                getattr(optimizer, mode)()

    def curvature_due(self) -> bool:
        """Whether a part that estimates curvature wants a fresh estimate for the next update."""
        return any(each.curvature_due() for each in self._curved())

    def update_curvature(self, loss: Tensor, sampled_loss: Any) -> None:
        """Let the parts whose estimate is due make it; see ``optimzoo.wrappers.curvature``."""
        for each in self._curved():
            if each.curvature_due():
                each.update_curvature(loss, sampled_loss)

    def _curved(self) -> list[Any]:
        return [optimizer for optimizer in self.parts.values() if "curvature" in needs_of(optimizer)]

    def state_dict(self) -> dict[str, Any]:
        """Return the state as torch's optimizers lay it out; a group tells its part.

        What a part keeps beside its groups and the states of parameters is under ``"parts"``.
        """
        numbers = {id(p): i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        state: dict[Any, Any] = {}
        groups: dict[int, Group] = {}
        beside: dict[str, dict[str, Any]] = {}
        for name, optimizer in self.parts.items():
            saved = optimizer.state_dict()
            own = _numbers(optimizer, numbers)
            state |= {own.get(key, f"{name}.{key}"): value for key, value in saved["state"].items()}
            for group, packed in zip(optimizer.param_groups, saved["param_groups"]):
                groups[id(group)] = {**packed, "params": [own[number] for number in packed["params"]]}
            rest = {key: value for key, value in saved.items() if key not in ("state", "param_groups")}
            beside |= {name: rest} if rest else {}
        packed_groups = [groups[id(group)] for group in self.param_groups]
        laid_out: dict[str, Any] = {"state": state, "param_groups": packed_groups, "entries": len(state)}
        return {**laid_out, "parts": beside} if beside else laid_out

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load what ``state_dict`` returned.

        Raises:
            CheckpointError: It is not of these parts, or has lost what it held of the parameters.
        """
        if state_dict.get("entries") and not state_dict["state"]:
            raise CheckpointError(
                f"it was saved with {state_dict['entries']} entries, and none are there. torch.distributed.checkpoint "
                "reads only what the loading side has: give it get_optimizer_state_dict(model, optimizer)",
                "state",
            )
        saved = state_dict["param_groups"]
        told, own = ([group.get(PART) for group in groups] for groups in (saved, self.param_groups))
        if told != own:
            raise CheckpointError(f"it is of groups of the parts {told}, and these are of {own}", "param_groups")
        numbers = {id(p): i for g, s in zip(self.param_groups, saved) for p, i in zip(g["params"], s["params"])}
        places = {id(group): number for number, group in enumerate(self.param_groups)}
        order: list[Any] = [None] * len(saved)
        for name, optimizer in self.parts.items():
            here = {outer: inner for inner, outer in _numbers(optimizer, numbers).items()}
            at = [places[id(group)] for group in optimizer.param_groups]
            strings = {
                key.removeprefix(f"{name}."): value
                for key, value in state_dict["state"].items()
                if isinstance(key, str) and key.startswith(f"{name}.")
            }
            state = {here[key]: value for key, value in state_dict["state"].items() if key in here}
            groups = [{**saved[place], "params": [here[number] for number in saved[place]["params"]]} for place in at]
            beside = state_dict.get("parts", {}).get(name, {})
            optimizer.load_state_dict({**beside, "state": {**state, **strings}, "param_groups": groups})
            for place, group in zip(at, optimizer.param_groups):
                order[place] = group
        self.param_groups = order

    def __getstate__(self) -> dict[str, Any]:
        # A copy of a torch optimizer forgets its hooks, and what its class keeps outside of the state.
        inner = {name: (type(each), dict(vars(each))) for name, each in self.parts.items()}
        return {**vars(self), "parts": inner}

    def __setstate__(self, state: dict[str, Any]) -> None:
        parts = {}
        for name, (cls, held) in state["parts"].items():
            part = parts[name] = cast(Optimizer, cls.__new__(cls))
            part.__setstate__(held)
        super().__setstate__({**state, "parts": parts})

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {optimizer!r}" for name, optimizer in self.parts.items())


def each_of(optimizer: Any) -> list[Any]:
    """Return the optimizers of the parts, or the one that has none."""
    return [*optimizer.parts.values()] if isinstance(optimizer, Parts) else [optimizer]


def part_of(optimizer: Any, group: Mapping[str, Any]) -> Any:
    """Return the optimizer whose group it is."""
    return optimizer.parts[group[PART]] if isinstance(optimizer, Parts) else optimizer


class _States(MutableMapping[Any, Any]):
    """The states of the parameters of all parts."""

    def __init__(self, parts: Mapping[str, Optimizer]) -> None:
        self._states = [(optimizer.state, optimizer.param_groups) for optimizer in parts.values()]
        self._homes: dict[int, Any] = {}

    def _of(self, parameter: Any) -> Any:
        for state, _ in self._states:
            if parameter in state:
                return state
        self._homes = self._homes or {
            id(p): state for state, groups in self._states for g in groups for p in g["params"]
        }
        return self._homes[id(parameter)]

    def __getitem__(self, parameter: Any) -> Any:
        return self._of(parameter)[parameter]

    def __contains__(self, parameter: Any) -> bool:
        return any(parameter in state for state, _ in self._states)

    def get(self, parameter: Any, default: Any = None) -> Any:
        return next((state[parameter] for state, _ in self._states if parameter in state), default)

    def __setitem__(self, parameter: Any, value: Any) -> None:
        self._of(parameter)[parameter] = value

    def __delitem__(self, parameter: Any) -> None:
        del self._of(parameter)[parameter]

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(state for state, _ in self._states)

    def __len__(self) -> int:
        return sum(len(state) for state, _ in self._states)


def _common(groups: list[Group]) -> dict[str, Any]:
    """Return the numbers that every group has a setting for, as the first of them has it."""
    first, *others = groups
    kinds = (int, float, tuple, Tensor)
    return {
        k: v
        for k, v in first.items()
        if isinstance(v, kinds) and not isinstance(v, bool) and all(k in g for g in others)
    }


def _numbers(optimizer: Optimizer, numbers: Mapping[int, int]) -> dict[Any, Any]:
    """Return the number in the whole of each parameter of a part by its number there."""
    return dict(enumerate(numbers[id(p)] for group in optimizer.param_groups for p in group["params"]))
