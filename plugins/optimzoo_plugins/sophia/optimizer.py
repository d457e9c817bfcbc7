"""Sophia: a momentum divided by a diagonal Hessian that is estimated now and then, and clipped."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optimzoo.errors import OptimzooError, OptimzooWarning
from optimzoo.values import number, one_of, whole_number
from optimzoo.wrappers.curvature import SampledLoss

ESTIMATORS = ("hutchinson", "gnb")


class Sophia(Optimizer):
    """Sophia with a choice of Hessian estimator; Hutchinson's by default (Sophia-H).

    With the gradient ``g`` and the estimate ``e`` of the Hessian's diagonal, each update is

        m = beta1 * m + (1 - beta1) * g
        h = beta2 * h + (1 - beta2) * e          every k updates, beginning with the first
        p = p - lr * weight_decay * p
        p = p - lr * clip(m / max(rho * h, eps), -1, 1)

    The estimate is ``u * (H u)`` with a Gaussian ``u`` (``"hutchinson"``), or ``B`` times the square of the gradient of
    the mean loss on ``B`` labels sampled from the model (``"gnb"``, Gauss-Newton-Bartlett).
    ``OptimWrapper.update_params`` runs it from the loss of the iteration that completes an update, and averages it over
    processes.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        betas: Decay rates of the momentum and of the Hessian.
        rho: The scale of the Hessian (the paper's gamma): smaller clips more.
        eps: The floor of the denominator.
        weight_decay: Decoupled weight decay.
        k: Updates from one estimate to the next.
        estimator: ``"hutchinson"`` or ``"gnb"``.

    Raises:
        ConfigError: An argument is out of its range.

    Reference:
        Liu, Li, Hall, Liang and Ma, *Sophia: A Scalable Stochastic Second-order Optimizer for Language Model
        Pre-training*, https://arxiv.org/abs/2305.14342, algorithms 1 to 3.

    Examples:
        >>> import torch
        >>> from optimzoo import build_optim_wrapper
        >>> model = torch.nn.Linear(2, 3)
        >>> wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="Sophia", lr=1e-2, k=5)))
        >>> logits = model(torch.randn(8, 2))
        >>> wrapper.update_params(torch.nn.functional.cross_entropy(logits, torch.zeros(8, dtype=torch.long)))
        <StepOutcome.UPDATED: 'updated'>
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.965, 0.99),
        rho: float = 0.01,
        eps: float = 1e-12,
        weight_decay: float = 0.1,
        k: int = 10,
        estimator: str = "hutchinson",
    ) -> None:
        for name, value in (("lr", lr), ("rho", rho), ("eps", eps), ("weight_decay", weight_decay)):
            number(float(value), name, 0)
        for index, beta in enumerate(betas):
            number(beta, f"betas[{index}]", 0, 1)
        whole_number(k, "k", 1)
        one_of(str(estimator).lower(), ESTIMATORS, "estimator")
        self.k = k
        self.estimator = str(estimator).lower()
        defaults = {"lr": lr, "betas": tuple(betas), "rho": rho, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "step": 0})
        self._estimates: list[tuple[Tensor, Tensor]] = []

    def __getstate__(self) -> dict[str, Any]:
        # Of which a copy has nothing, if torch's Optimizer is asked.
        return {**super().__getstate__(), "k": self.k, "estimator": self.estimator, "_estimates": []}

    def curvature_due(self) -> bool:
        """Whether the next update is one in ``k`` that wants a fresh estimate."""
        return bool(self.param_groups[0]["step"] % self.k == 0)

    def update_curvature(self, loss: Tensor, sampled_loss: SampledLoss | None = None) -> None:
        """Estimate the diagonal of the Hessian. The graph of ``loss`` is kept.

        The next ``step`` folds the estimate into the moving average; if there is none, because the update is skipped,
        the next estimate takes its place.

        Args:
            loss: The loss before its backward pass; Hutchinson's estimate differentiates it twice.
            sampled_loss: Returns the mean loss on sampled labels and their number, for ``estimator="gnb"``; without it
                that estimator falls back on Hutchinson's, with a warning.
        """
        params = [p for group in self.param_groups for p in group["params"] if p.requires_grad]
        if self.estimator == "gnb" and sampled_loss is not None:
            estimates = _gauss_newton_bartlett(sampled_loss, params)
        else:
            if self.estimator == "gnb":
                warnings.warn(
                    "Sophia-G got no sampled loss, so it uses Hutchinson's estimate. For the paper's, pass "
                    "curvature=lambda: sampled_cross_entropy(logits) to update_params, or set the Runner's "
                    "curvature to a function of the model and a batch that returns it",
                    OptimzooWarning,
                    stacklevel=3,
                )
            estimates = _hutchinson(loss, params)
        averaged = zip(params, _averaged_over_processes(estimates))
        self._estimates = [(p, estimate) for p, estimate in averaged if estimate is not None]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters.

        Args:
            closure: Evaluates the loss again, with gradients, and returns it.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self.curvature_due() and not self._estimates:
            warnings.warn(
                "Sophia steps without a fresh curvature estimate. Train through OptimWrapper.update_params, or call "
                "update_curvature(loss) before loss.backward()",
                OptimzooWarning,
                stacklevel=2,
            )
        estimates, self._estimates = dict(self._estimates), []
        for group in self.param_groups:
            for p in (p for p in group["params"] if p in estimates):
                hessian = self._state_of(p)["hessian"]
                hessian.lerp_(estimates[p].to(hessian.dtype), 1 - group["betas"][1])
            params = [p for p in group["params"] if p.grad is not None]
            group["step"] += 1
            if params:
                self._update(group, params)
        return loss

    def _update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        grads = [p.grad for p in params if p.grad is not None]
        if any(grad.is_sparse for grad in grads):
            raise OptimzooError("Sophia does not take sparse gradients; give sparse embeddings to SparseAdam")
        momenta = [self._state_of(p)["exp_avg"] for p in params]
        hessians = [self._state_of(p)["hessian"] for p in params]
        lr, beta1 = group["lr"], group["betas"][0]
        torch._foreach_lerp_(momenta, grads, 1 - beta1)
        torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
        denominators = torch._foreach_mul(hessians, group["rho"])
        torch._foreach_clamp_min_(denominators, group["eps"])
        updates = torch._foreach_div(momenta, denominators)
        torch._foreach_clamp_max_(updates, 1)
        torch._foreach_clamp_min_(updates, -1)
        torch._foreach_mul_(updates, lr)
        torch._foreach_sub_(params, updates)

    def _state_of(self, parameter: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["hessian"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state


class SophiaG(Sophia):
    """Sophia with the Gauss-Newton-Bartlett estimate, and the authors' defaults for it.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        betas: Of the momentum and of the Hessian.
        rho: The scale of the Hessian: smaller clips more.
        weight_decay: Decoupled weight decay.
        eps: The floor of the denominator.
        k: Updates from one estimate to the next.

    Examples:
        >>> import torch
        >>> from optimzoo import build_optim_wrapper
        >>> from optimzoo.wrappers import sampled_cross_entropy
        >>> model = torch.nn.Linear(2, 3)
        >>> wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SophiaG", lr=2e-4, rho=0.01)))
        >>> logits = model(torch.randn(8, 2))
        >>> loss = torch.nn.functional.cross_entropy(logits, torch.zeros(8, dtype=torch.long))
        >>> wrapper.update_params(loss, curvature=lambda: sampled_cross_entropy(logits))
        <StepOutcome.UPDATED: 'updated'>
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.965, 0.99),
        rho: float = 0.04,
        weight_decay: float = 0.1,
        eps: float = 1e-12,
        k: int = 10,
    ) -> None:
        super().__init__(params, lr, betas, rho, eps, weight_decay, k, estimator="gnb")


def _gauss_newton_bartlett(sampled_loss: SampledLoss, params: list[Tensor]) -> list[Tensor | None]:
    sampled = sampled_loss()
    if not (isinstance(sampled, tuple) and len(sampled) == 2 and isinstance(sampled[0], Tensor)):
        raise OptimzooError(
            "curvature= returns a loss on sampled labels and their number, as sampled_cross_entropy(logits) does; got "
            f"{type(sampled).__name__}"
        )
    loss, count = sampled
    grads = torch.autograd.grad(loss, params, retain_graph=True, allow_unused=True)
    return [None if grad is None else grad.square().mul_(count) for grad in grads]


def _hutchinson(loss: Tensor, params: list[Tensor]) -> list[Tensor | None]:
    try:
        grads = torch.autograd.grad(loss, params, create_graph=True, allow_unused=True)
        curved = [grad for grad in grads if grad is not None and grad.requires_grad]
        noise = [torch.randn_like(p) for p in params]
        if not curved:  # the loss is linear in the parameters
            return [None if grad is None else torch.zeros_like(grad) for grad in grads]
        directions = [u for u, grad in zip(noise, grads) if grad is not None and grad.requires_grad]
        products = torch.autograd.grad(curved, params, directions, retain_graph=True, allow_unused=True)
    except RuntimeError as error:
        raise OptimzooError(
            f"Hutchinson's estimate differentiates the loss twice, and an operation of the model cannot: {error}. Use "
            "SophiaG with update_params(loss, curvature=...), or run attention under "
            "torch.nn.attention.sdpa_kernel(SDPBackend.MATH)"
        ) from error
    return [None if product is None else u * product for u, product in zip(noise, products)]


def _averaged_over_processes(estimates: list[Tensor | None]) -> list[Tensor | None]:
    """Return the mean over the processes of a distributed run, each of which saw its own part of the batch."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        for estimate in (e for e in estimates if e is not None):
            distributed.all_reduce(estimate)
            estimate.div_(distributed.get_world_size())
    return estimates
