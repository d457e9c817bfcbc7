"""An optimizer without a fault."""

import torch


class Healthy(torch.optim.Optimizer):
    """Momentum and decoupled decay."""

    def __init__(self, params, lr=0.01, momentum=0.9, weight_decay=0.0, nesterov=False, foreach=None):
        if not 0 <= lr < float("inf"):
            raise ValueError(f"lr={lr}")
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        super().__init__(params, {**defaults, "foreach": foreach})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for index, param in enumerate(group["params"]):
                if param.grad is not None:
                    self.change(group, param, index)
        return loss

    def change(self, group, param, index):
        state = self.state[param]
        if not state:
            state["average"] = torch.zeros_like(param)
        average = state["average"].mul_(group["momentum"]).add_(param.grad)
        param.mul_(1 - group["lr"] * group["weight_decay"])
        param.sub_((param.grad + average * group["momentum"] if group["nesterov"] else average) * group["lr"])
