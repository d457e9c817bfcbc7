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

from optimzoo.optimizers.heeded import stored_facts
from optimzoo.optimizers.parts import each_of
from optimzoo.values import scalar

STANDARD = frozenset(vars(torch.optim.SGD([torch.zeros(1)], lr=0.1)))
"""Attributes that every optimizer has."""
OF_OTHERS = ("_opt_called", "grad_scale", "found_inf")
"""Those that schedulers and loss scalers of torch put there."""

PARAMETER, ID = "parameter ", "id of parameter "
"""What stands before a parameter's name in a file, where a dict has something under the parameter, or under its id."""

COMPARED = 4096
"""The numbers of a tensor that are compared; of a larger one it is not known whether it has changed."""

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

    They are numbers, texts, tensors of their own and the states of generators, and lists and dicts of numbers, texts
    and tensors; anything else is left out, as is what only its class could make again, such as a deque that was None.
    """
    found: list[Attributes] = []
    for holder, then in zip(holders(optimizer), before):
        saved = dict(_plain(holder, _as_saved))
        new = {k for k, mark in _plain(holder, _Mark) if k not in then or mark != then[k]}
        found.append(
            {
                k: saved[k]
                for k in new
                if _is_plain_kind(vars(holder)[k]) or isinstance(then.get(k), (_Mark, list, dict))
            }
        )
    return found


def put_back(optimizer: Optimizer, saved: Sequence[Attributes], before: Sequence[Attributes]) -> None:
    """Set the attributes of each of the ``holders`` to what ``changed`` found, and others to what they were at first.

    What is no value here, such as a method that a state has the name of, is left alone.
    """
    ready: list[tuple[dict[str, Any], str, Any]] = []
    for holder, found, then in zip(holders(optimizer), saved, before):
        own, now = vars(holder), dict(_plain(holder, _Mark))
        keys = {f"{kind}{name}": key for name, p in _named(holder) for kind, key in ((PARAMETER, p), (ID, id(p)))}
        device = next((p.device for group in holder.param_groups for p in group["params"]), None)
        at_first = {k: then[k] for k, mark in now.items() if k in then and mark != then[k] and _is_value(then[k])}
        for name, value in {**at_first, **found}.items():
            if name in now or not hasattr(holder, name):
                ready.append((own, name, _loaded(own.get(name), value, device, keys)))
    for own, name, value in ready:  # nothing has changed so far, and nothing fails from here on
        own[name] = _merged(own.get(name), value)


class _OtherError(Exception):
    """An attribute is something else."""


class _Mark:
    """A tensor or a generator as it is now: another one, or one that was changed since, is not equal; nor is a copy."""

    def __init__(self, leaf: Any = None) -> None:
        is_tensor = isinstance(leaf, Tensor)
        self._tensor = weakref.ref(leaf) if is_tensor else lambda: None
        values = (
            leaf
            if is_tensor and leaf.numel() <= COMPARED
            else leaf.get_state()
            if leaf is not None and not is_tensor
            else None
        )
        self._now = None if values is None else (values._version, values.tolist())

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
    names = {id(parameter): name for name, parameter in _named(holder)}
    taken = {storage for tensor in _held(holder) for storage in (id(tensor), _storage(tensor))}

    def key_of(key: Any) -> Any:
        if isinstance(key, (Tensor, int)) and (number := id(key) if isinstance(key, Tensor) else key) in names:
            return f"{PARAMETER if isinstance(key, Tensor) else ID}{names[number]}"
        return tuple(map(number_of, key)) if type(key) is tuple else number_of(key)

    def number_of(value: Any) -> Any:
        value = scalar(value)
        if type(value) not in (bool, int, float, complex, str, type(None)) or (type(value) is int and value in names):
            raise _OtherError
        return value

    def look(value: Any, is_whole: bool = False) -> Any:
        if isinstance(value, Generator) and is_whole:
            return of(value)
        if isinstance(value, Tensor):
            if type(value) is not Tensor or value.requires_grad or value.is_inference() or _storage(value) in taken:
                raise _OtherError
            return of(value)
        if isinstance(value, dict) and (is_whole or type(value) is dict):
            return {key_of(key): look(item) for key, item in value.items()}
        if type(value) in (list, tuple) or (is_whole and type(value) is deque):
            return [look(item) for item in value] if type(value) is not tuple else tuple(map(look, value))
        return number_of(value)

    for name, value in vars(holder).items():
        if name not in STANDARD and name not in OF_OTHERS:
            try:
                yield name, look(value, is_whole=True)
            except (_OtherError, RecursionError):  # one that holds itself
                continue


def _named(holder: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield each parameter, with its name, or else its place."""
    for number, group in enumerate(holder.param_groups):
        places = (f"{place} of group {number}" for place in range(len(group["params"])))
        yield from zip(group.get("param_names") or places, group["params"])


