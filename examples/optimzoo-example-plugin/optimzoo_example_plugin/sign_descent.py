"""An optimizer, as torch wants one."""

import torch


class SignDescent(torch.optim.Optimizer):
    """Step by the sign of the momentum (Bernstein et al. 2018, https://arxiv.org/abs/1802.04434)."""

    def __init__(self, params, lr=1e-3, momentum=0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter]
                    average = state.setdefault("average", torch.zeros_like(parameter))
                    average.lerp_(parameter.grad, 1 - group["momentum"])
                    parameter.sub_(average.sign(), alpha=group["lr"])
        return loss
