"""torch's Muon, which steps matrices of one shape together where that gives the same numbers to the bit.

Its groups may say more than torch's. ``num_heads = n``: the rows are ``n`` equal blocks, such as the heads of an
attention, each made orthogonal by itself. ``as_matrix = true``: the weight of a convolution is stepped as the matrix
whose rows are its output channels (https://kellerjordan.github.io/posts/muon/).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optimzoo.errors import ConfigError
from optimzoo.values import one_of, whole_number

MUON: Any = getattr(torch.optim, "Muon", ())
HEADS, AS_MATRIX = "num_heads", "as_matrix"
LARGEST = 2**16
"""The most elements of a matrix that gains by it: the products of larger ones keep a processor busy by themselves."""
TOGETHER = 2**22
"""The most elements of matrices that are stepped together, of which copies are made."""

SIDE = 24
"""The least rows and columns: of thin matrices, products go through other code, of which a trial may see nothing, since
one matrix in thousands is rounded otherwise."""
TRIED = 2**17
"""Elements that are compared before matrices of a shape are stepped together."""

Matrix = tuple[Tensor, Tensor, Tensor]
"""A parameter or a part of it, its gradient and its momentum."""
_exact: dict[Any, bool] = {}
"""Whether matrices of a shape that are stepped together are to the bit those that torch steps, as was found."""


def matrices_only(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group without the parameters that torch refuses, for its constructor."""
    return {**group, "params": [parameter for parameter in group["params"] if parameter.ndim == 2]}


def check_blocks(groups: Iterable[Mapping[str, Any]]) -> None:
    """Check what groups say of their matrices.

    Raises:
        ConfigError: The rows of a parameter make no such blocks.
    """
    for group in groups:
        one_of(group.get(AS_MATRIX, False), (True, False), AS_MATRIX)
        heads = whole_number(group.get(HEADS, 1), HEADS, 1)
        uneven = [n for n, parameter in enumerate(group["params"]) if parameter.ndim > 1 and len(parameter) % heads]
        if uneven:
            names = group.get("param_names") or [f"parameter {n}" for n in range(len(group["params"]))]
            rows = len(group["params"][uneven[0]])
            raise ConfigError(f"the {rows} rows of {names[uneven[0]]} are not {heads} equal blocks", HEADS)


