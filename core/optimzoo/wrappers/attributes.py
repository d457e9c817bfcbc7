"""What an optimizer keeps in attributes of its own, such as a count of its steps: torch's state dict leaves it out."""

from __future__ import annotations

import copy
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer

from optimzoo.errors import CheckpointError, join_path, shown
from optimzoo.optimizers.heeded import stored_facts
from optimzoo.optimizers.parts import each_of
from optimzoo.values import is_number, scalar

STANDARD = frozenset(vars(torch.optim.SGD([torch.zeros(1)], lr=0.1)))
"""Attributes that every optimizer has."""
OF_OTHERS = ("_opt_called", "grad_scale", "found_inf")
"""Those that schedulers and loss scalers of torch put there."""

PARAMETER, ID = "parameter ", "id of parameter "
"""What stands before a parameter's name in a file, where a dict has something under the parameter, or under its id."""

Attributes = Mapping[str, Any]


def holders(optimizer: Optimizer) -> list[Any]:
    """Return an optimizer and those of which it is made, each once."""
    inside = getattr(optimizer, "optim", None)  # ZeRO has one
    return [*{id(o): o for o in (*each_of(optimizer), optimizer, inside) if isinstance(o, Optimizer)}.values()]


def marks(optimizer: Optimizer) -> list[Attributes]:
    """Return, for each of the ``holders``, what tells later whether its attributes have changed."""
    return [dict(_plain(holder, _Mark)) for holder in holders(optimizer)]


def changed(optimizer: Optimizer, before: Sequence[Attributes]) -> list[Attributes]:
    """Return, for each of the ``holders``, the attributes that have changed since ``before``, as a file can hold them.

    They are numbers, texts, tensors of their own and the states of generators, and lists and dicts of these; anything
    else is left out.
    """
    found: list[Attributes] = []
    for holder, then in zip(holders(optimizer), before):
        saved = dict(_plain(holder, lambda leaf: leaf.get_state() if isinstance(leaf, Generator) else leaf))
        found.append({k: saved[k] for k, mark in _plain(holder, _Mark) if k not in then or mark != then[k]})
    return found


def put_back(optimizer: Optimizer, saved: Sequence[Attributes], before: Sequence[Attributes]) -> None:
    """Set the attributes of each of the ``holders`` to what ``changed`` found, and others to what they were at first.

    What is no value here, such as a method that a state has the name of, is left alone.

    Raises:
        CheckpointError: A text stands for a number.
    """
    for holder, found, then in zip(holders(optimizer), saved, before):
        own, now = vars(holder), dict(_plain(holder, _Mark))
        keys = {f"{kind}{name}": key for name, p in _named(holder) for kind, key in ((PARAMETER, p), (ID, id(p)))}
        device = next((p.device for group in holder.param_groups for p in group["params"]), None)
        at_first = {k: then[k] for k, mark in now.items() if k in then and mark != then[k] and _is_value(then[k])}
        for name, value in {**at_first, **found}.items():
            if isinstance(value, str) and is_number(own.get(name)):
                raise CheckpointError(f"a number is wanted, got {shown(value)}", join_path("attributes", name))
            if name in now or not hasattr(holder, name):
                own[name] = _loaded(own.get(name), value, device, keys)


class _OtherError(Exception):
    """An attribute is something else."""


class _Mark:
    """A tensor or a generator as it is now: another one, or one that was changed since, is not equal; nor is a copy."""

    def __init__(self, leaf: Any = None) -> None:
        self._tensor = weakref.ref(leaf) if isinstance(leaf, Tensor) else lambda: None
        self._now = leaf._version if isinstance(leaf, Tensor) else leaf and leaf.get_state().tolist()

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, _Mark) and self._now is not None and self._now == other._now
        return same and self._tensor() is other._tensor()  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> Any:
        return _Mark, ()


def _plain(holder: Any, of: Callable[[Any], Any]) -> Iterator[tuple[str, Any]]:
    """Yield each attribute that is plain, with what ``of`` makes of the tensors and generators in it.

    There is none of a class that is known to resume exactly without them.
    """
    facts = stored_facts(type(holder))
    if facts is not None and facts.value("resume") == "exact":
        return
    entries = [*holder.state.values(), *holder.param_groups]
    others = {id(t) for entry in entries if isinstance(entry, Mapping) for t in entry.values() if isinstance(t, Tensor)}
    names = {id(parameter): name for name, parameter in _named(holder)}

    def key_of(key: Any) -> Any:
        if isinstance(key, (Tensor, int)) and (number := id(key) if isinstance(key, Tensor) else key) in names:
            return f"{PARAMETER if isinstance(key, Tensor) else ID}{names[number]}"
        if not all(isinstance(each, (str, int)) for each in (key if isinstance(key, tuple) else (key,))):
            raise _OtherError
        return key

    def look(value: Any) -> Any:
        if isinstance(value, Generator):
            return of(value)
        if isinstance(value, Tensor):
            if type(value) is not Tensor or value.requires_grad or value.is_inference() or id(value) in others:
                raise _OtherError
            return of(value)
        if isinstance(value, dict):
            return {key_of(key): look(item) for key, item in value.items()}
        if type(value) in (list, tuple, deque):
            return [look(item) for item in value]
        return _number(scalar(value))

    for name, value in vars(holder).items():
        if name not in STANDARD and name not in OF_OTHERS:
            try:
                yield name, look(value)
            except _OtherError:
                continue


def _named(holder: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield each parameter, with its name, or else its place."""
    for number, group in enumerate(holder.param_groups):
        places = (f"{place} of group {number}" for place in range(len(group["params"])))
        yield from zip(group.get("param_names") or places, group["params"])


def _number(value: Any) -> Any:
    if type(value) not in (bool, int, float, complex, str, type(None)):
        raise _OtherError
    return value


def _is_value(mark: Any) -> bool:
    """Whether a mark is what the attribute was, without a tensor or a generator in it."""
    inside = mark.values() if isinstance(mark, dict) else mark if isinstance(mark, list) else ()
    return not isinstance(mark, _Mark) and all(map(_is_value, inside))


def _loaded(now: Any, saved: Any, device: torch.device | None, keys: Mapping[str, Any]) -> Any:
    """Return what takes the place of ``now`` in an attribute."""
    if isinstance(now, Generator):
        now.set_state(saved)
        return now
    if isinstance(saved, Tensor):
        return saved.clone().to(now.device if isinstance(now, Tensor) else device)
    if isinstance(saved, dict):
        held = copy.copy(now) if isinstance(now, dict) else {}
        items = [(keys.get(key, key), item) for key, item in saved.items()]
        found = {key: _loaded(held.get(key), item, device, keys) for key, item in items}
        held.clear()
        held.update(found)
        return held
    if isinstance(saved, (list, tuple)):
        items = [_loaded(None, item, device, keys) for item in saved]
        return deque(items, now.maxlen) if isinstance(now, deque) else tuple(items) if type(now) is tuple else items
    return saved
