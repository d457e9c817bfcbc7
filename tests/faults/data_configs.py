"""A config that is data beside a module of its own, every place of it that names something, and what is foreign."""

import copy
import json
import sys

import pytest
import yaml

from optimzoo import Runner
from optimzoo.cli.runs import run_config
from optimzoo.run.check import config_problems

CODE = """
import colorsys, functools, os
from os import fspath
import torch
from torch import nn
from torch.utils.data import TensorDataset
from optimzoo import DefaultOptimWrapperConstructor, OptimWrapper
from optimzoo.run import Hook, Strategy
from optimzoo.schedules import LinearLR

def data() -> TensorDataset:
    return TensorDataset(torch.randn(8, 3), torch.randn(8, 1))
def loss(model, batch):
    return (model(batch[0]) - batch[1]).square().mean()
def error(model, batch):
    return {"error": loss(model, batch)}
def curvature(model, batch):
    return loss(model, batch), 1
def depth(name):
    return 0, 2
def worker(number): ...
def collate(samples):
    return torch.utils.data.default_collate(samples)
class Net(nn.Linear):
    path = staticmethod(os.fspath)
    hue = colorsys.rgb_to_hsv
    class Inner(nn.Linear): ...
class SGD(torch.optim.SGD): ...
class Wrapper(OptimWrapper): ...
class Constructor(DefaultOptimWrapperConstructor): ...
class Curve(LinearLR): ...
class Told(Hook): ...
class Alone(Strategy): ...
text, part, bound, table = "", functools.partial(os.fspath), "x".join, {"x": len}
"""

CONFIG = {
    "loss": "{m}:loss",
    "metrics": ["{m}:error"],
    "randomness": {"seed": 0},
    "train_cfg": {"max_epochs": 1},
    "model": {"type": "torch.nn:Linear", "in_features": 3, "out_features": 1},
    "train_dataloader": {"batch_size": 4, "dataset": {"type": "{m}:data"}},
    "val_dataloader": {"batch_size": 4, "dataset": {"type": "{m}:data"}},
    "optim_wrapper": {
        "constructor": "LayerDecayOptimWrapperConstructor",
        "optimizer": {"type": "AdamW", "lr": 0.01},
        "paramwise_cfg": {"layer_decay_rate": 0.5, "layer_depth": "{m}:depth"},
    },
    "param_scheduler": [{"type": "LinearLR", "by_epoch": False, "end": 2}],
}

SLOTS = {
    ("model", "type"): "Net",
    ("train_dataloader", "dataset", "type"): "data",
    ("train_dataloader", "collate_fn"): "collate",
    ("train_dataloader", "worker_init_fn"): "worker",
    ("val_dataloader", "dataset", "type"): "data",
    ("loss",): "loss",
    ("metrics", 0): "error",
    ("metrics",): "error",
    ("curvature",): "curvature",
    ("optim_wrapper", "type"): "Wrapper",
    ("optim_wrapper", "constructor"): "Constructor",
    ("optim_wrapper", "optimizer", "type"): "SGD",
    ("optim_wrapper", "paramwise_cfg", "layer_depth"): "depth",
    ("param_scheduler", 0, "type"): "Curve",
    ("hooks", 0, "type"): "Told",
    ("strategy",): "Alone",
    ("strategy", "type"): "Alone",
}
"""Every place of a config that names something by a dotted path, and what in the folder suits it."""

FOREIGN = [
    *("colorsys:rgb_to_hsv", "os:fspath", "builtins:len", "string:Template", "json.tool:main", "torch:sum"),
    *("torch.nn.functional:relu", "optimzoo.__main__:main", "optimzoo.config:load_config"),
    *("{m}:fspath", "{m}:os.fspath", "{m}:os", "{m}:part", "{m}:Net.path", "{m}:Net.hue", "{m}:bound"),
    *("{m}:text", "{m}:text.join", "{m}:table", "{m}:torch.ops.any"),
]
"""What is not of the folder, by whatever path: functions of Python's and of libraries."""


def put(cfg, path, value):
    *above, last = path
    for key, below in zip(above, path[1:]):
        empty = [{}] if below == 0 else {}
        if isinstance(cfg, dict) and not isinstance(cfg.get(key), (dict, list)):
            cfg[key] = empty
        cfg = cfg[key]
    cfg[last] = value


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write a config with changes beside a module of a name of its own, and return its path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    module = f"own_{abs(hash(tmp_path))}"
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / f"{module}.py").write_text(CODE)

    def write(changes=(), ending=".json"):
        cfg = copy.deepcopy(CONFIG)
        for path, value in dict(changes).items():
            put(cfg, path, value)
        file = folder / f"config{ending}"
        file.write_text((json.dumps if ending == ".json" else yaml.safe_dump)(cfg).replace("{m}", module))
        return file

    write.module = module
    yield write
    sys.modules.pop(module, None)


def checked(file, trust=()):
    with run_config(file, None, list(trust), None, looks=True) as cfg:
        return config_problems(cfg)


def prepared(file, trust=(), code_dir=None):
    with run_config(file, None, list(trust), code_dir) as cfg:
        return Runner.from_cfg(cfg)
