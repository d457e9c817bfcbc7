"""Configs as other tools hold them are taken as dicts are; what cannot be read is an error with its place."""

import argparse
import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper, build_optimizer, build_param_scheduler
from optimzoo.errors import ConfigError
from optimzoo.values import plain


@dataclasses.dataclass
class Lion:
    type: str = "SGD"
    lr: float = 0.1
    momentum: float = 0.9


@dataclasses.dataclass
class Clip:
    max_norm: float = 1.0


@dataclasses.dataclass
class Whole:
    optimizer: Lion = dataclasses.field(default_factory=Lion)
    clip_grad: Clip = dataclasses.field(default_factory=Clip)
    paramwise_cfg: Any = dataclasses.field(default_factory=lambda: {"bias_lr_mult": 2.0})


def namespace(cfg):
    return argparse.Namespace(**{k: namespace(v) if isinstance(v, dict) else v for k, v in cfg.items()})


def pydantic_model(cfg):
    pydantic = pytest.importorskip("pydantic")
    fields = {k: (Any, pydantic_model(v) if isinstance(v, dict) else v) for k, v in cfg.items()}
    return pydantic.create_model("Settings", **fields)()


def omegaconf(cfg):
    made = pytest.importorskip("omegaconf").OmegaConf.create({"lr": cfg["optimizer"]["lr"], "cfg": cfg})
    made.cfg.optimizer.lr = "${lr}"
    return made.cfg


def mmengine_config(cfg):
    return pytest.importorskip("mmengine.config").Config(cfg)


CFG = plain(Whole())


@pytest.mark.parametrize("made", [namespace, pydantic_model, omegaconf, mmengine_config, lambda cfg: Whole()])
def test_it_builds_what_the_dict_builds(made):
    cfg = made(CFG)
    wrapper = build_optim_wrapper(nn.Linear(1, 1), cfg)
    assert [(g["lr"], g["momentum"]) for g in wrapper.optimizer.param_groups] == [(0.1, 0.9), (0.2, 0.9)]
    assert wrapper.clip_grad_kwargs == {"max_norm": 1.0}
    assert build_optimizer(nn.Linear(1, 1), cfg.optimizer).param_groups[0]["lr"] == 0.1
    assert (
        wrapper.optimizer.param_groups[0]["lr"]
        == build_optim_wrapper(nn.Linear(1, 1), {"optimizer": cfg.optimizer}).optimizer.param_groups[0]["lr"]
    )


def test_schedules_are_taken_so_too():
    optimizer = build_optimizer(nn.Linear(1, 1), Lion())
    one = argparse.Namespace(type="LinearLR", start_factor=0.5, by_epoch=False, end=3)
    assert len(build_param_scheduler(optimizer, [one, dict(type="ConstantLR", factor=0.5)])) == 2


@pytest.mark.parametrize(
    ("value", "said"), [("???", r"^optimizer: Missing mandatory value"), ("${x}", "^optimizer: .*'x'")]
)
def test_what_omegaconf_cannot_resolve_has_its_place(value, said):
    cfg = pytest.importorskip("omegaconf").OmegaConf.create({"type": "SGD", "lr": value})
    with pytest.raises(ConfigError, match=said):
        build_optimizer(nn.Linear(1, 1), cfg)


@dataclasses.dataclass
class Value:
    number: int = 3


@dataclasses.dataclass
class Function:
    type: str = "relu"

    def __call__(self, x):
        return torch.relu(x)


def test_objects_that_are_no_settings_stay_themselves():
    kept = {"a": Value(), "b": Function(), "c": nn.Linear(1, 1), "d": Lion}
    assert all(now is kept[key] for key, now in plain(kept).items())
