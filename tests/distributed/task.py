"""A regression in double precision, trained on the same samples by any number of processes."""

import os
from unittest.mock import Mock

import torch
from torch import nn
from torch.utils.data import TensorDataset

from optimzoo import Runner

BATCH = 8  # of all processes together
UPDATES = 6  # 17 iterations in windows of 3, the last one of 2; 6 iterations an epoch, the last with half a batch


def mse(model, batch):
    x, y = batch
    return nn.functional.mse_loss(model(x), y)


def error(model, batch):
    x, y = batch
    return {"error": (model(x) - y).abs().mean()}


def dataset(count):
    x = torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x @ torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(7), nn.Linear(7, 7)

    def forward(self, x):
        return x + torch.tanh(self.linear(self.norm(x)))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 7), Block(), Block(), nn.Linear(7, 1)).double()


class Driver(nn.Module):
    """A model that drives itself."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(x)

    def train_step(self, data, optim_wrapper):
        with optim_wrapper.optim_context(self):
            loss = mse(self.net, data)
        optim_wrapper.update_params(loss)
        return {"loss": loss}


def make_runner(work_dir, optimizer=None, **kwargs):
    size = BATCH // int(os.environ.get("WORLD_SIZE", 1))
    defaults = dict(
        model=network(),
        work_dir=work_dir,
        train_dataloader=dict(dataset=dataset(44), batch_size=size),
        val_dataloader=dict(dataset=dataset(17), batch_size=size),
        loss=mse,
        metrics=[error],
        optim_wrapper=dict(
            optimizer=optimizer or dict(type="AdamW", lr=0.01, weight_decay=0.1),
            paramwise_cfg=dict(norm_decay_mult=0.0, bias_lr_mult=2.0),
            accumulative_counts=3,
            clip_grad=dict(max_norm=0.5),
            nonfinite="raise",
        ),
        param_scheduler=dict(type="CosineAnnealingLR", by_epoch=False, T_max=17),
        train_cfg=dict(by_epoch=False, max_iters=17, val_interval=4),
        checkpoint=dict(keep=9, best="error"),
        randomness=dict(seed=1),
        device="cpu",
    )
    runner = Runner(**{**defaults, **kwargs})
    runner.plot = Mock()  # the picture takes longer than the training
    return runner


def trained(work_dir, **kwargs):
    """Train, and return what is the same in every process."""
    runner = make_runner(work_dir, **kwargs)
    runner.train()
    return {
        "parameters": runner.strategy.model_state(runner.model),
        "grad_norm": getattr(runner.optim_wrapper, "grad_norm", None),
        "val": runner.val(),
        "log": {name: runner.history.column(name) for name in runner.history.columns},
    }
