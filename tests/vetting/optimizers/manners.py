"""Optimizers with one fault each, in their groups, arguments and manners, and some that only look faulty."""

import os
import signal
import time

import torch

from .healthy import Healthy
from .rates_and_states import Averages


class KeepsTheFirstGroups(Healthy):  # groups.added
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)
        self.known = [param for group in self.param_groups for param in group["params"]]

    def change(self, group, param, index):
        if any(param is known for known in self.known):
            super().change(group, param, index)


class TakesAnything(Healthy):  # arguments.misspelt
    def __init__(self, params, lr=0.01, momentum=0.9, weight_decay=0.0, **kwargs):
        super().__init__(params, lr, momentum, weight_decay)


class ForgetsNesterov(Healthy):  # arguments.effect
    def change(self, group, param, index):
        super().change({**group, "nesterov": False}, param, index)


class LeavesAutogradOff(Healthy):  # manners.error
    def step(self, closure=None):
        before = torch.is_grad_enabled()
        torch.set_grad_enabled(False)
        for group in self.param_groups:
            for index, param in enumerate(group["params"]):
                if param.grad is not None:
                    self.change(group, param, index)
        torch.set_grad_enabled(before)


class ClosureWithoutGradients(Healthy):  # manners.closure
    @torch.no_grad()
    def step(self, closure=None):
        loss = None if closure is None else closure()
        super().step()
        return loss


class DrawsWithoutASeed(Healthy):  # manners.random
    def change(self, group, param, index):
        noise = int.from_bytes(os.urandom(2), "big") / 2**16
        super().change({**group, "lr": group["lr"] * (1 + noise / 100)}, param, index)


class SharesItsCount(Healthy):  # manners.instances
    counts = {}  # noqa: RUF012

    def change(self, group, param, index):
        self.counts[index] = self.counts.get(index, 0) + 1
        super().change({**group, "lr": group["lr"] / self.counts[index]}, param, index)


class CopiesShareTheMomentum(Healthy):  # manners.copies
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)
        self.defaults["averages"] = Averages()

    def change(self, group, param, index):
        averages = self.defaults["averages"]
        averages[index, param.shape] = averages.get((index, param.shape), 0) * group["momentum"] + param.grad
        param.sub_(averages[index, param.shape] * group["lr"])


class TakesAnyLr(Healthy):  # arguments.lr
    def __init__(self, params, lr=0.01, **kwargs):
        super().__init__(params, 0.01, **kwargs)
        for group in self.param_groups:
            group["lr"] = lr


class ReadsMomentumOnce(Healthy):  # groups.settings
    def __init__(self, params, lr=0.01, momentum=0.9, weight_decay=0.0):
        super().__init__(params, lr, momentum, weight_decay)
        self.momentum = momentum

    def change(self, group, param, index):
        super().change({**group, "momentum": self.momentum}, param, index)


class LeavesAFile(Healthy):  # manners.litter
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)
        with open("wobble.log", "w"):
            pass


class Prints(Healthy):  # manners.quiet
    def change(self, group, param, index):
        print("one more update")
        super().change(group, param, index)


class SlowerFromPlaceToPlace(Healthy):  # groups.merge
    def change(self, group, param, index):
        super().change({**group, "lr": group["lr"] * 0.5**index}, param, index)


class WritesItsGroupsAnew(Healthy):  # groups.keys
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)
        known = ("params", "lr", "momentum", "weight_decay", "nesterov", "foreach")
        self.param_groups = [{key: group[key] for key in known} for group in self.param_groups]


class WantsAClosure(Healthy):  # needs
    def step(self, closure):
        return super().step(closure)


class WantsAnAccelerator(Healthy):  # needs
    def change(self, group, param, index):
        raise RuntimeError("Torch not compiled with CUDA enabled")


class GoesAround(Healthy):  # needs
    def __init__(self, params, base_optimizer, **kwargs):
        self.inside = base_optimizer(params, lr=kwargs.pop("lr", 0.01))
        super().__init__(params, **kwargs)
        self.param_groups, self.state = self.inside.param_groups, self.inside.state

    def step(self, closure=None):
        return self.inside.step(closure)


def slowed(cls):
    """Return a class that takes half the steps of another, and forgets to switch autograd on after an error."""

    class Slowed(cls):
        def __init__(self, params, lr=0.01):
            super().__init__(params, lr=lr / 2)

        def step(self, closure=None):
            torch.set_grad_enabled(False)
            super().step(closure)
            torch.set_grad_enabled(True)

    return Slowed


class HoldsStillAtFirst(Healthy):
    """Healthy: its first ten updates only gather."""

    def change(self, group, param, index):
        count = self.state[param].get("count", 0)
        super().change(group if count > 10 else {**group, "lr": 0.0}, param, index)
        self.state[param]["count"] = count + 1


class ComesToNesterovLate(Healthy):
    """Healthy: it begins with the plain momentum, and its decay is small for long."""

    def change(self, group, param, index):
        count = self.state[param].get("count", 0)
        late = {"nesterov": group["nesterov"] and count > 30, "weight_decay": group["weight_decay"] * 1e-7}
        super().change({**group, **late}, param, index)
        self.state[param]["count"] = count + 1


class AddsNoise(Healthy):
    """Healthy: it draws from the global random numbers, for each parameter that has a gradient."""

    def change(self, group, param, index):
        super().change(group, param, index)
        param.add_(torch.randn_like(param) * group["lr"] * 1e-3)


class RoundsItsWeights(Healthy):
    """Healthy: at a rate of 0 its parameters are still put together from two parts."""

    def change(self, group, param, index):
        super().change(group, param, index)
        param.copy_(param * 0.9 + param * 0.1)


class CountsInTheGroup(Healthy):
    """Healthy: a warm-up of its own, whose count is in the groups."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["count"] = group.get("count", 0) + 1
        return super().step(closure)

    def change(self, group, param, index):
        super().change({**group, "lr": group["lr"] * min(1.0, group["count"] / 5)}, param, index)


class Crashes(Healthy):
    def change(self, group, param, index):
        os.kill(os.getpid(), signal.SIGKILL)


class Hangs(Healthy):
    def change(self, group, param, index):
        time.sleep(100)


class Raises(Healthy):
    def change(self, group, param, index):
        raise ArithmeticError("no luck")
