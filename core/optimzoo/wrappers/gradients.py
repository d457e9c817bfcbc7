"""Clipping gradients, and finding those that are not finite; of a sparse gradient, its values count."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import ConfigError, OptimzooError, shown
from optimzoo.optimizers.param_groups import CLIP
from optimzoo.values import number, one_of, plain

CLIP_FUNCTIONS: dict[str, Callable[..., Any]] = {"norm": nn.utils.clip_grad_norm_, "value": nn.utils.clip_grad_value_}


def clipping(
    clip_grad: Mapping[str, Any] | None, parts: Iterable[str] = ()
) -> tuple[Callable[..., Any] | None, dict[str, Any] | None, list[str] | None]:
    """Return the clipping function that ``clip_grad`` asks for, its keyword arguments, and which of the ``parts``."""
    if clip_grad is None:
        return None, None, None
    kwargs = plain(clip_grad, "clip_grad")
    if not isinstance(kwargs, dict):
        raise ConfigError(f"a dict such as {{'max_norm': 1.0}} is wanted, got {shown(clip_grad)}", "clip_grad")
    kind = kwargs.pop("type", "value" if "clip_value" in kwargs and "max_norm" not in kwargs else "norm")
    function = CLIP_FUNCTIONS[one_of(kind, CLIP_FUNCTIONS, "clip_grad.type")]
    if kwargs.get("norm_type") == "inf":
        kwargs["norm_type"] = math.inf
    only = kwargs.pop("parts", None)
    if only is not None and not (isinstance(only, (list, tuple)) and only and {*only} <= {*parts}):
        known = f"of {', '.join(parts)}" if parts else "but the optimizer has no parts: leave it away"
        raise ConfigError(f"a list of names of parts is wanted, {known}, got {shown(only)}", "clip_grad.parts")
    calls.read(function, kwargs, "clip_grad", ("parameters",))
    for key, low in (("max_norm", 0), ("clip_value", 0), ("norm_type", 1e-30)):
        if key in kwargs:
            kwargs[key] = number(kwargs[key], f"clip_grad.{key}", low)
    return function, kwargs, None if only is None else list(only)


def clips_of_rules(optimizer: Optimizer) -> list[tuple[float, list[Tensor]]]:
    """Return the norms that rules clip to, each with the parameters whose gradients it is for."""
    rules: dict[Any, list[Tensor]] = {}
    for group in optimizer.param_groups:
        if CLIP in group:
            rules.setdefault(tuple(group[CLIP]), []).extend(group["params"])
    return [(norm, params) for (_, norm), params in rules.items()]


def clip(function: Callable[..., Any], params: Sequence[Tensor], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Clip the gradients of ``params`` in place, and return their norm before it, if ``function`` tells."""
    if kwargs.get("norm_type") == math.inf and any(hasattr(p.grad, "device_mesh") or not p.numel() for p in params):
        return _clip_by_largest(params, **kwargs)
    try:
        norm: Tensor | None = function(params, **kwargs)
    except NotImplementedError as error:  # torch clips no sparse gradients
        if any(p.is_complex() for p in params) and function is CLIP_FUNCTIONS["value"]:
            raise OptimzooError(
                "complex gradients have no order, and are clipped by the norm alone: max_norm"
            ) from error
        norm = function([_stand_in(p) for p in params], **kwargs)
    return norm


