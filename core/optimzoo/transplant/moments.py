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
from optimzoo.names.zoo import needs_of
from optimzoo.traces import describe_error

Entry = dict[str, Any]

GROUP = "group."
"""Before the keys of what is kept of a whole group, where they stand beside those of a parameter."""
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
    entry = _run(cls, settings, like, SCALES[:1])
    return {key: value for key, value in entry.items() if not key.startswith(GROUP)}


def counterparts(
    old: type, old_settings: Mapping[str, Any], new: type, new_settings: Mapping[str, Any],
    like: Tensor,
) -> dict[str, str]:  # fmt: skip
    """Return for each key of the new optimizer's entries, that in the old one's which means the same, or "" for none.

    What an optimizer counts or estimates for a whole group has its key in the group, after ``GROUP``.

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
    frozen = (_frozen(cls, settings) for cls, settings in ((old, old_settings), (new, new_settings)))
    return _counterparts(old, next(frozen), new, next(frozen), shape, like.dtype)


def of_group(group: Mapping[str, Any]) -> Entry:
    """Return the single numbers of a group, under the keys that ``counterparts`` has for them."""
    return {f"{GROUP}{key}": value for key, value in group.items() if _is_one(value)}


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


def _frozen(cls: type, settings: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return the arguments of a class among settings as a key: numbers of tensors, tuples of lists."""
    known = calls.parameters(cls).keys() - {"params"}
    plain_values = {k: _hashable(v) for k, v in settings.items() if k in known}
    kinds = (type(None), bool, int, float, str, tuple)
    return tuple(sorted((k, v) for k, v in plain_values.items() if isinstance(v, kinds)))


def _hashable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(map(_hashable, value))
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value


@functools.lru_cache(maxsize=1024)
def _counterparts(
    old: type, old_settings: Any, new: type, new_settings: Any, shape: tuple[int, ...],
    dtype: torch.dtype,
) -> dict[str, str]:  # fmt: skip
    like = torch.zeros(shape, dtype=dtype)
    theirs, ours = (
        [_run(cls, _same_horizon(dict(settings)), like, SCALES[:count]) for count in (0, 1, len(SCALES))]
        for cls, settings in ((old, old_settings), (new, new_settings))
    )
    found, (begun, first, last), (_, their_first, kept) = {}, map(plain, ours), map(plain, theirs)
    coarse = any(len(plain(each)) < len(each) or _of_few_bits(each) for each in (theirs[2], ours[2]))
    for key, value in last.items():
        still = _same((begun if key.startswith(GROUP) else first).get(key), value, False)
        same = [name for name in sorted(kept, key=lambda name: name != key) if _same(kept[name], value, coarse)]
        if GROUP in key + "".join(same):  # one number may be another by chance
            same = [name for name in same if name == key or not still]
            same = [name for name in same if _same(their_first.get(name), first.get(key), coarse)]
        if still and isinstance(value, bool):  # not what it has come to, but what it is
            continue
        if same:
            found[key] = same[0]
        elif not still:  # what no update changes is no state
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


def _is_one(value: Any) -> bool:
    """Whether a value is one number."""
    return isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1)


def _same_horizon(settings: dict[str, Any]) -> dict[str, Any]:
    for key in settings.keys() & HORIZONS.keys():
        settings[key] = HORIZONS[key] if settings[key] or key == "lr" else settings[key]
    if isinstance(settings.get("betas"), Sequence):
        settings["betas"] = tuple(BETAS[: len(settings["betas"])])
    return settings


def _run(cls: type, settings: Mapping[str, Any], like: Tensor, scales: Sequence[float]) -> Entry:
    """Return what an optimizer keeps of one parameter, and of its group, after updates on always the same gradients."""
    generator = torch.Generator().manual_seed(0)
    parameter = nn.Parameter(torch.randn(like.shape, generator=generator).to(like.dtype))
    own = {key: value for key, value in settings.items() if key in calls.parameters(cls) and key != "params"}
    try:
        with warnings.catch_warnings(), calls.no_exit(cls.__name__):
            warnings.simplefilter("ignore")
            optimizer = cls([parameter], **own)
            if scales and callable(train := getattr(optimizer, "train", None)):
                train()
            for scale in scales:
                if "curvature" in needs_of(optimizer):
                    _estimate_curvature(optimizer, parameter)
                parameter.grad = scale * torch.randn(like.shape, generator=generator).to(like.dtype)
                optimizer.step()
    except Exception as error:
        told = describe_error(error).partition("\n")[0]
        raise UntriedError(f"{cls.__name__} does not run by itself: {told}") from error
    (group,) = optimizer.param_groups
    computed = {key: value for key, value in group.items() if key not in calls.parameters(cls)}
    return {**optimizer.state.get(parameter, {}), **of_group(computed)}


def _estimate_curvature(optimizer: Any, parameter: Tensor) -> None:
    """Let an optimizer estimate the curvature of a parabola, by always the same random numbers."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        optimizer.update_curvature((torch.rand(parameter.shape) * parameter.float().square()).sum(), None)
