"""An average of a model's weights over the updates."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning, shown
from optimzoo.values import number

INSIDE = "module."
"""What torch puts before the names of an averaged model's weights."""


class EMA:
    """An exponential moving average of a model's weights, for a loop of one's own; ``EMAHook`` is that of the Runner.

    After each update, average = decay * average + (1 - decay) * parameters; the first update begins it. Parameters of
    less than 32 bits are averaged in float32, for what an update adds to the average is less than they can tell apart.
    Buffers are those of the model.

    Args:
        model: The model.
        decay: The share of the old average, from 0 to below 1.

    Attributes:
        averaged: The ``torch.optim.swa_utils.AveragedModel``.

    Raises:
        ConfigError: ``model`` is none, or ``decay`` is out of range.

    Examples:
        >>> import torch
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> ema = EMA(model, decay=0.5)
        >>> for value in (1.0, 2.0):
        ...     _ = model.weight.data.fill_(value)  # an update
        ...     ema.update()
        >>> with ema.swapped():
        ...     print(model.weight.item())
        1.5
        >>> model.weight.item()
        2.0
        >>> ema.weights()["weight"].item()
        1.5
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay_of(decay)
        if not isinstance(model, nn.Module):
            raise ConfigError(f"a torch.nn.Module is wanted, got {shown(model)}", "model")
        self.model = model
        self.averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(self.decay))  # type: ignore[no-untyped-call]
        for parameter in self.averaged.parameters():
            if parameter.is_floating_point() and parameter.itemsize < 4:
                parameter.data = parameter.data.float()

    def update(self) -> None:
        """Take the parameters into the average: after an update, that is where ``update_params`` returns UPDATED.

        Raises:
            OptimzooError: The model has got other parameters since the average began.
        """
        self.averaged.update_parameters(_Like(self.model, self.averaged))  # type: ignore[arg-type]

    @contextlib.contextmanager
    def swapped(self) -> Iterator[nn.Module]:
        """Put the average in the model's place, and then the trained parameters back, to the bit."""
        pairs = _pairs(self.model, self.averaged.module)
        trained = [own.detach().clone() for own, _ in pairs]
        _put(pairs)
        try:
            yield self.model
        finally:
            _put(zip([own for own, _ in pairs], trained))

    def weights(self) -> dict[str, Tensor]:
        """Return the average as a state dict that ``model.load_state_dict`` takes."""
        return weights_of(self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return the average and the number of updates in it, to go on with."""
        _take_buffers(self.model, self.averaged.module)  # which change between updates too
        return self.averaged.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with what ``state_dict`` returned."""
        self.averaged.load_state_dict(state)


def decay_of(value: Any) -> float:
    """Return a decay, from 0 to below 1; a ConfigError of anything else."""
    decay = number(value, "decay", 0, 1)
    if decay == 1:
        raise ConfigError("an average that keeps all of the old never changes; a number below 1 is wanted", "decay")
    if 0 < decay < 0.5:
        warnings.warn(
            f"a decay of {decay:g} keeps next to nothing of the old average: mmengine's momentum is 1 less the decay, "
            f"which would be {1 - decay:g}",
            OptimzooWarning,
            stacklevel=4,
        )
    return decay


def weights_of(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights in the state of an average, by the names that they have in the model."""
    return {name.removeprefix(INSIDE): value for name, value in state.items() if name.startswith(INSIDE)}


class _Like:
    """The parameters of a model in the precision of its average, and the buffers, which the average has by then."""

    def __init__(self, model: nn.Module, averaged: AveragedModel) -> None:
        self._pairs = _pairs(model, averaged.module)
        _take_buffers(model, averaged.module)
        self.buffers = averaged.module.buffers

    def parameters(self) -> Iterator[Tensor]:
        return (own.detach().to(average.dtype) for own, average in self._pairs)


def _pairs(model: nn.Module, average: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Return each parameter with its average."""
    own, averages = (list(module.parameters()) for module in (model, average))
    if [each.shape for each in own] != [each.shape for each in averages]:
        raise OptimzooError(
            "the model has other parameters than when its average began: make an EMA when it is as it is to be trained"
        )
    return [*zip(own, averages)]


@torch.no_grad()
def _take_buffers(model: nn.Module, average: nn.Module) -> None:
    """Give the average the buffers of the model, which may have others by now, such as a cache that has grown."""
    averages = dict(average.named_modules())
    for name, own in model.named_modules():
        other = averages.get(name)
        if other is None:  # it has come since, and has no parameters
            average.get_submodule(name.rpartition(".")[0]).add_module(name.rpartition(".")[2], copy.deepcopy(own))
            continue
        kept, other._non_persistent_buffers_set = other._buffers, set(own._non_persistent_buffers_set)
        for key in kept.keys() - own._buffers.keys():
            del kept[key]
        for key, buffer in own._buffers.items():
            before = kept.get(key)
            if before is not None and buffer is not None and _alike(before, buffer):
                before.copy_(buffer)
            else:
                other.__dict__.pop(key, None)  # what it was before it became a buffer
                kept[key] = None if buffer is None else buffer.clone()


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether the numbers of ``other`` can be written into ``one``."""
    alike = (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
    return alike and one.is_contiguous()  # or numbers may share memory


@torch.no_grad()
def _put(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    for parameter, value in pairs:
        parameter.copy_(value)
