"""A healthy optimizer, and others that differ from it by one fault each."""

import collections
import os
import signal
import time

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


class Backwards(Healthy):  # trains
    def change(self, group, param, index):
        param.add_(param.grad * group["lr"])


class ReadsLrOnce(Healthy):  # lr
    def __init__(self, params, lr=0.01, **kwargs):
        super().__init__(params, lr, **kwargs)
        self.rate = lr

    def change(self, group, param, index):
        super().change({**group, "lr": self.rate}, param, index)


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


class KeepsTheFirstGroups(Healthy):  # groups.added
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)
        self.known = [param for group in self.param_groups for param in group["params"]]

    def change(self, group, param, index):
        if any(param is known for known in self.known):
            super().change(group, param, index)


class DecaysWithoutAGradient(Healthy):  # gradients.missing
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for param in group["params"]:
                param.mul_(0.999)
        return super().step(closure)


class FailsOnALateGradient(Healthy):  # gradients.late
    @torch.no_grad()
    def step(self, closure=None):
        if not self.state:
            self.known = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        return super().step(closure)

    def change(self, group, param, index):
        if any(param is known for known in self.known):
            super().change(group, param, index)


class DividesByTheNorm(Healthy):  # gradients.zero
    def change(self, group, param, index):
        param.sub_(param.grad / param.grad.norm() * group["lr"])


class DividesByTheDeviation(Healthy):  # shapes
    def change(self, group, param, index):
        rate = (param.grad.norm() / (param.grad.std(correction=0) + 1e-8)).item() if param.ndim else 1.0
        super().change({**group, "lr": group["lr"] * rate}, param, index)


class MakesContiguous(Healthy):  # shapes.layout
    def change(self, group, param, index):
        param.data = param.data.contiguous()
        super().change(group, param, index)


class OtherwiseWhenLarge(Healthy):  # shapes.size
    def change(self, group, param, index):
        rate = group["lr"] * (100 if param.numel() >= 8192 else 1)
        super().change({**group, "lr": rate}, param, index)


class OverflowsInDouble(Healthy):  # dtypes
    def change(self, group, param, index):
        super().change(group, param, index)
        if param.dtype == torch.float64:
            param.div_(0)


class NormalisesTheMomentumInBfloat16(Healthy):  # dtypes.bfloat16
    def change(self, group, param, index):
        super().change(group, param, index)
        average = self.state[param]["average"]
        update = average.clone() if group["nesterov"] else average.bfloat16()
        update.div_(update.norm() + 1e-7)


class DividesByALittle(Healthy):  # dtypes.small
    def change(self, group, param, index):
        size = param.grad.abs()
        param.grad /= size + 1e-8
        super().change(group, param, index)
        param.grad *= size


class AveragesSquares(Healthy):  # dtypes.forgets
    def change(self, group, param, index):
        super().change(group, param, index)
        state = self.state[param]
        squares = state.setdefault("squares", torch.zeros_like(param))
        squares.mul_(0.999).addcmul_(param.grad, param.grad, value=0.001)


class OtherwiseInForeach(Healthy):  # kernels
    def change(self, group, param, index):
        super().change({**group, "lr": group["lr"] * (1.01 if group["foreach"] else 1)}, param, index)


class LeavesHalfTheNumbersInForeach(Healthy):  # kernels.half
    def change(self, group, param, index):
        before = param.clone()
        super().change(group, param, index)
        if group["foreach"] and param.dtype is torch.bfloat16:
            param.view(-1)[::2] = before.view(-1)[::2]


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


class DecaysByTheRoot(Healthy):  # decay
    def change(self, group, param, index):
        param.mul_(1 - group["lr"] ** 0.5 * group["weight_decay"])
        super().change({**group, "weight_decay": 0.0}, param, index)


class DecaysAllGroupsAlike(Healthy):  # decay.groups
    def change(self, group, param, index):
        super().change({**group, "weight_decay": self.defaults["weight_decay"]}, param, index)


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


