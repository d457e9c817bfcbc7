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

from optimzoo.groups.modules import plain_name
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
"""The numbers of a tensor that are compared; a larger one has changed if it is another, or written to."""

Attributes = Mapping[str, Any]


def holders(optimizer: Optimizer) -> list[Any]:
    """Return an optimizer and those of which it is made, or that it steps, as ZeRO and SAM do, each once."""
    found = {id(o): o for o in (*each_of(optimizer), optimizer) if isinstance(o, Optimizer)}
    waiting = [*found.values()]
    while waiting:
        inside = [o for o in vars(waiting.pop(0)).values() if isinstance(o, Optimizer) and id(o) not in found]
        found |= {id(o): o for o in inside}
        waiting += inside
    return [*found.values()]


def marks(optimizer: Optimizer) -> list[Attributes]:
    """Return, for each of the ``holders``, what tells later whether its attributes have changed."""
    made: dict[int, _Mark] = {}

    def mark(leaf: Any) -> _Mark:
        return made[id(leaf)] if id(leaf) in made else made.setdefault(id(leaf), _Mark(leaf))

    return [{name: _mapped(value, mark) for name, value in _plain(holder)} for holder in holders(optimizer)]


def changed(optimizer: Optimizer, before: Sequence[Attributes]) -> list[Attributes]:
    """Return, for each of the ``holders``, the attributes that have changed since ``before``, as a file can hold them.

    They are numbers, texts, tensors of their own and the states of generators, and lists and dicts of numbers, texts
    and tensors; anything else is left out, as is what only its class could make again, such as a deque that was None.
    """
    found: list[Attributes] = []
    for holder, then in zip(holders(optimizer), before):
        now = {k: value for k, value in _plain(holder) if k not in then or not _is_same(then[k], value)}
        can_be_made = [
            k for k in now if _is_plain_kind(vars(holder)[k]) or isinstance(then.get(k), (_Mark, list, dict))
        ]
        found.append({k: _mapped(now[k], _as_saved) for k in can_be_made})
    return found


def rewind(optimizer: Optimizer, before: Sequence[Attributes]) -> None:
    """Set the attributes of each of the ``holders`` that steps have changed to what they were ``before``, if known."""
    at_first = []
    for holder, then in zip(holders(optimizer), before):
        now = dict(_plain(holder))
        for name in [name for name in now if name not in then and _has_default(holder, name)]:
            del vars(holder)[name]
        others = [name for name, value in now.items() if name in then and not _is_same(then[name], value)]
        at_first.append({k: _mapped(then[k], lambda mark: mark.value) for k in others if _is_known(then[k])})
    put_back(optimizer, at_first)


def put_back(optimizer: Optimizer, saved: Sequence[Attributes]) -> None:
    """Set the attributes of each of the ``holders`` to what ``changed`` found.

    They are new objects: nothing else that holds the old ones is changed. What is no value here, such as a method that
    a state has the name of, is left alone.
    """
    memo: dict[int, Tensor] = {}
    for holder, found in zip(holders(optimizer), saved):
        own, now = vars(holder), dict(_plain(holder))
        keys = {f"{kind}{name}": key for name, p in _named(holder) for kind, key in ((PARAMETER, p), (ID, id(p)))}
        device = next((p.device for group in holder.param_groups for p in group["params"]), None)
        for name, value in found.items():
            if name in now or not hasattr(holder, name) or (name not in own and _has_default(holder, name)):
                own[name] = _loaded(own.get(name), value, device, keys, memo)


class _OtherError(Exception):
    """An attribute is something else."""


class _Mark:
    """A tensor or a generator as it is now: by its values, or else by which it is and how often it was written to."""

    def __init__(self, leaf: Tensor | Generator) -> None:
        self.value: Tensor | None = None
        self._itself: tuple[weakref.ref[Tensor], int] | None = None
        if isinstance(leaf, Generator) or leaf.numel() <= COMPARED:
            self.value = _as_saved(leaf).clone()
        else:
            self._itself = weakref.ref(leaf), leaf._version

    def is_of(self, leaf: Any) -> bool:
        """Whether a tensor or a generator is as it was."""
        if not isinstance(leaf, (Tensor, Generator)):
            return False
        if self.value is None:
            itself, version = self._itself or (lambda: None, 0)
            return isinstance(leaf, Tensor) and itself() is leaf and leaf._version == version
        now = _as_saved(leaf)
        kinds = ((t.shape, t.dtype, t.device) for t in (self.value, now))
        return len(set(kinds)) == 1 and self.value.equal(now)

    def __getstate__(self) -> Any:
        return {"value": self.value, "_itself": None}  # of a copy it is not known which is meant


def _mapped(value: Any, of: Callable[[Any], Any]) -> Any:
    """Return lists and dicts of leaves with what ``of`` makes of the tensors and generators, or marks, in them."""
    if isinstance(value, dict):
        return {key: _mapped(item, of) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(item, of) for item in value)
    return of(value) if isinstance(value, (Tensor, Generator, _Mark)) else value