class StepsTogether:
    """Takes the place of ``torch.optim.Muon._init_group``: what it leaves, torch steps one by one.

    Args:
        optimizer: A ``torch.optim.Muon``; copied or pickled by itself, it goes on so.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        vars(optimizer).update(self._attributes())

    def _attributes(self) -> dict[str, Any]:
        return {"_init_group": self, "__getstate__": self.state_to_copy}

    def state_to_copy(self) -> dict[str, Any]:
        """Take the place of ``Optimizer.__getstate__``, which forgets attributes."""
        return {**torch.optim.Optimizer.__getstate__(self._optimizer), **self._attributes()}

    def __call__(self, group: dict[str, Any], *left: list[Tensor]) -> bool:
        """Step what matrices of a group are stepped together, and add the others to the lists that torch steps.

        Args:
            group: The group.
            left: The lists of parameters, gradients and momenta, empty.
        """
        if HEADS in group:
            check_blocks([group])  # which may have been added, or changed, since the build
        found: tuple[list[Tensor], list[Tensor], list[Tensor]] = [], [], []
        is_complex: bool = type(self._optimizer)._init_group(self._optimizer, group, *found)
        settings = {key: group[key] for key in _SETTINGS}
        alike: dict[Any, list[Matrix]] = {}
        for parameter, grad, momentum in zip(*found):
            if type(grad) is not Tensor:  # shared out over processes
                alike.setdefault(parameter, []).append((parameter, grad, momentum))
                continue
            if momentum.stride() != parameter.stride():
                momentum = torch.empty_like(parameter, dtype=momentum.dtype).copy_(momentum)
                self._optimizer.state[parameter]["momentum_buffer"] = momentum
            for block in zip(*(_blocks(each, parameter, group.get(HEADS, 1)) for each in (parameter, grad, momentum))):
                alike.setdefault(_kind(block), []).append(block)
        for kind, matrices in alike.items():
            for some in _cut(matrices):
                if isinstance(kind, Tensor) or not _steps_together(kind, some, settings, is_complex):
                    for each, new in zip(left, zip(*some)):
                        each.extend(new)
        return is_complex


_SETTINGS = ("lr", "weight_decay", "momentum", "nesterov", "ns_coefficients", "eps", "ns_steps", "adjust_lr_fn")


def _blocks(tensor: Tensor, parameter: Tensor, heads: int) -> Sequence[Tensor]:
    """Return the matrices of which a tensor is made; of a parameter and a momentum, parts of their memory."""
    if parameter.ndim > 2:  # in the order of the parameter's memory: to mix up columns changes nothing
        inner = sorted(range(1, parameter.ndim), key=parameter.stride, reverse=True)
        tensor = tensor.permute(0, *inner).reshape(len(tensor), -1)
    return tensor.chunk(heads) if heads > 1 else (tensor,)


def _kind(matrix: Matrix) -> Any:
    return matrix[0].shape, matrix[0].device, *((tensor.dtype, tensor.stride()) for tensor in matrix)


def _cut(matrices: list[Matrix]) -> Iterable[list[Matrix]]:
    most = max(TOGETHER // max(matrices[0][0].numel(), 1), 1)
    return (matrices[start : start + most] for start in range(0, len(matrices), most))


def _steps_together(kind: Any, matrices: list[Matrix], settings: Mapping[str, Any], is_complex: bool) -> bool:
    """Step matrices of one kind together, unless they gain nothing by it or torch steps them otherwise."""
    shape = matrices[0][0].shape
    if len(matrices) < 2 or min(shape) < SIDE or shape.numel() > LARGEST:
        return False
    how = (kind, len(matrices), torch.get_num_threads(), *(str(v) for k, v in settings.items() if k in _SETTINGS[3:]))
    if how not in _exact:
        _exact[how] = _is_exact(matrices, settings, is_complex)
    if _exact[how]:
        _step(matrices, **settings)
    return _exact[how]


def _is_exact(matrices: list[Matrix], settings: Mapping[str, Any], is_complex: bool) -> bool:
    """Whether copies of matrices, and others at random, are the same to the bit one by one and together.

    One number in thousands may differ where products of single matrices and of several go through other code.
    """
    generator = torch.Generator(matrices[0][0].device).manual_seed(0)
    tried = [[tuple(tensor.clone() for tensor in matrix) for matrix in matrices]]
    while len(tried) * len(matrices) * matrices[0][0].numel() < TRIED:
        tried.append([tuple(torch.empty_like(t).normal_(generator=generator) for t in m) for m in matrices])
    for some in tried:
        one_by_one = [tuple(tensor.clone() for tensor in matrix) for matrix in some]
        lists = [list(each) for each in zip(*one_by_one)]
        try:
            torch.optim._muon.muon(*lists, **settings, has_complex=is_complex)
            _step(some, **settings)
        except (AttributeError, TypeError):  # a torch whose Muon is made otherwise
            return False
        if not all(map(torch.equal, *([each for matrix in m for each in matrix] for m in (one_by_one, some)))):
            return False
    return True


def _step(
    matrices: Sequence[Any],
    lr: Any,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
    ns_coefficients: tuple[float, float, float],
    eps: float,
    ns_steps: int,
    adjust_lr_fn: str | None,
) -> None:
    params, grads, momenta = zip(*matrices)
    updates = torch.empty(len(params), *params[0].shape, dtype=torch.bfloat16, device=params[0].device)
    for update, grad, mean in _in_turn(updates.unbind(), grads, momenta):
        torch._foreach_lerp_(mean, grad, 1 - momentum)
        torch._foreach_copy_(update, torch._foreach_lerp(grad, mean, momentum) if nesterov else mean)
    found = _orthogonalized(updates, ns_coefficients, ns_steps, eps)
    rate = float(lr)
    adjusted = torch.optim._muon._adjust_lr(rate, adjust_lr_fn, params[0].shape)
    for parameter, update in _in_turn(params, found.unbind()):
        torch._foreach_mul_(parameter, 1 - rate * weight_decay)
        torch._foreach_add_(parameter, update, alpha=-adjusted)


def _in_turn(*lists: Sequence[Tensor]) -> Iterable[Any]:
    """Yield parts of the lists: all on an accelerator; on a CPU one tensor of each, which stays in its caches."""
    if lists[0][0].device.type != "cpu":
        return [lists]
    return zip(*([[tensor] for tensor in each] for each in lists))


def _orthogonalized(found: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Return what Newton-Schulz iterations make of matrices (n, rows, columns) in bfloat16, which is overwritten."""
    a, b, c = coefficients
    norms = torch.linalg.vector_norm(found.flatten(1), dim=1)
    is_tall = found.shape[1] > found.shape[2]
    if is_tall:
        found = found.mT
    found.div_(norms.clamp(min=eps)[:, None, None])
    for _ in range(steps):
        gram = torch.bmm(found, found.mT)
        gram = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        found = torch.baddbmm(found, gram, found, beta=a)
    return found.mT if is_tall else found
