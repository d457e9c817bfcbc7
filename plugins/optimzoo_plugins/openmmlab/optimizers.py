"""LARS and LAMB as mmpretrain means them: a learning rate for each tensor, by its norm over that of its update."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optimzoo.errors import ConfigError
from optimzoo.values import number


class LARS(Optimizer):
    """SGD with a trust ratio per tensor (You, Gitman and Ginsburg 2017, https://arxiv.org/abs/1708.03888).

    ``rate = lr * eta * |w| / (|g| + weight_decay * |w| + eps)``, ``update = momentum * update + rate * (g +
    weight_decay * w)``, ``w = w - update``; where a norm is 0, and in groups with ``lars_exclude = True``, ``rate`` is
    ``lr``.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        momentum: Momentum, of updates that were multiplied by their rates.
        weight_decay: L2 penalty.
        dampening: Of the momentum.
        eta: The trust coefficient.
        nesterov: Nesterov's momentum, which wants a momentum and no dampening.
        eps: In the denominator.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor,
        momentum: float = 0,
        weight_decay: float = 0,
        dampening: float = 0,
        eta: float = 0.001,
        nesterov: bool = False,
        eps: float = 1e-8,
    ) -> None:
        for name, value in dict(momentum=momentum, dampening=dampening, eta=eta, eps=eps).items():
            number(value, name, 0)
        if nesterov and (momentum == 0 or dampening != 0):
            raise ConfigError("it wants a momentum and no dampening", "nesterov")
        defaults = dict(lr=lr, momentum=momentum, weight_decay=weight_decay, dampening=dampening)
        super().__init__(params, {**defaults, "eta": eta, "nesterov": nesterov, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters.

        Args:
            closure: Evaluates the loss again, with gradients, and returns it.
        """
        loss = _evaluated(closure)
        for group in self.param_groups:
            decay, momentum = group["weight_decay"], group["momentum"]
            for p in (p for p in group["params"] if p.grad is not None):
                update = p.grad.add(p, alpha=decay).mul_(group["lr"])
                if not group.get("lars_exclude", False):
                    norm, grad_norm = p.norm(), p.grad.norm()
                    ratio = group["eta"] * norm / (grad_norm + decay * norm + group["eps"])
                    update.mul_(torch.where((norm > 0) & (grad_norm > 0), ratio, 1))
                if momentum:
                    state = self.state[p]
                    if "momentum_buffer" in state:
                        state["momentum_buffer"].mul_(momentum).add_(update, alpha=1 - group["dampening"])
                    else:
                        state["momentum_buffer"] = update.clone()
                    buffer = state["momentum_buffer"]
                    update = update.add(buffer, alpha=momentum) if group["nesterov"] else buffer
                p.sub_(update)
        return loss


class Lamb(Optimizer):
    """Adam with a trust ratio per tensor (You et al. 2019, https://arxiv.org/abs/1904.00962), in NVIDIA's variant.

    All gradients are clipped to ``max_grad_norm`` first. ``u = m / (sqrt(v) + eps) + weight_decay * w``, with the
    moments corrected for their beginning, and ``w = w - lr * |w| / |u| * u``; the ratio is 1 where a norm is 0, and
    in groups without weight decay.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        bias_correction: Whether the moments are corrected; steps are counted by group.
        betas: Of the moments.
        eps: In the denominator.
        weight_decay: Decay, inside of the trust ratio.
        grad_averaging: Whether the first moment takes ``1 - beta1`` of a gradient, or all of it.
        max_grad_norm: The norm that all gradients together are clipped to; None for no clipping.
        trust_clip: Whether the trust ratio is at most 1.
        always_adapt: Whether groups without weight decay have the trust ratio too.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        bias_correction: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        grad_averaging: bool = True,
        max_grad_norm: float | None = 1.0,
        trust_clip: bool = False,
        always_adapt: bool = False,
    ) -> None:
        for beta in betas:
            number(beta, "betas", 0, 1)
        number(eps, "eps", 0)
        if max_grad_norm is not None and number(max_grad_norm, "max_grad_norm", 0) == 0:
            raise ConfigError("a number above 0 is wanted, or None", "max_grad_norm")
        switches = dict(bias_correction=bias_correction, grad_averaging=grad_averaging, trust_clip=trust_clip)
        defaults = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, max_grad_norm=max_grad_norm)
        super().__init__(params, {**defaults, **switches, "always_adapt": always_adapt})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters.

        Args:
            closure: Evaluates the loss again, with gradients, and returns it.
        """
        loss = _evaluated(closure)
        grads = {p: p.grad for group in self.param_groups for p in group["params"] if p.grad is not None}
        limit = self.defaults["max_grad_norm"]
        if grads and limit is not None:
            norm = torch.stack([grad.square().sum() for grad in grads.values()]).sum().sqrt()
            over = (norm / limit).clamp_min(1)
            grads = {p: grad / over.to(grad.dtype) for p, grad in grads.items()}
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            (beta1, beta2), decay = group["betas"], group["weight_decay"]
            first, second = (1 - beta ** group["step"] if group["bias_correction"] else 1.0 for beta in (beta1, beta2))
            for p in (p for p in group["params"] if p in grads):
                state, grad = self.state[p], grads[p]
                if not state:
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
                state["exp_avg"].mul_(beta1).add_(grad, alpha=1 - beta1 if group["grad_averaging"] else 1)
                state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
                denominator = (state["exp_avg_sq"].sqrt() / math.sqrt(second)).add_(group["eps"])
                update = (state["exp_avg"] / first).div_(denominator).add_(p, alpha=decay)
                if decay or group["always_adapt"]:
                    ratio, update_norm = p.norm(), update.norm()
                    ratio = torch.where((ratio > 0) & (update_norm > 0), ratio / update_norm, 1)
                    update.mul_(ratio.clamp_max(1) if group["trust_clip"] else ratio)
                p.sub_(update.mul_(group["lr"]))
        return loss


def _evaluated(closure: Callable[[], Any] | None) -> Any:
    """Return what ``closure`` does, with gradients."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
