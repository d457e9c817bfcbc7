"""Which parameters of a group are joined, and which are stepped by themselves."""

from __future__ import annotations

from collections.abc import Iterable
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

from optimzoo.flat.chunk import Chunk, is_part, padded, steps_in_vectors

LARGEST = 2**14
"""The most elements of a parameter that gains by it: to copy the gradient of a larger one takes longer than its step
saves. Measured on one core, as the next two."""
FEWEST, FEWEST_FUSED = 3, 12
"""How many parameters a buffer has at least, and where the step is one kernel: fewer cost more than they save."""
BUFFER = 2**18
"""Elements of a buffer that is stepped operation by operation: more leave the caches of the processor between them."""
_LAYOUTS = (torch.contiguous_format, torch.channels_last, torch.channels_last_3d)


class Plan:
    """The parameters of a group.

    Attributes:
        chunks: Those that are joined.
        active: Those of the chunks that have gradients.
        stepped: What the optimizer steps in place of the parameters.
        own: The group's own list of parameters, while the optimizer has the other.
    """

    def __init__(self) -> None:
        self.params: list[Tensor] = []
        self.chunks: list[Chunk] = []
        self.active: list[Chunk] = []
        self.stepped: list[Any] = []
        self.own: Any = None
        self._alone: list[Tensor] = []
        self._waiting: list[Tensor] = []
        self._irregular: set[Tensor] = set()
        self._measured: list[Tensor] = []
        self._order = torch.tensor([], dtype=torch.int64)  # of the norms of those

    def holds_others(self, params: list[Tensor]) -> bool:
        """Whether a parameter is joined that is not one of the group any more."""
        if not self.chunks or (len(params) == len(self.params) and all(map(is_, params, self.params))):
            return False
        return not {parameter for chunk in self.chunks for parameter in chunk.params} <= {*params}

    def gather(self, params: list[Tensor], states: Any, look_at_states: bool) -> bool:
        """Move the gradients into the buffers that are still whole; return whether nothing is left to be joined."""
        settled = len(params) == len(self.params) and all(map(is_, params, self.params))
        self.params = [*params]
        active = []
        for chunk in [*self.chunks]:
            whole = chunk.is_whole(states, look_at_states)
            wrong = chunk.gather() if whole else []
            if whole and not wrong:
                active.append(chunk)
            elif not whole or len(wrong) < len(chunk.params) or any(p.grad is not None for p in wrong):
                self._irregular.update(wrong)
                chunk.dissolve(states)
                self.chunks.remove(chunk)
                settled = False
        if active != self.active:
            self._step(active)
        return settled and all(p.grad is None for p in self._waiting)

    def join(self, states: Any, largest: int, fewest: int, buffer: int) -> None:
        """Join what can be joined of the parameters of at most ``largest`` elements.

        Args:
            states: The states of the parameters.
            largest: That size.
            fewest: How many parameters a buffer has at least.
            buffer: How many elements it has at most.
        """
        held = {parameter for chunk in self.chunks for parameter in chunk.params}
        self._waiting = []
        alike: dict[Any, list[list[Tensor]]] = {}
        for parameter in (
            p for p in self.params if p not in held and p not in self._irregular and _may_join(p, largest)
        ):
            grad = parameter.grad
            if grad is None:
                self._waiting.append(parameter)
            elif (
                grad.layout is torch.strided
                and steps_in_vectors(parameter, grad)
                and (kind := _kind(parameter, states.get(parameter))) is not None
            ):
                runs = alike.setdefault(kind, [[]])
                if sum(map(Tensor.numel, runs[-1])) + parameter.numel() > buffer:
                    runs.append([])
                runs[-1].append(parameter)
        made = [Chunk(run, states) for runs in alike.values() for run in runs if len(run) >= fewest]
        for chunk in made:
            chunk.gather()
        self.chunks += made
        held.update(parameter for chunk in made for parameter in chunk.params)
        self._alone = [parameter for parameter in self.params if parameter not in held]
        self._step(self.active + made)

    @property
    def is_idle(self) -> bool:
        """Whether no parameter is joined, nor waits for a gradient to be."""
        return not self.chunks and not self._waiting

    def norms(self) -> list[Tensor]:
        """Return the norms of the gradients, in the order of the parameters, as one tensor or none."""
        alone = [(parameter, parameter.grad) for parameter in self._alone if parameter.grad is not None]
        found = [*(chunk.norms() for chunk in self.active)]
        if alone:
            found.append(torch.stack(torch._foreach_norm([grad for _, grad in alone])))
        if not found:
            return []
        measured = [*(parameter for chunk in self.active for parameter in chunk.params), *(p for p, _ in alone)]
        if len(measured) != len(self._measured) or not all(map(is_, measured, self._measured)):
            place = {parameter: number for number, parameter in enumerate(measured)}
            order = [place[parameter] for parameter in self.params if parameter in place]
            self._measured, self._order = measured, torch.tensor(order, device=found[0].device)
        return [torch.cat(found)[self._order]]

    def _step(self, active: Iterable[Chunk]) -> None:
        self.active = [*active]
        self.stepped = [*(chunk.buffer for chunk in self.active), *self._alone]


def _may_join(parameter: Tensor, largest: int) -> bool:
    """Whether a parameter gains by it, and is the only one to use its memory."""
    if type(parameter) not in (nn.Parameter, Tensor) or parameter.layout is not torch.strided:
        return False
    size, storage = parameter.numel(), parameter.untyped_storage()
    if not 0 < size <= largest or not parameter.ndim or not parameter.is_floating_point():
        return False
    if parameter.device.type == "cpu" and (padded(size, parameter) > size or parameter.is_shared()):  # type: ignore[no-untyped-call]
        return False
    users = getattr(torch._C, "_storage_Use_Count", lambda _: 2)(storage._cdata)  # the parameter, and `storage` here
    alone = users == 2 and storage.nbytes() == size * parameter.element_size()
    return alone and any(
        parameter.is_contiguous(memory_format=layout)
        for layout in _LAYOUTS
        if layout is torch.contiguous_format or parameter.ndim == {torch.channels_last: 4}.get(layout, 5)
    )


def _kind(parameter: Tensor, state: Any) -> Any:
    """Return what parameters have in common that can be joined; None for one that cannot."""
    entries: list[Any] = [parameter.dtype, parameter.device]
    for key, value in (state or {}).items():
        if is_part(value, parameter):
            entries.append((key, value.dtype, value.device))
        elif isinstance(value, Tensor) and value.ndim == 0:
            entries.append((key, value.dtype, value.device, value.item()))
        elif value is None or isinstance(value, (bool, int, float, str)):
            entries.append((key, value))
        else:
            return None
    return tuple(entries)