def _held(holder: Any) -> Iterator[Tensor]:
    """Yield the tensors that are saved as the state and the groups, the parameters, and their gradients."""
    for _, parameter in _named(holder):
        yield from (parameter, *([] if parameter.grad is None else [parameter.grad]))
    for entry in (*holder.state.values(), *holder.param_groups):
        yield from (t for t in (entry.values() if isinstance(entry, Mapping) else ()) if isinstance(t, Tensor))


def _storage(tensor: Tensor) -> Any:
    """Return what two tensors have in common that show the same memory; of one that has none, itself."""
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # a sparse one, or one of several tensors
        return id(tensor)


def _as_saved(leaf: Any) -> Tensor:
    """Return what a file holds of a generator, or of a tensor: of a small view, not all that it is a view of."""
    if isinstance(leaf, Generator):
        return leaf.get_state()
    tensor: Tensor = leaf
    return tensor if leaf.is_sparse or leaf.untyped_storage().nbytes() == leaf.nbytes else leaf.clone()


def _is_plain_kind(value: Any) -> bool:
    """Whether a file tells all of the kind of a value, so that it can be made where there is none yet."""
    return not isinstance(value, (Generator, deque)) and (not isinstance(value, dict) or type(value) is dict)


def _is_value(mark: Any) -> bool:
    """Whether a mark is what the attribute was, without a tensor or a generator in it."""
    inside = mark.values() if isinstance(mark, dict) else mark if isinstance(mark, list) else ()
    return not isinstance(mark, _Mark) and all(map(_is_value, inside))


def _loaded(now: Any, saved: Any, device: torch.device | None, keys: Mapping[str, Any]) -> Any:
    """Return what a state has for an attribute that is ``now`` something; nothing changes."""
    if isinstance(now, Generator):
        return Generator(now.device).set_state(saved)
    if isinstance(saved, Tensor):
        return saved.clone().to(now.device if isinstance(now, Tensor) else device)
    if isinstance(saved, dict):
        held = copy.copy(now) if isinstance(now, dict) else {}
        known = {
            k: v for k, v in saved.items() if k in keys or not str(k).startswith((PARAMETER, ID))
        }  # others are gone
        found = {keys.get(key, key): item for key, item in known.items()}
        found = {key: _loaded(held.get(key), item, device, keys) for key, item in found.items()}
        held.clear()
        held.update(found)
        return held
    if isinstance(saved, (list, tuple)):
        items = [_loaded(None, item, device, keys) for item in saved]
        return deque(items, now.maxlen) if isinstance(now, deque) else type(saved)(items)
    return saved


def _merged(now: Any, new: Any) -> Any:
    """Return an attribute as it is to be; tensors and generators, which others may hold too, are changed in place."""
    if isinstance(now, Tensor) and isinstance(new, Tensor) and (now.shape, now.dtype) == (new.shape, new.dtype):
        return now.copy_(new)
    if isinstance(now, Generator) and isinstance(new, Generator):
        return now.set_state(new.get_state())
    if type(now) is type(new) and type(new) in (list, tuple) and len(now) == len(new):
        return type(new)(map(_merged, now, new))
    if isinstance(now, dict) and type(now) is type(new):
        for key in new:
            new[key] = _merged(now.get(key), new[key])
    return new
