"""How far an update moves a matrix, against torch's optimizers by hand."""

import pytest
import torch

from optimzoo import build_optimizer
from optimzoo.errors import ConfigError
from optimzoo.vetting.size import step_size

AS_ADAMW = dict(lr=0.01, adjust_lr_fn="match_rms_adamw")


SIDE = 256
"""Of the matrix here: one of 1024 takes Muon half a minute on a processor without bfloat16."""


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr("optimzoo.vetting.size.MATRIX", (SIDE, SIDE))


def root_mean_square(optimizer, weight):
    before = weight.detach().clone()
    weight.grad = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    optimizer.step()
    return float((weight.detach() - before).square().mean().sqrt())


@pytest.mark.parametrize(
    ("name", "cls", "least", "most"),
    [
        ("SGD", torch.optim.SGD, 0.0099, 0.0101),
        ("AdamW", torch.optim.AdamW, 0.00999, 0.01001),
        ("Muon", torch.optim.Muon, 0.0005, 0.0007),
    ],
)
def test_a_step_is_that_of_the_class_by_hand(name, cls, least, most):
    size, settings = step_size(name)
    assert settings == {"lr": 0.01}
    assert least < size < most
    weight = torch.nn.Parameter(torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
    optimizer = cls([weight], lr=0.01, weight_decay=0.0)
    assert root_mean_square(optimizer, weight) == pytest.approx(size, rel=0.02)


def test_a_config_says_that_the_rate_of_muon_is_as_that_of_adamw():
    model = torch.nn.Sequential(torch.nn.Linear(SIDE, SIDE), torch.nn.ReLU(), torch.nn.Linear(SIDE, 4))
    optimizer = build_optimizer(
        model, dict(type="Muon", **AS_ADAMW, weight_decay=0.0, rest=dict(type="AdamW", lr=0.01))
    )
    size, settings = step_size("Muon", **AS_ADAMW)
    assert settings == AS_ADAMW
    assert 0.0016 < size < 0.0024
    assert root_mean_square(optimizer, model[0].weight) == pytest.approx(size, rel=0.02)
    assert {group["part"]: group["lr"] for group in optimizer.param_groups} == {"Muon": 0.01, "rest": 0.01}


def test_what_cannot_be_measured_is_an_error():
    with pytest.raises(ConfigError, match="has no argument 'rl'"):
        step_size("SGD", rl=1.0)
    with pytest.raises(ConfigError, match="the step of Muon cannot be measured"):
        step_size("Muon", adjust_lr_fn="as SGD")
    with pytest.raises(ConfigError, match="^rl: SGD has no argument 'rl'"):
        step_size(torch.optim.SGD, rl=1.0)


def test_show_prints_it_on_request(optimzoo):
    shown = optimzoo("show", "AdamW", "--step-size", "--with", "amsgrad=True").stdout
    assert "a 1024 x 1024 matrix with lr=0.01, amsgrad=True, by root mean" in shown
    assert "step size" not in optimzoo("show", "Muon").stdout
    assert "--step-size measures" in optimzoo("show", "Muon", "--with", "lr=1", check=False).stderr
