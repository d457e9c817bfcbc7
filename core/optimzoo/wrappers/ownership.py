"""Whose gradients a parameter holds: an update uses those of its own losses, and no others.

torch adds the gradients of every backward pass to what is there. So a window of accumulation begins by dropping what it
finds, and the backward pass of one member of an OptimWrapperDict leaves those alone that another member accumulates.
A gradient that the wrappers know of is dropped without a word: it carries a note of its version, which a later backward
pass outdates. The note costs no look at the values.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim import Optimizer

from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning

NOTE = "_optimzoo_known"
OWN_GRADIENTS = {
    "opacus": "original_optimizer",
    "horovod": "",
    "apex.contrib.optimizers.distributed_fused_adam": "",
    "apex.contrib.optimizers.distributed_fused_lamb": "",
}
"""Packages and modules whose optimizers do not step by ``.grad`` as it is before the step."""
TRAINERS = ("accelerate", "deepspeed", "lightning", "lightning_fabric", "pytorch_lightning")
PREPARED_BY = {**dict.fromkeys(TRAINERS, "optimizer"), **OWN_GRADIENTS}
"""Packages and modules whose optimizers are wrappers of their own, and the attribute that is the optimizer inside."""


def with_grad(optimizer: Optimizer) -> list[Tensor]:
    """Return the parameters that have a gradient."""
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def note(params: Iterable[Tensor], kind: str = "left") -> None:
    """Note that the gradients of ``params`` are known.

    Args:
        params: The parameters.
        kind: What they are: ``"zeros"``, whose memory is used again, what the backward pass of another member has
            ``"left"``, or that under a loss scale, ``"scaled"``.
    """
    for grad in (p.grad for p in params if p.grad is not None):
        setattr(grad, NOTE, (grad._version, kind))


def noted(parameter: Tensor) -> str:
    """Return what the gradient is known as, if it is; see ``note``."""
    version, kind = getattr(parameter.grad, NOTE, (None, ""))
    return kind if version == parameter.grad._version else ""  # type: ignore[union-attr]


def drop_all_but_own(optimizer: Optimizer) -> None:
    """Drop the gradients that are there before the first backward pass of a window, and warn of unknown ones."""
    unknown: list[Tensor] = []
    for parameter in with_grad(optimizer):
        kind = noted(parameter)
        if kind == "zeros":
            continue
        if not kind:
            unknown.append(parameter.grad)  # type: ignore[arg-type]
        parameter.grad = None
    if unknown and any(bool(torch.as_tensor((grad != 0).any())) for grad in map(_values, unknown)):
        warnings.warn(
            f"{len(unknown)} parameters had gradients of a backward pass that was not the wrapper's before a window of "
            "accumulation began; they are dropped, for an update uses those of its own losses. To use them, add that "
            "loss to the one of update_params, or call optim_wrapper.backward(loss) for it",
            OptimzooWarning,
            stacklevel=4,
        )


def warn_of_changes() -> None:
    """Warn that something wrote the gradients of a window between two of its losses."""
    warnings.warn(
        "the gradients changed inside a window of accumulation, other than by its losses: by a backward pass that was "
        "not the wrapper's? What was added cannot be told apart, and is in the update",
        OptimzooWarning,
        stacklevel=4,
    )


def warn_without_gradients(optimizer: Optimizer) -> None:
    """Warn if no parameter has a gradient, though some are to be trained."""
    if any(p.grad is not None for group in optimizer.param_groups for p in group["params"]):
        return
    params = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    if not params:
        return
    warnings.warn(
        f"none of the {len(params)} parameters that {type(optimizer).__name__} steps has a gradient of this loss, so "
        "that the update changes nothing. Has the model other parameters than at the build (to_empty, assign=True, "
        "fully_shard)? Build the wrapper when the model is as it is to be trained",
        OptimzooWarning,
        stacklevel=4,
    )


@contextmanager
def apart_from(accumulating: Iterable[Optimizer], others: Iterable[Optimizer], scaled: bool) -> Iterator[None]:
    """Keep a backward pass out of the gradients that some optimizers accumulate, and note what it leaves in others."""
    held = [(p, p.grad) for each in accumulating for group in each.param_groups for p in group["params"]]
    others = list(others)
    before = {id(p): noted(p) for each in others for p in with_grad(each)}
    for parameter, _ in held:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, grad in held:
            parameter.grad = grad
        for parameter in (p for each in others for p in with_grad(each)):
            kind = before.get(id(parameter), "zeros")
            if kind:
                note([parameter], "scaled" if scaled or kind == "scaled" else "left")


def refuse_a_step_past_others(optimizer: Optimizer, own: bool) -> None:
    """Refuse to step where a library has yet to see to gradients that are not the wrapper's ``own``, or to any."""
    _refuse_a_step_by_accelerate(own)
    _refuse_a_step_without_opacus(optimizer)


