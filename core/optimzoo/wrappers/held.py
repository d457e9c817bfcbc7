"""The gradients that FSDP2 keeps to itself while it does not exchange them: no ``.grad`` shows them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

from torch import nn

from optimzoo.errors import OptimzooWarning
from optimzoo.groups.modules import class_names

_HOLDING: WeakSet[nn.Module] = WeakSet()
"""Models that were told not to exchange the gradients of their last backward pass."""


def set_sync(model: Any, sync: bool) -> None:
    """Say whether the coming backward pass of a root of FSDP2's exchanges gradients."""
    model.set_requires_gradient_sync(sync)
    (_HOLDING.discard if sync else _HOLDING.add)(model)


def drop_held(model: nn.Module) -> None:
    """Drop what a model holds of a window of accumulation that was left before its end, with a warning."""
    if model not in _HOLDING:
        return
    _HOLDING.discard(model)
    held = [*filter(_drop, _sharded(model))]
    if held:
        warnings.warn(
            f"{len(held)} parameters had gradients of a window of accumulation that was left before its end, which "
            "FSDP2 had not exchanged; they are dropped, for an update uses those of its own losses",
            OptimzooWarning,
            stacklevel=4,
        )


def _sharded(model: nn.Module) -> Iterator[Any]:
    """Yield what FSDP2 knows of each parameter; in earlier releases a module has one group of them."""
    for module in model.modules():
        if "FSDPModule" in class_names(module):
            state: Any = module._get_fsdp_state()  # type: ignore[operator]
            groups = getattr(state, "_fsdp_param_groups", None) or filter(None, [state._fsdp_param_group])
            for group in groups:
                yield from group.fsdp_params


def _drop(each: Any) -> bool:
    """Drop what a parameter has of gradients that were not exchanged, and return whether there was any.

    Up to torch 2.14, with a ``reduce_dtype`` they are apart; later the one place shows the other.
    """
    found = False
    for owner, key in ((getattr(each, "_unsharded_param", None), "grad"), (each, "unsharded_accumulated_grad")):
        if getattr(owner, key, None) is not None:
            setattr(owner, key, None)
            found = True
    return found