class MixesUpStates(Healthy):  # gradients.missing
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)
        self.order = [torch.nn.Parameter(torch.zeros(0)) for _ in range(9)]

    @torch.no_grad()
    def step(self, closure=None):
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for number, param in enumerate(p for p in group["params"] if p.grad is not None):
                state = self.state[self.order[number]]
                average = state.get("average", 0) * group["momentum"] + param.grad
                state["average"] = average
                param.sub_(average * group["lr"])
        return loss


class StopsAtAMissingGradient(Healthy):  # gradients.missing
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for index, param in enumerate(group["params"]):
                if param.grad is None:
                    return
                self.change(group, param, index)


class LeavesGradients(Healthy):  # gradients.zero_grad
    def zero_grad(self, set_to_none=True):
        pass


class ForgetsTheTail(Healthy):  # kernels
    def change(self, group, param, index):
        last = param.view(-1)[-1:].clone()
        super().change(group, param, index)
        if group["foreach"] and param.numel() % 4:
            param.view(-1)[-1:] = last


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


class Averages(dict):
    def __deepcopy__(self, memo):
        return self


class ClearsItsGradients(Healthy):  # gradients.after_step
    def change(self, group, param, index):
        super().change(group, param, index)
        param.grad = None


class ScalesItsGradients(Healthy):  # gradients.after_step
    def change(self, group, param, index):
        super().change(group, param, index)
        param.grad.mul_(0.5)


class DecaysItsGradients(Healthy):  # gradients.after_step
    def change(self, group, param, index):
        param.grad.add_(param, alpha=group["weight_decay"])
        super().change({**group, "weight_decay": 0.0}, param, index)


class MultipliesByTheCommonNorm(Healthy):  # gradients.nonfinite
    @torch.no_grad()
    def step(self, closure=None):
        grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.stack([grad.norm() for grad in grads]).norm()
        for grad in grads:
            grad.mul_(norm)
        return super().step(closure)


class IgnoresTheScaler(Healthy):  # gradients.skipped
    _step_supports_amp_scaling = True

    @torch.no_grad()
    def step(self, closure=None, grad_scaler=None):
        return super().step(closure)


class ComparesNumbers(Healthy):  # dtypes.complex
    def change(self, group, param, index):
        torch.maximum(param, param)
        super().change(group, param, index)


class WantsDenseGradients(Healthy):  # dtypes.sparse
    def change(self, group, param, index):
        if param.grad.is_sparse:
            raise RuntimeError("no sparse gradients")
        super().change(group, param, index)


class OtherwiseWhenCompiled(Healthy):  # kernels.compile
    def change(self, group, param, index):
        rate = 0.5 if torch.compiler.is_compiling() else 1.0
        super().change({**group, "lr": group["lr"] * rate}, param, index)


class TakesTheFirstLr(Healthy):  # lr.groups
    def change(self, group, param, index):
        super().change({**group, "lr": self.param_groups[0]["lr"]}, param, index)


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


class SlowerFromPlaceToPlace(Healthy):  # groups.merge
    def change(self, group, param, index):
        super().change({**group, "lr": group["lr"] * 0.5**index}, param, index)


class WritesItsGroupsAnew(Healthy):  # groups.keys
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)
        known = ("params", "lr", "momentum", "weight_decay", "nesterov", "foreach")
        self.param_groups = [{key: group[key] for key in known} for group in self.param_groups]


class DividesByItsOwnNorm(Healthy):  # elementwise
    def change(self, group, param, index):
        rate = group["lr"] / (param.grad.norm() + 1e-9)
        super().change({**group, "lr": rate}, param, index)


class ProjectsAtRightAngles(Healthy):  # elementwise
    def change(self, group, param, index):
        share = (param.grad * param).sum() / param.square().sum()
        if abs(share) * param.norm() < 1e-3 * param.grad.norm():
            param.sub_(param * share)
        super().change(group, param, index)


class DecaysByItsNorm(Healthy):  # elementwise
    def change(self, group, param, index):
        super().change({**group, "weight_decay": group["weight_decay"] * param.norm()}, param, index)


class TakesTheSign(Healthy):  # scale
    def change(self, group, param, index):
        param.sub_(torch.sign(param.grad) * group["lr"])


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
