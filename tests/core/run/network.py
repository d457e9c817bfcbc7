"""A regression task that trains in milliseconds."""

import random

import numpy
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from optimzoo import Runner
from optimzoo.run import Hook

ADAMW = dict(optimizer=dict(type="AdamW", lr=0.01), clip_grad=dict(max_norm=1.0))
SCHEDULES = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=4),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=4),
    dict(type="MultiStepMomentum", milestones=[2], gamma=0.5),
]


def mse(model, batch):
    x, y = batch
    return nn.functional.mse_loss(model(x), y)


def fail(model, batch):
    raise RuntimeError("no loss today")


def error(model, batch):
    x, y = batch
    return {"error": (model(x) - y).abs().mean()}


def dataset(count=20):
    x = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x @ torch.tensor([[1.0], [-2.0], [0.5]]))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1))


def parameters(runner):
    return torch.cat([p.detach().flatten() for p in runner.model.parameters()])


class Noisy(Dataset):
    """Samples with noise from the process's generators, as augmentation makes it."""

    def __init__(self):
        self.samples = dataset()

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        x, y = self.samples[index]
        return x + 0.1 * torch.randn(3), y + 0.1 * random.random() + 0.1 * float(numpy.random.rand())


def files(folder):
    """Return the contents of the files in a folder by their names."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"}


class Interrupt(Hook):
    """Interrupts a run once it has saved a checkpoint at the length ``part`` or after it."""

    def __init__(self, part):
        self.epochs, self.iters = part.get("max_epochs"), part.get("max_iters")

    def before_epoch(self, runner):
        if self.epochs and runner.epoch >= self.epochs:
            raise KeyboardInterrupt

    def after_iter(self, runner, outcome, logs):
        if self.iters and runner.iter > self.iters:
            raise KeyboardInterrupt


@pytest.fixture
def make_runner(tmp_path):
    """Build a Runner with working defaults, of which any may be replaced."""

    def make(**kwargs):
        defaults = dict(
            model=network(),
            work_dir=tmp_path / "run",
            train_dataloader=DataLoader(dataset(), batch_size=4, shuffle=True, generator=torch.Generator()),
            optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.01)),
            train_cfg=dict(by_epoch=True, max_epochs=3),
            loss=mse,
            randomness=dict(seed=1),
        )
        return Runner(**{**defaults, **kwargs})

    return make
