"""Optimizers that are built and driven in other ways than most, and write their learning rate, which is a fault."""

import contextlib

import torch
import torch.distributed as dist


class Writes(torch.optim.SGD):
    def step(self, closure=None):
        loss = super().step(closure)
        self.param_groups[0]["lr"] *= 1.01
        return loss


class WantsAClosure(Writes):
    def step(self, closure):
        return super().step(closure)


class WantsTheGraph(Writes):
    def step(self, closure=None):
        weight = self.param_groups[0]["params"][0]
        torch.autograd.grad(weight.grad.sum(), weight)
        return super().step(closure)


class WantsTheLoss(Writes):
    def step(self, loss):
        loss.item()
        super().step()


class WantsItsContext(Writes):
    inside = False

    @contextlib.contextmanager
    def sampled(self, training=False):
        self.inside = training
        yield

    def step(self, closure=None):
        if not self.inside:
            raise RuntimeError("no samples")
        return super().step(closure)


class WantsNames(Writes):
    def __init__(self, named, lr=0.01):
        super().__init__([param for name, param in named if name.isidentifier()], lr)


class WantsAKey(Writes):
    def __init__(self, params, lr=0.01):
        for group in params:
            if not group["orthogonal"]:
                raise ValueError("orthogonal")
        super().__init__(params, lr)


class WantsTheModel(Writes):
    def __init__(self, model, lr=0.01):
        super().__init__(model.parameters(), lr)


class WantsTheModelToo(Writes):
    def __init__(self, params, model, lr=0.01):
        model.parameters()
        super().__init__(params, lr)


class WantsTwoLists(Writes):
    def __init__(self, first, params, lr=0.01):
        if [*first] != [*params]:
            raise ValueError("two lists")
        super().__init__(params, lr)


class GoesAroundAnother(Writes):
    def __init__(self, optimizer):
        super().__init__(optimizer.param_groups)


class GoesAroundAClass(Writes):
    def __init__(self, params, base):
        super().__init__(base(params, lr=0.01).param_groups)


class HasModes(Writes):
    mode = "eval"

    def train(self):
        self.mode = "train"

    def eval(self):
        self.mode = "eval"

    def step(self, closure=None):
        if self.mode != "train":
            raise RuntimeError("not in train mode")
        return super().step(closure)


class WantsMatrices(Writes):
    def __init__(self, params, lr=0.01):
        super().__init__(params, lr)
        if any(param.ndim != 2 for param in params):
            raise ValueError("matrices")


class WantsBfloat16(Writes):
    def step(self, closure=None):
        if self.param_groups[0]["params"][0].dtype is not torch.bfloat16:
            raise RuntimeError("bfloat16")
        return super().step(closure)


class WantsProcesses(Writes):
    def step(self, closure=None):
        dist.get_world_size()
        return super().step(closure)
