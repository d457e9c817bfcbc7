"""A buffer of which parameters are parts, beside one of their gradients and one for each number of their state."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from itertools import groupby
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Any]
ROW = 128
"""Bytes of which the size of a parameter on a CPU is a multiple. The last elements of a tensor, which fill no vector of
the processor (nor two, as many as a loop takes at once), go through other code, whose results may differ by a bit."""
_IN_A_LIST = max(map(sys.getrefcount, [object()]))


def padded(size: int, like: Tensor) -> int:
    """Return how many elements of a buffer a parameter of ``size`` elements takes."""
    row = ROW // like.element_size()
    return -(-size // row) * row


class Chunk:
    """Parameters in one buffer, which an optimizer steps as one parameter.

    ``optimizer.state`` has an entry for each parameter, as without a buffer: its tensors are parts of those of the
    buffer's state, and what is one number for the whole, such as a count of steps, is shared.

    Args:
        params: The parameters, dense and each with a gradient; they move into the buffer.
        states: ``optimizer.state``; what it has of the parameters is of one form.
    """

    def __init__(self, params: Iterable[Tensor], states: Any) -> None:
        self.params = sorted(params, key=Tensor.numel)  # those of one size are the rows of a matrix
        self._starts, size = [], 0
        for parameter in self.params:
            self._starts.append(size)
            size += padded(parameter.numel(), parameter)
        first = self.params[0]
        self._rounds = first.element_size() < 4
        of_a_thread = torch.get_num_threads() * ROW // first.element_size()  # each begins with a row of its own
        self.buffer = nn.Parameter(first.detach().new_zeros(-(-size // of_a_thread) * of_a_thread))
        for parameter, part in zip(self.params, self._parts(self.buffer.data)):
            part.copy_(parameter.detach())
            parameter.data = part
        self._note_places()
        self._renew_gradients()
        self.views: list[View] = []
        self.is_stale = False
        self.state: State = {}
        self._shown: State = {}
        if first in states:
            self._take_over([states[parameter] for parameter in self.params])
            self._present(states)

    def is_whole(self, states: Any, look_at_states: bool) -> bool:
        """Whether parameters and, if they are to be looked at, their states are where they were put."""
        if self.is_stale or [parameter.data_ptr() for parameter in self.params] != self._places:
            return False
        return not look_at_states or all(states.get(p) is view for p, view in zip(self.params, self.views))

    def gather(self) -> list[Tensor]:
        """Move the gradients into the buffer, or return the parameters that have none, or one that it cannot take."""
        grads: list[Any] = [parameter.grad for parameter in self.params]
        if all(map(is_, grads, self.grads)):
            return []
        dtype, strided = self.grad.dtype, torch.strided
        wrong = [p for p, g in zip(self.params, grads) if g is None or g.layout is not strided or g.dtype != dtype]
        if self._rounds and not wrong:
            wrong = [p for p, g in zip(self.params, grads) if not steps_in_vectors(p, g)]
        if not wrong:
            own = 1 + len(self.grads) + len(self._rows)
            is_kept = max(map(sys.getrefcount, self.grads)) > _IN_A_LIST or _others(self.grad, own)
            if is_kept and not any(map(is_, grads, self.grads)):
                self._renew_gradients()  # somebody keeps those of the last update, which must not change
            torch._foreach_copy_(self.grads, grads)
            for parameter, grad in zip(self.params, self.grads):
                parameter.grad = grad
        return wrong

    def norms(self) -> Tensor:
        """Return the norm of each gradient, in the order of ``params``: to the bit that of each by itself."""
        return torch.cat([torch.linalg.vector_norm(rows, dim=1) for rows in self._rows])

    def after_step(self, states: Any) -> None:
        """Show what a step has made of the buffer."""
        if self.buffer.data_ptr() != self._place:  # the optimizer has put another tensor in its place
            for parameter, part in zip(self.params, self._parts(self.buffer.data)):
                parameter.data = part
            self._note_places()
        torch.autograd.graph.increment_version(self.params)  # as a step of each does, for autograd's checks
        self._present(states)

    def dissolve(self, states: Any) -> None:
        """Leave each parameter in memory of its own, with a state of its own."""
        # A `state_dict` that is kept goes on to show the parameters, which stay where they are then.
        is_shared = _others(self.buffer, 1 + len(self.params))
        for parameter, place in zip(self.params, self._places):
            if parameter.data_ptr() == place and not is_shared:
                parameter.data = parameter.data.clone()
        for parameter, view in zip(self.params, self.views):
            if states.get(parameter) is view:
                states[parameter] = {k: v.clone() if isinstance(v, Tensor) else v for k, v in dict.items(view)}

    def _parts(self, whole: Tensor) -> list[Tensor]:
        # By .data each has a count of versions of its own, by which the wrapper knows who wrote a gradient.
        at = zip(self.params, self._starts)
        return [whole.as_strided(p.shape, p.stride(), whole.storage_offset() + start).data for p, start in at]

    def _note_places(self) -> None:
        self._places = [parameter.data_ptr() for parameter in self.params]
        self._place = self.buffer.data_ptr()

    def _renew_gradients(self) -> None:
        self.buffer.grad = self.grad = torch.zeros_like(self.buffer.data)
        self.grads, self._rows = self._parts(self.grad), []
        for size, run in groupby(zip(self._starts, self.params), lambda pair: pair[1].numel()):
            starts = [start for start, _ in run]
            self._rows.append(self.grad.as_strided((len(starts), size), (padded(size, self.grad), 1), starts[0]))

    def _take_over(self, states: Sequence[State]) -> None:
        for key, value in states[0].items():
            if is_part(value, self.params[0]):
                self.state[key] = torch.zeros(self.buffer.shape, dtype=value.dtype, device=value.device)
                torch._foreach_copy_(self._parts(self.state[key]), [state[key] for state in states])
            else:
                self.state[key] = value.clone() if isinstance(value, Tensor) else value

    def _present(self, states: Any) -> None:
        if self.state and not self.views:
            self.views = [View(self) for _ in self.params]
            states.update(zip(self.params, self.views))
        for key, value in self.state.items():
            if key not in self._shown or self._shown[key] is not value:
                whole = is_part(value, self.buffer)
                for view, part in zip(self.views, self._parts(value) if whole else [value] * len(self.views)):
                    dict.__setitem__(view, key, part)
        self._shown = dict(self.state)


class View(dict[str, Any]):
    """The state of one parameter of a chunk. Copied or pickled it is a dict of its own.

    To change it ends the chunk, and so does to get hold of a count in it, which may be changed in place: it is the
    parameter's own then.
    """

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk

    def alone(self) -> State:
        """Return it as one that shares nothing."""
        return {k: v.clone() if _is_count(v) else v for k, v in dict.items(self)}

    def _part(self) -> None:
        self._chunk.is_stale = True
        shared = {*map(id, self._chunk.state.values())}
        dict.update(self, {k: v.clone() for k, v in dict.items(self) if _is_count(v) and id(v) in shared})

    def __getitem__(self, key: str) -> Any:
        if _is_count(dict.get(self, key)):
            self._part()
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return an entry, as of a dict."""
        if _is_count(super().get(key)):
            self._part()
        return super().get(key, default)

    def values(self) -> Any:
        """Return its values, as those of a dict."""
        self._part()
        return super().values()

    def items(self) -> Any:
        """Return its entries, as those of a dict."""
        self._part()
        return super().items()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (self.alone(),)


def _ends_the_chunk(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def change(self: View, *args: Any, **kwargs: Any) -> Any:
        self._chunk.is_stale = True
        return method(self, *args, **kwargs)

    return change


for _name in ("__setitem__", "__delitem__", "__ior__", "setdefault", "pop", "popitem", "update", "clear"):
    setattr(View, _name, _ends_the_chunk(getattr(dict, _name)))


def _is_count(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0


def _others(tensor: Tensor, own: int) -> bool:
    """Whether more than ``own`` tensors use its memory, as far as torch tells."""
    storage = tensor.untyped_storage()  # which is counted too
    return bool(getattr(torch._C, "_storage_Use_Count", lambda _: 0)(storage._cdata) > own + 1)


def steps_in_vectors(parameter: Tensor, grad: Tensor) -> bool:
    """Whether torch rounds as over a buffer: what is in another layout it steps number by number, and rounds halves."""
    return parameter.element_size() >= 4 or grad.stride() == parameter.stride()


def is_part(value: Any, parameter: Tensor) -> bool:
    """Whether an entry of the state has a number for each of the parameter."""
    return isinstance(value, Tensor) and value.shape == parameter.shape
