"""A config is read once: each name in it is looked up once, and what it describes is made once."""

import collections
import copy
import sys

import pytest
from torch import nn

from optimzoo import Runner, build_optim_wrapper
from optimzoo.errors import ConfigError
from optimzoo.run.check import config_problems

PARTS = """
import collections
import torch
from torch import nn
from torch.utils.data import TensorDataset
from optimzoo import DefaultOptimWrapperConstructor, LinearLR
from optimzoo.run import Hook as Base

looked_up, made = collections.Counter(), collections.Counter()

class _Net(nn.Linear):
    def __init__(self):
        made["Net"] += 1
        super().__init__(3, 1)

class _Optimizer(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        made["Optimizer"] += 1
        super().__init__(params, lr)

class _Constructor(DefaultOptimWrapperConstructor):
    def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
        made["Constructor"] += 1
        self.size = optim_wrapper_cfg["optimizer"].pop("batch_size_per_gpu", None)
        self.head_mult = paramwise_cfg.pop("head_mult", 1.0)
        super().__init__(optim_wrapper_cfg, paramwise_cfg)

    def __call__(self, model):
        assert self.size == 4
        wrapper = super().__call__(model)
        for group in wrapper.optimizer.param_groups:
            group["lr"] *= self.head_mult
        return wrapper

class _Schedule(LinearLR):
    def __post_init__(self):
        made["Schedule"] += 1
        super().__post_init__()

class _Hook(Base):
    def __init__(self):
        made["Hook"] += 1

def _data() -> TensorDataset:
    made["data"] += 1
    return TensorDataset(torch.ones(8, 3), torch.ones(8, 1))

def _more_data() -> TensorDataset:
    made["more_data"] += 1
    return TensorDataset(torch.ones(8, 3), torch.ones(8, 1))

def _loss(model, batch):
    return (model(batch[0]) - batch[1]).square().mean()

def _error(model, batch):
    return {"error": (model(batch[0]) - batch[1]).abs().mean()}

def __getattr__(name):
    if name.startswith("_"):
        raise AttributeError(name)
    looked_up[name] += 1
    return globals()["_" + name]
"""


@pytest.fixture
def parts(tmp_path, monkeypatch):
    (tmp_path / "counted_parts.py").write_text(PARTS)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield __import__("counted_parts")
    del sys.modules["counted_parts"]


@pytest.fixture
def config(tmp_path, parts):
    return dict(
        model=dict(type="counted_parts:Net"),
        work_dir=str(tmp_path / "run"),
        train_dataloader=dict(dataset=dict(type="counted_parts:data"), batch_size=4),
        val_dataloader=dict(dataset=dict(type="counted_parts:more_data"), batch_size=4),
        optim_wrapper=dict(
            optimizer=dict(type="counted_parts:Optimizer", lr=0.1, batch_size_per_gpu=4),
            constructor="counted_parts:Constructor",
            paramwise_cfg=dict(head_mult=0.5),
        ),
        train_cfg=dict(max_epochs=1),
        param_scheduler=dict(type="counted_parts:Schedule", start_factor=0.5, by_epoch=False),
        loss="counted_parts:loss",
        metrics="counted_parts:error",
        hooks=[dict(type="counted_parts:Hook")],
        checkpoint=dict(interval=1),
        randomness=dict(seed=0),
    )


def test_each_name_is_looked_up_once_and_each_thing_made_once(config, parts):
    before = copy.deepcopy(config)
    runner = Runner.from_cfg(config)
    assert config == before
    names = ("Net", "data", "more_data", "Optimizer", "Constructor", "Schedule", "loss", "error", "Hook")
    assert parts.looked_up == collections.Counter(names)
    assert parts.made == collections.Counter(set(names) - {"loss", "error"})
    assert runner.optim_wrapper.optimizer.param_groups[0]["initial_lr"] == pytest.approx(0.05), "head_mult is heeded"


def test_a_check_makes_nothing_of_the_users(config, parts):
    assert config_problems(config) == []
    assert not +parts.made - collections.Counter(Schedule=1)


def test_a_config_can_be_built_from_any_number_of_times(config, parts):
    settings = config["optim_wrapper"]
    for _ in range(2):
        assert build_optim_wrapper(nn.Linear(1, 1), settings).get_lr()["lr"][0] == pytest.approx(0.05)
    assert settings["paramwise_cfg"] == dict(head_mult=0.5)


def test_several_mistakes_are_told_at_once(config):
    change = dict(trian=1, custom_hooks=[], lr=0.1, load_from=None, train_cfg=dict(max_epochs=0), log_interval=0)
    with pytest.raises(ConfigError) as caught:
        Runner.from_cfg({**config, **change})
    told = {problem.path: str(problem) for problem in caught.value.problems}
    assert list(told) == ["trian", "custom_hooks", "lr", "train_cfg.max_epochs", "log_interval"]
    assert "'hooks'" in told["custom_hooks"]
    assert "optim_wrapper.optimizer.lr" in told["lr"]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("default_hooks", "'checkpoint'"),
        ("auto_scale_lr", "batch size"),
        ("val_evaluator", "'metrics'"),
        ("env_cfg", "'strategy'"),
        ("custom_imports", "dotted path"),
        ("visualizer", "curves.png"),
        ("test_dataloader", "Runner.val"),
        ("compile", "what the model is made by does that"),
        ("experiment_name", "'work_dir'"),
    ],
)
def test_what_stands_for_a_key_of_mmengine_is_told(key, said, config):
    (problem,) = config_problems({**config, key: {}})
    assert (problem.path, said in str(problem)) == (key, True)
