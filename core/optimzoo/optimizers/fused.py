"""torch's fused kernels: where they may be chosen, and what they need right before they step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_pre_hooks
from torch.utils._python_dispatch import _disable_current_modes

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
    return all(p.device.type in devices and p.dtype in DTYPES and not _problem(cls, p) for p in params)


def _check_kernel(cls: type[Optimizer], params: Iterable[Tensor]) -> None:
    """Check that the fused kernel of a class moves the numbers of parameters, and no others.

    Raises:
        ConfigError: It does not.
    """
    for why in filter(None, (_problem(cls, p) for p in params)):
        raise ConfigError(why, "fused")


def _problem(cls: Any, parameter: Tensor) -> str:
    """Return why the fused kernel of a class is not to step the parameter, or nothing."""
    cls = _class_with_kernel(cls)
    if cls is None:
        return ""
    kernel = f"the fused {cls.__name__} of torch {torch.__version__}"
    if parameter.dtype in HALF and parameter.device.type == "cpu" and _moves_otherwise(cls, parameter.dtype):
        return (
            f"{kernel} does not move most numbers of {parameter.dtype} on a CPU: leave fused out, or train in another "
            "dtype"
        )
    if not _is_dense(parameter):
        return (
            f"{kernel} would write into memory between the numbers of a parameter of shape {tuple(parameter.shape)}, "
            "which is a part of a larger tensor: leave fused out, or make it contiguous"
        )
    return ""


def _class_with_kernel(cls: type) -> Any:
    """Return the class of torch whose kernel this one has, or inherits, or None."""
    return next((base for base in cls.__mro__ if base in FUSED), None)


def _is_dense(tensor: Tensor) -> bool:
    """Whether there is nothing else in memory between its first number and its last."""
    if tensor.is_contiguous() or is_sharded(tensor):
        return True
    return torch.empty_like(tensor, device="meta").stride() == tensor.stride()


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

    with _disable_current_modes():  # such as FakeTensorMode, under which nothing is computed
        return not torch.allclose(after(fused=True), after(fused=False), rtol=0.05)


def is_sharded(tensor: Tensor) -> bool:
    """Whether the tensor is one of several processes (a DTensor)."""
    return hasattr(tensor, "full_tensor")


def look_before_fused(optimizer: Optimizer, chosen: bool = False) -> None:
    """See to it that a fused kernel gets what it steps right, in an optimizer that anyone built.

    Raises:
        ConfigError: The kernel does not move the numbers of its parameters, or moves others.
    """
    if not _class_with_kernel(type(optimizer)):
        return
    if _look_again in optimizer._optimizer_load_state_dict_post_hooks.values():
        return
    fused = [group for group in optimizer.param_groups if group.get("fused")]
    if fused:
        _check_kernel(type(optimizer), (p for group in fused for p in group["params"]))
        optimizer.register_step_pre_hook(BeforeFused(chosen))
    optimizer.register_load_state_dict_post_hook(_look_again)


def is_watched(optimizer: Optimizer, *ours: Any) -> bool:
    """Whether hooks other than this and those of ``ours`` look at the gradients right before the step."""
    hooks = (*optimizer._optimizer_step_pre_hooks.values(), *_global_optimizer_pre_hooks.values())
    return any(not isinstance(hook, BeforeFused) and getattr(hook, "__self__", hook) not in ours for hook in hooks)


def _look_again(optimizer: Optimizer) -> None:
    """Look at what was loaded: groups bring a ``fused`` of their own, and states the layouts of other parameters."""
    fused = [bool(group.get("fused")) for group in optimizer.param_groups]
    if not all(fused):
        _leave_the_scale(optimizer)
    hooks = [hook for hook in optimizer._optimizer_step_pre_hooks.values() if isinstance(hook, BeforeFused)]
    for hook in hooks:
        hook.forget()
    if any(fused) and not hooks:
        optimizer.register_step_pre_hook(BeforeFused(chosen=True))


class BeforeFused:
    """A hook of fused steps, which pair weights, gradients and states by their places in memory: all get one layout.

    That of SGD begins all momenta in one step or none, and not in one that a GradScaler lets it skip: here each begins
    as 0, which is the same.

    It can be pickled with its optimizer, and stays, since torch does not allow to remove a hook while it runs.

    Args:
        chosen: Whether nobody asked for ``fused``: it is turned off if a gradient is sparse, which no fused kernel
            takes, or parameters have become what the kernel does not step right.
    """

    def __init__(self, chosen: bool = False) -> None:
        self._chosen = chosen
        self.forget()

    def forget(self) -> None:
        """Look at everything in the next step."""
        self._seen: Any = None
        self._layout: Any = ()

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
        params = [p for group in groups for p in group["params"]]
        grads = [grad for grad in map(attrgetter("grad"), params) if grad is not None]
        plain = all(map(Tensor.is_contiguous, params))
        alike = plain and all(map(Tensor.is_contiguous, grads))
        if not self._fits(optimizer, params, () if alike else grads):
            _unfuse(optimizer)
            return
        layout = None if plain else [*map(Tensor.stride, params)]
        if layout != self._layout:
            self._layout = layout
            _give_states_their_layout(params, optimizer.state)
        if not alike:
            _give_their_layout(params, layout or map(Tensor.stride, params))
        for group in groups if isinstance(optimizer, torch.optim.SGD) else ():
            if group.get("momentum"):
                _begin_momenta(group, optimizer)

    def _fits(self, optimizer: Optimizer, params: Sequence[Tensor], grads: Iterable[Tensor]) -> bool:
        """Whether the kernel can step the parameters, at which it looks where some have joined or been cast."""
        # Others keep states of one dtype, which a kernel tells itself, and without which there is no step either.
        by_itself = isinstance(optimizer, FUSED_WHOLE)
        dtypes = {*map(attrgetter("dtype"), params)} if by_itself else None
        before, now = self._seen, (len(params), dtypes)
        if now != before and not self._chosen:
            _check_kernel(type(optimizer), params)
        self._seen = now
        if not self._chosen:
            return True
        cast = before is not None and dtypes != before[1]  # which the momenta are not
        return not (
            cast
            or any(grad.is_sparse for grad in grads)
            or (now != before and any(p.dtype not in DTYPES or _problem(type(optimizer), p) for p in params))
        )


def _unfuse(optimizer: Any) -> None:
    """Go on with the loop, from the step on that is about to be made."""
    for settings in (optimizer.defaults, *optimizer.param_groups):
        settings["fused"] = False
    _leave_the_scale(optimizer)
    # What a GradScaler has left to the kernel for this step.
    scale, overflow = (getattr(optimizer, name, None) for name in ("grad_scale", "found_inf"))
    if scale is None and overflow is None:
        return
    optimizer.grad_scale = optimizer.found_inf = None
    for p in (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None):
        if overflow is not None and overflow:
            p.grad = None
        elif scale is not None:
            p.grad.div_(scale)


def _leave_the_scale(optimizer: Any) -> None:
    """Tell torch's GradScaler that no kernel divides the gradients by the scale."""
    optimizer._step_supports_amp_scaling = False


