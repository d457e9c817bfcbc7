"""Which tensor of one optimizer's state means what another keeps, found by running both on the same gradients."""

from __future__ import annotations

import functools
import importlib
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from optimzoo import calls
from optimzoo.errors import OptimzooError
from optimzoo.traces import describe_error

Entry = dict[str, Any]

SCALES = (1.0, 0.5, 2.0, 0.1, 0.01)
"""Of the gradients: a maximum, a sum and a mean of them differ."""
HORIZONS = {"momentum": 0.9, "beta1": 0.9, "beta2": 0.99, "alpha": 0.99, "lr": 1e-3, "weight_decay": 0.0}
"""Settings that both get: over how many updates a mean is taken does not change what it is the mean of."""
BETAS = (0.9, 0.99, 0.999)
WIDEST = (8192, 128)
"""The sizes up to which a vector and the sides of other tensors are tried."""


class UntriedError(OptimzooError):
    """An optimizer could not be run by itself."""


def new_entry(cls: type, settings: Mapping[str, Any], like: Tensor) -> Entry:
    """Return what an optimizer keeps of a parameter after one update.

    Raises:
        UntriedError: It cannot be run by itself.
    """
    return _run(cls, settings, like, SCALES[:1])


def counterparts(
    old: type, old_settings: Mapping[str, Any], new: type, new_settings: Mapping[str, Any],
    like: Tensor,
) -> dict[str, str]:  # fmt: skip
    """Return for each key of the new optimizer's entries, that in the old one's which means the same, or "" for none.

    Args:
        old: The class of the optimizer whose state is there.
        old_settings: The settings of its group.
        new: The class of the other.
        new_settings: The settings of its group.
        like: A parameter, for its shape and dtype.

    Raises:
        UntriedError: One of them cannot be run by itself.
    """
    shape = tuple(min(size, WIDEST[like.ndim > 1]) for size in like.shape)
    return _counterparts(old, _frozen(old_settings), new, _frozen(new_settings), shape, like.dtype)


def plain(entry: Mapping[str, Any]) -> Entry:
    """Return an entry with its tensors of few bits as float32."""
    found: Entry = {}
    for key, value in entry.items():
        if isinstance(value, Tensor) and hasattr(value, "dequantize") and type(value) not in (Tensor, nn.Parameter):
            found[key] = value.dequantize().float()  # torchao's
        elif (match := re.fullmatch(r"state(\d)", key)) and f"qmap{match[1]}" in entry:
            functional = importlib.import_module("bitsandbytes.functional")
            scale, code = entry[f"absmax{match[1]}"], entry[f"qmap{match[1]}"]
            found[key] = functional.dequantize_blockwise(value, absmax=scale, code=code, blocksize=_block(value, scale))
        elif not re.fullmatch(r"(qmap|absmax)\d", key):
            found[key] = value
    return found


def filled(entry: Mapping[str, Any], values: Mapping[str, Any]) -> Entry:
    """Put values of float32 into a new optimizer's entry, in the form that it keeps them in, and return it."""
    found = dict(entry)
    for key, value in values.items():
        own = entry[key]
        number = key.removeprefix("state")
        if f"qmap{number}" in entry:
            functional = importlib.import_module("bitsandbytes.functional")
            code, block = entry[f"qmap{number}"], _block(own, entry[f"absmax{number}"])
            bits, state = functional.quantize_blockwise(value.contiguous(), code=code, blocksize=block)
            found |= {key: bits, f"absmax{number}": state.absmax}
        elif isinstance(own, Tensor):
            own.copy_(value if isinstance(value, Tensor) else torch.tensor(value))
        else:
            found[key] = type(own)(value.item() if isinstance(value, Tensor) else value)
    return found


def _block(bits: Tensor, scale: Tensor) -> int:
    """Return how many elements share a scale: the smallest power of two that so many scales are enough for."""
    return 1 << max(-(-bits.numel() // scale.numel()) - 1, 0).bit_length()


def _frozen(settings: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return settings as a key: numbers of tensors, tuples of lists."""
    plain_values = {k: v.item() if isinstance(v, Tensor) and v.numel() == 1 else v for k, v in settings.items()}
    tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in plain_values.items()}
    return tuple(sorted((k, v) for k, v in tuples.items() if isinstance(v, (type(None), bool, int, float, str, tuple))))


@functools.lru_cache(maxsize=1024)
def _counterparts(
    old: type, old_settings: Any, new: type, new_settings: Any, shape: tuple[int, ...],
    dtype: torch.dtype,
) -> dict[str, str]:  # fmt: skip
    like = torch.zeros(shape, dtype=dtype)
    theirs, ours = (
        [_run(cls, _same_horizon(dict(settings)), like, SCALES[:count]) for count in (1, len(SCALES))]
        for cls, settings in ((old, old_settings), (new, new_settings))
    )
    found, (first, last), (_, kept) = {}, map(plain, ours), map(plain, theirs)
    coarse = any(len(plain(each)) < len(each) or _of_few_bits(each) for each in (theirs[1], ours[1]))
    for key, value in last.items():
        same = [name for name in sorted(kept, key=lambda name: name != key) if _same(kept[name], value, coarse)]
        if same:
            found[key] = same[0]
        elif not _same(first[key], value, False):  # what no update changes is no state
            found[key] = ""
    return found


def _of_few_bits(entry: Mapping[str, Any]) -> bool:
    return any(isinstance(v, Tensor) and type(v) is not Tensor for v in entry.values())


def _same(theirs: Any, ours: Any, coarse: bool) -> bool:
    if isinstance(theirs, Tensor) and isinstance(ours, Tensor) and theirs.numel() > 1:
        if theirs.shape != ours.shape:
            return False
        low = {theirs.dtype, ours.dtype} & {torch.bfloat16, torch.float16}
        tolerance = 0.1 if coarse else 0.02 if low else 1e-4
        theirs, ours = theirs.double(), ours.double()
        return bool((theirs - ours).norm() <= tolerance * ours.norm())
    one = [v.item() if isinstance(v, Tensor) and v.numel() == 1 else v for v in (theirs, ours)]
    return all(isinstance(v, (int, float)) for v in one) and abs(one[0] - one[1]) <= 1e-6 * abs(one[1])


def _same_horizon(settings: dict[str, Any]) -> dict[str, Any]:
    for key in settings.keys() & HORIZONS.keys():
        settings[key] = HORIZONS[key] if settings[key] or key == "lr" else settings[key]
    if isinstance(settings.get("betas"), Sequence):
        settings["betas"] = tuple(BETAS[: len(settings["betas"])])
    return settings


def _run(cls: type, settings: Mapping[str, Any], like: Tensor, scales: Sequence[float]) -> Entry:
    """Return what an optimizer keeps of one parameter after updates on gradients that are always the same."""
    generator = torch.Generator().manual_seed(0)
    parameter = nn.Parameter(torch.randn(like.shape, generator=generator).to(like.dtype))
    own = {key: value for key, value in settings.items() if key in calls.parameters(cls) and key != "params"}
    try:
        with warnings.catch_warnings(), calls.no_exit(cls.__name__):
            warnings.simplefilter("ignore")
            optimizer = cls([parameter], **own)
            if callable(train := getattr(optimizer, "train", None)):
                train()
            for scale in scales:
                parameter.grad = scale * torch.randn(like.shape, generator=generator).to(like.dtype)
                optimizer.step()
    except Exception as error:
        told = describe_error(error).partition("\n")[0]
        raise UntriedError(f"{cls.__name__} does not run by itself: {told}") from error
    return dict(optimizer.state.get(parameter, {}))