def _refuse_a_step_by_accelerate(own: bool) -> None:
    """Refuse to step where accelerate accumulates gradients, or has scaled them; it steps what ``prepare`` returned."""
    state = sys.modules.get("accelerate.state")
    if state is None:
        return
    waits = state.GradientState._shared_state and not state.GradientState().sync_gradients
    if waits or (not own and state.AcceleratorState._shared_state.get("_mixed_precision") == "fp16"):
        raise OptimzooError(
            "accelerate accumulates or scales these gradients, and an optimizer wrapper does not know its steps. "
            "Prepare wrapper.optimizer and step what that returns, or leave accumulation and precision to the wrapper: "
            "update_params(loss), with accumulative_counts and AmpOptimWrapper"
        )


def warn_of_an_early_step(counts: int) -> None:
    """Warn that a step that is made by hand does not wait for its window."""
    warnings.warn(
        f"step() updates by what is there, though accumulative_counts is {counts} and its window is not full: call "
        "update_params(loss); or scale_loss(loss), backward(loss), and step() if should_update()",
        OptimzooWarning,
        stacklevel=4,
    )


def refuse_the_prepared(optimizer: Optimizer) -> None:
    """Refuse an optimizer that another library has wrapped to decide itself about its steps."""
    by = prepared_by(optimizer)
    what = f"{type(optimizer).__name__} of {by.partition('.')[0]}"
    if by in OWN_GRADIENTS:
        raise ConfigError(
            f"{what} makes or gathers the gradients of its steps itself, so clip_grad, weights and accumulation of the "
            "wrapper would not reach them: call its step() in a loop of your own, and give it to torch_scheduler",
            "optimizer",
        )
    if by:
        raise ConfigError(
            f"{what} accumulates, scales and skips by itself, which the wrapper would count as updates: wrap the "
            "optimizer before it is prepared",
            "optimizer",
        )


def prepared_by(optimizer: object) -> str:
    """Return which of ``PREPARED_BY`` made the optimizer into one of its own, or ''."""
    modules = [f"{cls.__module__}." for cls in type(optimizer).__mro__]
    return next((by for by in PREPARED_BY if any(module.startswith(f"{by}.") for module in modules)), "")


def _refuse_a_step_without_opacus(optimizer: Optimizer) -> None:
    """Refuse to step past an optimizer of Opacus by gradients that it has yet to clip and to add noise to."""
    if "opacus" in sys.modules and any(
        hasattr(p, "summed_grad") and getattr(p, "grad_sample", None) is not None for p in with_grad(optimizer)
    ):
        raise OptimzooError(
            "an optimizer of Opacus is to make these gradients private, and an optimizer wrapper steps without it: "
            "call the step() of the optimizer that make_private returned"
        )


def versions(optimizer: Optimizer) -> int:
    """Return a number that changes when anything writes a gradient."""
    grads = [parameter.grad for group in optimizer.param_groups for parameter in group["params"]]
    return sum([1 + grad._version for grad in grads if grad is not None])


def _values(grad: Tensor) -> Tensor:
    grad = grad.coalesce()._values() if grad.is_sparse else grad
    return grad.to_local() if hasattr(grad, "to_local") else grad