def _give_their_layout(params: Iterable[Tensor], layout: Iterable[tuple[int, ...]]) -> None:
    for p, strides in zip(params, layout):
        grad = p.grad
        if grad is not None and grad.layout is torch.strided and grad.stride() != strides:
            p.grad = torch.empty_like(p).copy_(grad.detach())


def _give_states_their_layout(params: Iterable[Tensor], states: Any) -> None:
    for p, state in ((p, states[p]) for p in params if p in states):
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == p.shape and value.stride() != p.stride():
                state[key] = torch.empty_like(p, dtype=value.dtype).copy_(value)


def _begin_momenta(group: Mapping[str, Any], optimizer: Any) -> None:
    """Begin the momenta of parameters that have their first gradients."""
    begun: list[Tensor] = []
    waiting: list[Tensor] = []
    for p in group["params"]:
        if p.grad is not None:
            (begun if optimizer.state[p].get("momentum_buffer") is not None else waiting).append(p)
    if waiting and group["dampening"]:
        if begun or getattr(optimizer, "found_inf", None) is not None:
            raise OptimzooError(
                "with dampening, torch's fused SGD cannot take parameters whose first gradient comes later than that "
                "of others, nor a first step that a GradScaler may skip: say fused=False"
            )
        return
    for p in waiting:
        optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
