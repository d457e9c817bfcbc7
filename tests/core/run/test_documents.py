"""The Runner as mmengine's pages on optimizers call it, with the import changed; the loop by hand is the oracle."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from optimzoo import OPTIMIZERS, Runner

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of mmengine's dependencies, at import
    from mmengine.model import BaseModel

EXAMPLES = [
    dict(type="DAdaptAdaGrad", lr=0.001, momentum=0.9),
    dict(type="DAdaptAdan", lr=1e-4, weight_decay=1e-2),
    dict(type="Lion", lr=1e-4, weight_decay=1e-2),
    dict(type="SophiaG", lr=2e-4, betas=(0.965, 0.99), rho=0.01, weight_decay=1e-1),
    dict(type="AdamW8bit", lr=1e-4, weight_decay=1e-2),
    dict(type="Adafactor", lr=1e-5, weight_decay=1e-2, scale_parameter=False, relative_step=False),
]


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        return functional.relu(x + self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x))))))


def resnet():
    stem = (nn.Conv2d(3, 24, 3, bias=False), nn.BatchNorm2d(24), nn.ReLU())
    return nn.Sequential(*stem, Residual(24), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))


class MMResNet(BaseModel):
    """As the pages derive theirs."""

    def __init__(self):
        super().__init__()
        self.resnet = resnet()

    def forward(self, imgs, labels, mode):
        x = self.resnet(imgs)
        if mode == "loss":
            return {"loss": functional.cross_entropy(x, labels)}
        return x, labels


class ResNet(nn.Module):
    """The same without mmengine."""

    def __init__(self):
        super().__init__()
        self.resnet = resnet()

    def train_step(self, data, optim_wrapper):
        imgs, labels = data
        with optim_wrapper.optim_context(self):
            loss = functional.cross_entropy(self.resnet(imgs), labels)
        optim_wrapper.update_params(loss)
        return {"loss": loss}


def by_hand(model, data, cfg):
    """The parameters after three epochs, and the loss of each step."""
    batches = list(DataLoader(data, batch_size=8))
    torch.manual_seed(0)
    optimizer = OPTIMIZERS.get(cfg["type"])(model.parameters(), **{k: v for k, v in cfg.items() if k != "type"})
    losses = []
    for imgs, labels in batches * 3:
        loss = functional.cross_entropy(model.resnet(imgs), labels)
        if hasattr(optimizer, "curvature_due") and optimizer.curvature_due():
            optimizer.update_curvature(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return nn.utils.parameters_to_vector(model.parameters()), losses


@pytest.mark.filterwarnings("ignore:Sophia-G got no sampled loss, so it uses Hutchinson's")
@pytest.mark.parametrize("model", [MMResNet, ResNet])
@pytest.mark.parametrize("optimizer", EXAMPLES, ids=lambda cfg: cfg["type"])
def test_the_examples_train_as_the_loop_by_hand_does(optimizer, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cifar10 = TensorDataset(torch.randn(24, 3, 6, 6), torch.randint(10, (24,)))
    model = model()
    before = nn.utils.parameters_to_vector(model.parameters()).clone()
    trained, losses = by_hand(copy.deepcopy(model), cifar10, optimizer)
    runner = Runner(
        model=model,
        work_dir="./work_dir",
        train_dataloader=dict(batch_size=8, sampler=dict(type="DefaultSampler", shuffle=False), dataset=cifar10),
        optim_wrapper=dict(optimizer=optimizer),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        randomness=dict(seed=0),
    )
    runner.train()
    assert torch.equal(nn.utils.parameters_to_vector(model.parameters()), trained)
    assert not torch.equal(trained, before)
    assert [loss for _, loss in runner.history.column("loss")] == losses
