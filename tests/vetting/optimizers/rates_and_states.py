"""Optimizers with one fault each, in how they train, use rates and decays, or keep their state."""

import collections

import torch

from .healthy import Healthy


class Backwards(Healthy):  # trains
    def change(self, group, param, index):
        param.add_(param.grad * group["lr"])


class ReadsLrOnce(Healthy):  # lr
    def __init__(self, params, lr=0.01, **kwargs):
        super().__init__(params, lr, **kwargs)
        self.rate = lr

    def change(self, group, param, index):
        super().change({**group, "lr": self.rate}, param, index)


class DecaysMatrices(Healthy):  # decay
    def change(self, group, param, index):
        decay = group["weight_decay"] if param.ndim > 1 else 0
        super().change({**group, "weight_decay": decay}, param, index)


class SharesTheRate(Healthy):
    """Puts each parameter into a group of its own, all of which share the rate, be it a tensor."""

    def __init__(self, params, lr=0.01):
        super().__init__([{"params": [p]} for p in params], lr)


class TurnsOnRounding(Healthy):
    """Moves half as far again where a bit says so that rounding alone changes."""

    def change(self, group, param, index):
        param.grad.mul_(1 + (param.view(torch.int32) & 1) / 2)
        super().change({**group, "lr": (group["lr"] ** 0.5) ** 2}, param, index)


class KeepsItsCountInTheState(Healthy):
    """Counts its updates in an attribute that its state holds."""

    count = 0

    def state_dict(self):
        return {**super().state_dict(), "count": self.count}

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.count = state_dict["count"]

    def step(self, closure=None):
        self.count += 1
        return super().step(closure)


class UsesTheLastLr(Healthy):  # lr
    def change(self, group, param, index):
        now = group["lr"]
        super().change({**group, "lr": self.state[param].get("rate", now)}, param, index)
        self.state[param]["rate"] = now


class Reinitialises(Healthy):  # lr.zero
    def change(self, group, param, index):
        if not self.state[param]:
            param.copy_(torch.ones_like(param) / 8)
        super().change(group, param, index)


class WritesIntoTheTensor(Healthy):  # lr.tensor
    def change(self, group, param, index):
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].mul_(1.01)
        super().change(group, param, index)


class OtherNumbersForATensor(Healthy):  # lr.tensor
    def change(self, group, param, index):
        lr = group["lr"] * 2 if isinstance(group["lr"], torch.Tensor) else group["lr"]
        super().change({**group, "lr": lr}, param, index)


class DividesByTheTensor(Healthy):  # lr.tensor
    def __init__(self, params, lr=0.01, weight_decay=0.0):
        super().__init__(params, lr, weight_decay=weight_decay)
        self.first = lr

    def change(self, group, param, index):
        super().change({**group, "weight_decay": group["weight_decay"] / self.first}, param, index)


class WritesTheLr(Healthy):  # lr.written
    def change(self, group, param, index):
        super().change(group, param, index)
        group["lr"] *= 1.01


class SubtractsAConstant(Healthy):  # decay
    def change(self, group, param, index):
        param.sub_(group["lr"] * group["weight_decay"])
        super().change({**group, "weight_decay": 0.0}, param, index)


class RelativeDecay(Healthy):  # decay
    def change(self, group, param, index):
        param.mul_(1 - group["weight_decay"] * group["lr"] / self.defaults["lr"])
        super().change({**group, "weight_decay": 0.0}, param, index)


class DividesTheDecay(Healthy):  # decay.frozen
    def change(self, group, param, index):
        param.sub_(param * 0.01 / (param.grad.square().mean() + 1e-5))
        super().change(group, param, index)


class KeepsItsStateToItself(Healthy):  # resume
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)
        self.averages = {}

    def change(self, group, param, index):
        average = self.averages.get(param, torch.zeros_like(param))
        self.averages[param] = average * group["momentum"] + param.grad
        param.sub_(self.averages[param] * group["lr"])


class CountsOutside(Healthy):  # resume
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)
        self.count = 0

    def step(self, closure=None):
        self.count += 1
        return super().step(closure)

    def change(self, group, param, index):
        super().change({**group, "lr": group["lr"] / self.count}, param, index)


class HasItsOwnGenerator(Healthy):  # resume, of one that samples second derivatives
    def __init__(self, params, lr=0.01):
        super().__init__(params, lr)
        self.generator = torch.Generator().manual_seed(0)

    def change(self, group, param, index):
        signs = torch.randint(0, 2, param.shape, generator=self.generator) * 2.0 - 1.0
        (curved,) = torch.autograd.grad(param.grad, param, signs, retain_graph=True)
        param.sub_(param.grad * group["lr"] / (signs * curved).abs().clamp(min=0.5))