def _clip_by_largest(params: Sequence[Tensor], max_norm: float, error_if_nonfinite: bool = False, **_: Any) -> Tensor:
    """Clip by the largest number in gradients: torch finds none where one, or a share of this process, is empty."""
    from torch.distributed.tensor import DTensor, Shard

    shares: dict[Any, list[Tensor]] = {}
    for grad in (p.grad for p in params if p.grad is not None):
        mesh = getattr(grad, "device_mesh", None)
        shares.setdefault(mesh, []).append(_largest(grad if mesh is None else grad.to_local()))  # type: ignore[attr-defined]
    found = []
    for mesh, each in shares.items():
        largest = torch.stack(each).amax()
        if mesh is not None:
            every = DTensor.from_local(largest.reshape(1), mesh, [Shard(0)] * mesh.ndim)
            largest = every.full_tensor().amax()
        found.append(largest)
    norm = torch.stack(found).amax()
    if error_if_nonfinite and not bool(norm.isfinite()):
        raise RuntimeError(f"the norm of the gradients is {float(norm)}")
    multiply(params, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def total_norm(params: Iterable[Tensor]) -> Tensor:
    """Return the norm of the gradients, plain tensors of one kind, as ``torch.nn.utils.clip_grad_norm_`` takes it."""
    grads = [p.grad for p in params if p.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    return norm


def multiply(params: Sequence[Tensor], factor: Any) -> None:
    """Multiply the gradients of ``params`` in place by a number, which may be a tensor."""
    if isinstance(factor, float) and factor == 1:
        return
    grads = [p.grad.to_local() if hasattr(p.grad, "to_local") else p.grad for p in params if p.grad is not None]
    if isinstance(factor, float) and not any(grad.is_sparse for grad in grads):
        torch._foreach_mul_(grads, factor)
        return
    for grad in grads:
        grad.mul_(factor)


def _stand_in(parameter: Tensor) -> Any:
    """Return something whose ``grad`` is dense and shares the memory of the parameter's."""
    if parameter.grad is None or not parameter.grad.is_sparse:
        return parameter
    parameter.grad = parameter.grad.coalesce()
    return SimpleNamespace(grad=parameter.grad._values())


def first_nonfinite(optimizer: Optimizer, holders: Iterable[Tensor]) -> str | None:
    """Return the name of the first parameter with a NaN or an infinity in its gradient. Waits for the device once.

    Args:
        optimizer: The optimizer of the parameters.
        holders: What has their gradients, together.
    """
    grads = [p.grad for p in holders if p.grad is not None]
    largest = [_largest(grad) for grad in grads if grad.numel()]
    if not largest or bool(torch.stack([each.to(largest[0].device) for each in largest]).isfinite().all()):
        return None
    for index, group in enumerate(optimizer.param_groups):
        names = group.get("param_names") or [f"parameter {i} of group {index}" for i in range(len(group["params"]))]
        for name, parameter in zip(names, group["params"]):
            if parameter.grad is not None and parameter.grad.numel() and not bool(_largest(parameter.grad).isfinite()):
                return str(name)
    return None


def _largest(grad: Tensor) -> Tensor:
    """Return the largest absolute value, or NaN if there is one."""
    if grad.is_sparse:
        grad = grad.coalesce()._values()
        if not grad.numel():
            return grad.new_zeros(())
    if hasattr(grad, "full_tensor"):  # a DTensor, whose share in this process may be empty: the sum is 0 or NaN
        return (grad * 0).sum()
    if not grad.numel():
        return grad.new_zeros(())
    largest: Tensor = torch.linalg.vector_norm(grad, ord=math.inf)
    return largest


def backward_with_graph(loss: Tensor, **kwargs: Any) -> None:
    """Back-propagate, and keep the graph for second derivatives; ``zero_grad`` frees it with the gradients."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using backward")  # torch speaks of the cycle that zero_grad breaks
        loss.backward(**{"create_graph": True, **kwargs})  # type: ignore[no-untyped-call]


def loss_problem(loss: Any, error: Exception) -> str:
    """Return why ``loss`` cannot be back-propagated, or nothing."""
    if not isinstance(loss, Tensor):
        return f"the loss is a tensor that the model computed, got {shown(loss)}"
    if loss.numel() != 1:
        return f"the loss is a scalar, got the shape {tuple(loss.shape)}; take its mean or sum"
    if not loss.requires_grad:
        return "the loss does not depend on a parameter that requires a gradient, or was computed under torch.no_grad()"
    if "backward through the graph a second time" in str(error):
        return "the loss was back-propagated before: update_params does that itself, once for each loss"
    return ""
