"""torch's fused kernels: where they may be chosen, and what they need right before they step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optimzoo.errors import ConfigError, OptimzooError
from optimzoo.optimizers.param_groups import Group

FUSED = {
    torch.optim.Adam: ("cpu", "cuda", "mps"),
    torch.optim.AdamW: ("cpu", "cuda", "mps"),
    torch.optim.SGD: ("cpu", "cuda", "mps"),
    torch.optim.Adagrad: ("cpu",),
}
"""Where torch 2.5 and later have fused kernels."""
FUSED_WHOLE = (torch.optim.SGD, torch.optim.Adagrad)
"""Those whose fused kernels take no parameters that FSDP2 has shared out."""
HALF = (torch.float16, torch.bfloat16)
DTYPES = (*HALF, torch.float32, torch.float64)


def may_fuse(cls: type[Optimizer], given: Mapping[str, Any], groups: list[Group]) -> bool:
    """Whether the fused kernel is to be chosen: nobody says which, and it does what the step without it does."""
    settings, params = [given, *groups], [p for group in groups for p in group["params"]]
    if any(key in each for each in settings for key in ("fused", "foreach")):
        return False
    if cls is torch.optim.SGD and any(each.get("dampening") for each in settings):
        return False  # its kernel begins the momenta of all parameters at once
    # torch looks at devices and dtypes in the first step only, where it is too late to choose again.
    devices = FUSED.get(cls, ())
    if cls in FUSED_WHOLE and any(is_sharded(p) for p in params):
        return False
    return all(p.device.type in devices and p.dtype in DTYPES and not _errs(cls, p) for p in params)


def _check_kernel(cls: type[Optimizer], params: Iterable[Tensor]) -> None:
    """Check that the fused kernel of a class moves the numbers of parameters.

    Raises:
        ConfigError: It does not.
    """
    for wrong in (p.dtype for p in params if _errs(cls, p)):
        raise ConfigError(
            f"the fused {cls.__name__} of torch {torch.__version__} does not move most numbers of {wrong} on a CPU: "
            "leave fused out, or train in another dtype",
            "fused",
        )


def _errs(cls: Any, parameter: Tensor) -> bool:
    at_risk = cls in FUSED and parameter.dtype in HALF and parameter.device.type == "cpu"
    return at_risk and _moves_otherwise(cls, parameter.dtype)


@cache
def _moves_otherwise(cls: Any, dtype: torch.dtype) -> bool:
    """Whether the kernel for CPUs makes other steps than the loop.

    In half precision, that of SGD leaves whole vectors as they are, and adds up wrong momenta, up to torch 2.13
    (https://github.com/pytorch/pytorch/issues/191763).
    """
    settings: dict[str, Any] = {"lr": 0.5, **({"momentum": 0.5} if cls is torch.optim.SGD else {})}

    def after(fused: bool) -> Tensor:
        weight = nn.Parameter(torch.zeros(100, dtype=dtype, device="cpu"))
        optimizer = cls([weight], fused=fused, **settings)
        for _ in range(3):
            weight.grad = torch.linspace(1, 2, 100, dtype=dtype, device="cpu")
            optimizer.step()
        return weight.detach()

    return not torch.allclose(after(fused=True), after(fused=False), rtol=0.05)


def is_sharded(tensor: Tensor) -> bool:
    """Whether the tensor is one of several processes (a DTensor)."""
    return hasattr(tensor, "full_tensor")


def look_before_fused(optimizer: Optimizer, chosen: bool = False) -> None:
    """See to it that a fused kernel gets what it steps right, in an optimizer that anyone built.

    Raises:
        ConfigError: The kernel does not move the numbers of its parameters.
    """
    if type(optimizer) not in FUSED or any(
        isinstance(hook, BeforeFused) for hook in optimizer._optimizer_step_pre_hooks.values()
    ):
        return
    fused = [group for group in optimizer.param_groups if group.get("fused")]
    if fused:
        _check_kernel(type(optimizer), (p for group in fused for p in group["params"]))
        optimizer.register_step_pre_hook(BeforeFused(chosen))


class BeforeFused:
    """A hook of fused steps, which pair weights and gradients by their places in memory: both get one layout.

    That of SGD begins all momenta in one step or none: one that begins later gets a momentum of 0, which is the same.

    It can be pickled with its optimizer, and stays, since torch does not allow to remove a hook while it runs.

    Args:
        chosen: Whether nobody asked for ``fused``: it is turned off if a gradient of the first step is sparse, which no
            fused kernel takes, or parameters have been cast since to what the kernel does not move.
    """

    def __init__(self, chosen: bool = False) -> None:
        self._chosen = chosen
        self._seen = 0

    def __call__(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        """Look at the gradients, or return arguments that make it look when they are there."""
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            return self._look(optimizer)

        def evaluate() -> Any:  # the gradients come with it
            loss = closure()
            self._look(optimizer)
            return loss

        return args[:1], {**kwargs, "closure": evaluate}

    def _look(self, optimizer: Optimizer) -> None:
        groups = [group for group in optimizer.param_groups if group["fused"]]
        if sum(len(group["params"]) for group in groups) != self._seen:
            groups = self._look_first(optimizer, groups)
        for group in groups:
            params = group["params"]
            grads = [grad for grad in map(attrgetter("grad"), params) if grad is not None]
            if not (all(map(Tensor.is_contiguous, grads)) and all(map(Tensor.is_contiguous, params))):
                _give_their_layout(params)
            if group.get("momentum"):
                _begin_momenta(group, optimizer.state)

    def _look_first(self, optimizer: Optimizer, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Look at the parameters of the first step, and at all once some have joined; return what a kernel steps."""
        params = [p for group in groups for p in group["params"]]
        sparse = not self._seen and any(p.grad is not None and p.grad.is_sparse for p in params)
        self._seen = len(params)
        if not self._chosen:
            _check_kernel(type(optimizer), params)
        elif sparse or any(_errs(type(optimizer), p) for p in params):
            for settings in (optimizer.defaults, *optimizer.param_groups):
                settings["fused"] = False
            optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]  # what torch's GradScaler reads
            return []
        return groups


def _give_their_layout(params: Iterable[Tensor]) -> None:
    for p in params:
        grad = p.grad
        if grad is not None and not grad.is_sparse and grad.stride() != p.stride():
            p.grad = torch.empty_like(p).copy_(grad.detach())


def _begin_momenta(group: Mapping[str, Any], states: Any) -> None:
    """Begin the momenta of parameters whose gradients come later than those of others."""
    begun: list[Tensor] = []
    waiting: list[Tensor] = []
    for p in group["params"]:
        if p.grad is not None:
            (begun if states[p].get("momentum_buffer") is not None else waiting).append(p)
    if begun and waiting and group["dampening"]:
        raise OptimzooError(
            "with dampening, torch's fused SGD cannot take parameters whose first gradient comes later than that of "
            "others: say fused=False"
        )
    for p in waiting if begun else ():
        states[p]["momentum_buffer"] = torch.zeros_like(p)
