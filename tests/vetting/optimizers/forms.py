"""Optimizers with one fault each, in what they do with gradients, shapes, dtypes and kernels."""

import torch

from .healthy import Healthy


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


class LeavesTheTail(Healthy):  # shapes.moved
    def change(self, group, param, index):
        whole = param.numel() - param.numel() % 4
        tail = param.view(-1)[whole:].clone()
        super().change(group, param, index)
        param.view(-1)[whole:] = tail


class LeavesVectorsInForeach(Healthy):  # shapes.moved
    def change(self, group, param, index):
        if param.ndim != 1 or not group["foreach"]:
            super().change(group, param, index)


class MovesTheLargest(Healthy):  # shapes.moved, which is its method
    def change(self, group, param, index):
        before = param.clone()
        super().change(group, param, index)
        param.copy_(param.where(param.grad.abs() >= param.grad.abs().max() / 2, before))


class TakesTheMeanAway(Healthy):  # shapes.moved, which is its method
    def change(self, group, param, index):
        param.grad -= param.grad.mean()
        super().change(group, param, index)


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


class DividesMatricesByALittle(DividesByALittle):  # dtypes.small
    def change(self, group, param, index):
        if param.ndim == 2:
            super().change(group, param, index)
        else:
            Healthy.change(self, group, param, index)


class MultipliesByALot(Healthy):  # dtypes.small, where the gradients are not small
    def change(self, group, param, index):
        param.grad *= 1e6
        param.grad /= 1e6
        super().change(group, param, index)


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
