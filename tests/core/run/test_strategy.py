"""Strategies: named by plugins as everything else is, and refused with a reason where they cannot honour a config."""

from typing import ClassVar

import pytest
import torch

from optimzoo import hookimpl
from optimzoo.errors import ConfigError
from optimzoo.names.zoo import STRATEGIES, plugins
from optimzoo.run import EMAHook, Hook, Strategy
from optimzoo.run.check import config_problems

from .network import parameters

PLUGIN = """
from optimzoo import hookimpl

@hookimpl
def optimzoo_register(zoo):
    zoo.strategy("halves", "halves:Halves", about="A model in half precision")
"""


class Doubled(Strategy):
    """Trains in double precision, with gradients that are scaled."""

    cannot: ClassVar = {
        "closure": "evaluates the loss more often than this does",
        "copies": "would copy what is shared",
    }

    def __init__(self, device, factor: float = 1.0):
        super().__init__(device)
        self.factor = factor

    def shard(self, model):
        return model.double()

    def split(self, loader, path, seed=None):
        return [(x.double(), y.double()) for x, y in loader]

    def wrap(self, model, drives):
        for parameter in model.parameters():
            parameter.register_hook(lambda gradient: gradient * self.factor)
        return model


@pytest.fixture(autouse=True)
def _doubled():
    class Plugin:
        @hookimpl
        def optimzoo_register(self, zoo):
            zoo.strategy("doubled", Doubled, about="Double precision")

    assert plugins.add(Plugin(), "mine").status == "loaded"
    yield
    plugins.remove("mine")


@pytest.mark.parametrize("name", ["doubled", "mine.doubled"])
def test_a_plugin_names_one_for_the_config(name, make_runner):
    settings = dict(optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.01)), train_cfg=dict(max_epochs=1))
    runner = make_runner(strategy=dict(type=name, factor=2.0), **settings)
    assert isinstance(runner.strategy, Doubled)
    runner.train()
    twice = make_runner(strategy=name, **{**settings, "optim_wrapper": dict(optimizer=dict(type="SGD", lr=0.02))})
    twice.train()
    assert parameters(runner).dtype is torch.float64
    assert torch.allclose(parameters(runner), parameters(twice), rtol=0, atol=1e-12)


def test_they_are_listed_with_the_other_names(optimzoo, install_plugin):
    listed = optimzoo("list", "--kind", "strategy", path=[install_plugin(PLUGIN, "half")]).stdout
    assert all(name in listed for name in ("single", "ddp", "fsdp2", "halves"))
    assert {"single", "ddp", "fsdp2", "doubled"} <= set(STRATEGIES)


@pytest.mark.parametrize(
    ("cfg", "path", "said"),
    [
        ("dubled", "strategy", "Did you mean 'doubled'?"),
        (dict(type="doubled", factr=1.0), "strategy.factr", "Did you mean 'factor'?"),
        (dict(factor=1.0), "strategy", "'type' is missing"),
        (dict(type="torch.nn:Linear"), "strategy.type", "must be a subclass of optimzoo.run.Strategy"),
        (3, "strategy", "described by a dict"),
    ],
)
def test_a_wrong_one_is_found_by_check_and_by_the_runner(cfg, path, said, make_runner):
    (problem,) = (p for p in config_problems(dict(strategy=cfg)) if p.path.startswith("strategy"))
    assert problem.path == path
    assert said in str(problem)
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        make_runner(strategy=cfg)


def test_what_it_cannot_honour_is_an_error_with_its_place(make_runner):
    with pytest.raises(ConfigError, match=r"^optim_wrapper: strategy='doubled': LBFGS evaluates the loss more often"):
        make_runner(strategy="doubled", optim_wrapper=dict(optimizer=dict(type="LBFGS", lr=1.0)))
    copying = type("Copying", (Hook,), {"needs": ("copies",)})
    with pytest.raises(ConfigError, match=r"^hooks\[1\]: Copying would copy what is shared"):
        make_runner(strategy="doubled", hooks=[EMAHook(), copying()])


def test_one_that_knows_one_process_is_refused_where_several_were_started(make_runner, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="'doubled' trains in one process, and 2 were started"):
        make_runner(strategy="doubled")