class HasAString(Healthy):  # state.kinds
    def change(self, group, param, index):
        super().change(group, param, index)
        self.state[param]["einsum"] = "ij,jk->ik"


class DecaysByTheRoot(Healthy):  # decay
    def change(self, group, param, index):
        param.mul_(1 - group["lr"] ** 0.5 * group["weight_decay"])
        super().change({**group, "weight_decay": 0.0}, param, index)


class DecaysAllGroupsAlike(Healthy):  # decay.groups
    def change(self, group, param, index):
        super().change({**group, "weight_decay": self.defaults["weight_decay"]}, param, index)


class DecaysByTheLrItIsBuiltWith(Healthy):  # decay
    def change(self, group, param, index):
        param.mul_(1 - self.defaults["lr"] * group["weight_decay"])
        super().change({**group, "weight_decay": 0.0}, param, index)


class DecaysAsTheFirstGroup(Healthy):  # decay.groups
    def change(self, group, param, index):
        super().change({**group, "weight_decay": self.param_groups[0]["weight_decay"]}, param, index)


class KeepsItsMomentumInAClosure(Healthy):  # resume
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)
        averages = {}

        def change(group, param, index):
            averages[param] = averages.get(param, 0) * group["momentum"] + param.grad
            param.sub_(averages[param] * group["lr"])

        self.change = change


class KeepsItsOwnLrOnLoading(Healthy):  # resume
    def load_state_dict(self, state_dict):
        groups = self.state_dict()["param_groups"]
        super().load_state_dict({**state_dict, "param_groups": groups})


class Averages(dict):
    def __deepcopy__(self, memo):
        return self


class TakesTheFirstLr(Healthy):  # lr.groups
    def change(self, group, param, index):
        super().change({**group, "lr": self.param_groups[0]["lr"]}, param, index)


class CopiesOfItsStateShare(Healthy):  # resume.memory
    def change(self, group, param, index):
        averages = self.state[param].setdefault("averages", Averages())
        averages[0] = averages.get(0, 0) * group["momentum"] + param.grad
        param.sub_(averages[0] * group["lr"])

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        for index, param in enumerate(p for group in self.param_groups for p in group["params"]):
            self.state[param] = state_dict["state"][index]


class LoadsItsFirstGroup(Healthy):  # resume.groups
    def load_state_dict(self, state_dict):
        count = len(state_dict["param_groups"][0]["params"])
        state = {index: value for index, value in state_dict["state"].items() if index < count}
        super().load_state_dict({**state_dict, "state": state})


class KeepsAWideState(Healthy):  # resume.bfloat16
    def change(self, group, param, index):
        state = self.state[param]
        state["average"] = state.get("average", torch.zeros(param.shape)).float() * group["momentum"] + param.grad
        param.sub_(state["average"] * group["lr"])


class KeepsEveryGradient(Healthy):  # state
    def change(self, group, param, index):
        super().change(group, param, index)
        self.state[param].setdefault("seen", []).append(param.grad.clone())


class BeginsItsMeanLate(Healthy):  # state
    def change(self, group, param, index):
        super().change(group, param, index)
        self.state[param]["step"] = self.state[param].get("step", 0) + 1
        if self.state[param]["step"] == 6:
            self.state[param]["mean"] = param.clone()


class Mean:
    def __init__(self, param):
        self.last = collections.deque([param.clone()])


class HasItsMeanInAnObject(Healthy):  # state
    def change(self, group, param, index):
        super().change(group, param, index)
        self.state[param]["mean"] = Mean(param)


class HasOptimizersInAList(Healthy):  # state
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)
        self.inner = [BeginsItsMeanLate(group["params"]) for group in self.param_groups]

    def step(self, closure=None):
        return self.inner[0].step(closure)


class HasAnObject(Healthy):  # state.weights_only, state.kinds
    def change(self, group, param, index):
        super().change(group, param, index)
        self.state[param]["averages"] = Averages()


class CountsBesideTheState(Healthy):  # state.outside
    count = 0

    def change(self, group, param, index):
        super().change(group, param, index)
        self.count += 1


class DecaysByTheGradient(Healthy):  # decay
    def change(self, group, param, index):
        decay = group["weight_decay"] * param.grad.norm()
        super().change({**group, "weight_decay": decay}, param, index)


class ReadsNoDecay(Healthy):  # decay
    def change(self, group, param, index):
        super().change({**group, "weight_decay": 0.0}, param, index)
