"""A plugin with a hook and an optimizer that has modes, and a hook that stops a run."""

import torch

from optimzoo import hookimpl
from optimzoo.run import Hook


class Tally(Hook):
    """Counts iterations, in checkpoints too."""

    def __init__(self, start: int = 0):
        self.count = start

    def after_iter(self, runner, outcome, logs):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


class Stop(Hook):
    def __init__(self, step: int):
        self.step = step

    def after_iter(self, runner, outcome, logs):
        if runner.iter == self.step:
            raise KeyboardInterrupt


class Averaging(torch.optim.SGD):
    """Trains y, halfway between the descent z and its average x, as schedule-free does; x is what to use."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        for group in self.param_groups:
            group.update(training=False, steps=0)

    def _mixed(self, training):
        for group in self.param_groups:
            if group["training"] is not training:
                group["training"] = training
                for p in (p for p in group["params"] if p in self.state):
                    z = self.state[p]["z"]
                    p.data.copy_(p.lerp(z, 0.3) if training else p.lerp(z, -0.3 / 0.7))

    def train(self):
        self._mixed(True)

    def eval(self):
        self._mixed(False)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            assert group["training"]
            group["steps"] += 1
            for p in (p for p in group["params"] if p.grad is not None):
                z = self.state[p].setdefault("z", p.clone())
                x = p.lerp(z, -0.3 / 0.7)
                z.sub_(p.grad, alpha=group["lr"])
                p.copy_(x.lerp(z, 1 / group["steps"]).lerp(z, 0.3))


class Plugin:
    @hookimpl
    def optimzoo_register(self, zoo):
        zoo.hook("Tally", Tally, about="Counts")
        zoo.optimizer("Averaging", Averaging, needs=["modes"])
