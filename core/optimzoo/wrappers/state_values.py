"""What a saved state says of its optimizer, and how its values come back as they were saved."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optimzoo.errors import OptimzooWarning


def describe(optimizer: Optimizer) -> dict[str, Any]:
    """Return what a state says of its optimizer: the class, and the dtypes of the parameters."""
    dtypes = [_name(p.dtype) for group in optimizer.param_groups for p in group["params"]]
    return {"optimizer": kind_of(optimizer), "dtypes": dtypes}


def cls_of(optimizer: Optimizer) -> type:
    """Return the class whose state it is: that inside of ZeRO, or the optimizer's own."""
    return type(getattr(optimizer, "optim", optimizer))


def kind_of(optimizer: Optimizer) -> str:
    """Return the name of the class with its package, within which libraries move their classes."""
    cls = cls_of(optimizer)
    return f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"


def of_one_kind(saved: str, own: str) -> bool:
    """Whether two names are of one class; that of a script is ``__main__`` where it is run."""
    (package, _, name), (own_package, _, own_name) = saved.partition("."), own.partition(".")
    return name == own_name and (package == own_package or "__main__" in (package, own_package))


def keep_saved(optimizer: Optimizer, saved: Mapping[Any, Any], dtypes: Sequence[str]) -> None:
    """Put the values of a state back that torch has changed in loading it.

    torch casts floats to the dtype of their parameter, integers too, and makes of a string the text of a generator.
    The cast is right for a parameter that had another dtype when it was saved, alone.

    Args:
        optimizer: It has just loaded the state.
        saved: The state of each parameter by its number.
        dtypes: The dtypes that the parameters had, if known.
    """
    rounded = []
    for number, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        loaded, given = optimizer.state.get(parameter), saved.get(number)
        if isinstance(loaded, dict) and isinstance(given, Mapping):
            known = _name(parameter.dtype) == dtypes[number] if dtypes else None
            for key in loaded.keys() & given.keys() - {"step"}:
                loaded[key] = _as_saved(loaded[key], given[key], bool(known))
                rounded += [key] if known is None and _is_narrower(loaded[key], given[key]) else []
    if rounded:
        warnings.warn(
            f"{', '.join(sorted(set(map(str, rounded))))} in the state were rounded to the dtype of the parameters, "
            "since it does not tell which dtype these had; the state_dict of an optimizer wrapper does",
            OptimzooWarning,
            stacklevel=4,
        )


def _as_saved(loaded: Any, saved: Any, keep: bool) -> Any:
    if isinstance(loaded, Tensor) and isinstance(saved, Tensor):
        own = not keep and saved.ndim > 0 and saved.is_floating_point()  # of the parameter's kind
        return loaded if loaded.dtype == saved.dtype or own else saved.to(loaded.device)
    if isinstance(loaded, dict) and isinstance(saved, Mapping):
        return {key: _as_saved(value, saved[key], keep) for key, value in loaded.items() if key in saved}
    if type(loaded) in (list, tuple) and isinstance(saved, (list, tuple)) and len(loaded) == len(saved):
        return type(loaded)(_as_saved(mine, theirs, keep) for mine, theirs in zip(loaded, saved))
    return saved if isinstance(saved, (str, bytes)) else loaded


def _is_narrower(loaded: Any, saved: Any) -> bool:
    if not (isinstance(loaded, Tensor) and isinstance(saved, Tensor) and saved.is_floating_point()):
        return False
    return bool(torch.finfo(loaded.dtype).bits < torch.finfo(saved.dtype).bits) and loaded.ndim > 0


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