def _is_same(mark: Any, value: Any) -> bool:
    """Whether a plain attribute is as it was marked."""
    if isinstance(mark, _Mark):
        return mark.is_of(value)
    if type(mark) is not type(value):
        return False
    if isinstance(mark, dict):
        return mark.keys() == value.keys() and all(_is_same(item, value[key]) for key, item in mark.items())
    if isinstance(mark, (list, tuple)):
        return len(mark) == len(value) and all(map(_is_same, mark, value))
    return bool(mark == value)


def _is_known(mark: Any) -> bool:
    inside = mark.values() if isinstance(mark, dict) else mark if isinstance(mark, (list, tuple)) else ()
    return not (isinstance(mark, _Mark) and mark.value is None) and all(map(_is_known, inside))


def _plain(holder: Any) -> Iterator[tuple[str, Any]]:
    """Yield each attribute that is plain, its containers as lists, tuples and dicts with keys that a file can hold.

    There is none of a class that is known to resume exactly without them.
    """
    facts = stored_facts(type(holder))
    if facts is not None and facts.value("resume") == "exact":
        return
    own = {name: value for name, value in vars(holder).items() if name not in STANDARD and name not in OF_OTHERS}
    if not own:
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
        if isinstance(value, Generator) and is_whole and value is not torch.default_generator:  # which a run saves
            return value
        if isinstance(value, Tensor):
            if not _is_simple(value) or _storage(value) in taken:
                raise _OtherError
            return value
        if isinstance(value, dict) and (is_whole or type(value) is dict):
            return {key_of(key): look(item) for key, item in value.items()}
        if type(value) in (list, tuple) or (is_whole and type(value) is deque):
            return [look(item) for item in value] if type(value) is not tuple else tuple(map(look, value))
        return number_of(value)

    for name, value in own.items():
        try:
            yield name, look(value, is_whole=True)
        except (_OtherError, RecursionError):  # one that holds itself
            continue


def _named(holder: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield each parameter, with its name, or else its place."""
    for number, group in enumerate(holder.param_groups):
        places = (f"{place} of group {number}" for place in range(len(group["params"])))
        yield from zip(map(plain_name, group.get("param_names") or places), group["params"])


def _held(holder: Any) -> Iterator[Tensor]:
    """Yield the tensors that are saved as the state and the groups, the parameters, and their gradients."""
    for _, parameter in _named(holder):
        yield from (parameter, *([] if parameter.grad is None else [parameter.grad]))
    waiting = [*holder.state.values(), *({k: v for k, v in g.items() if k != "params"} for g in holder.param_groups)]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, (Mapping, list, tuple)):
            waiting += item.values() if isinstance(item, Mapping) else item


def _is_simple(tensor: Tensor) -> bool:
    """Whether a file holds all of a tensor, and its values can be looked at."""
    is_dense = tensor.layout is torch.strided and not (tensor.is_quantized or tensor.is_meta or tensor.is_nested)
    return type(tensor) is Tensor and is_dense and not (tensor.requires_grad or tensor.is_inference())


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
    return tensor if leaf.untyped_storage().nbytes() == leaf.nbytes else leaf.clone()


def _has_default(holder: Any, name: str) -> bool:
    """Whether its class has a value of that name, which is that of the attribute until a step changes it."""
    return hasattr(type(holder), name) and isinstance(getattr(type(holder), name), (int, float, str, type(None)))


def _is_plain_kind(value: Any) -> bool:
    """Whether a file tells all of the kind of a value, so that it can be made where there is none yet."""
    return not isinstance(value, (Generator, deque)) and (not isinstance(value, dict) or type(value) is dict)


def _loaded(now: Any, saved: Any, device: torch.device | None, keys: Mapping[str, Any], memo: dict[int, Tensor]) -> Any:
    """Return what a state has for an attribute that is ``now`` something; a tensor under two names stays one."""
    if isinstance(now, Generator) and saved is not None:
        return Generator(now.device).set_state(saved)
    if isinstance(saved, Tensor):
        if id(saved) not in memo:
            memo[id(saved)] = saved.clone().to(now.device if isinstance(now, Tensor) else device)
        return memo[id(saved)]
    if isinstance(saved, dict):
        held = copy.copy(now) if isinstance(now, dict) else {}
        known = [k for k in saved if k in keys or not str(k).startswith((PARAMETER, ID))]  # others are gone
        found = {keys.get(k, k): _loaded(held.get(keys.get(k, k)), saved[k], device, keys, memo) for k in known}
        held.clear()
        held.update(found)
        return held
    if isinstance(saved, (list, tuple)):
        items = [_loaded(None, item, device, keys, memo) for item in saved]
        return deque(items, now.maxlen) if isinstance(now, deque) else type(saved)(items)
    return saved
