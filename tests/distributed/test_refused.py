"""What a strategy cannot honour is an error before the first step; and before anything is written."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, WeightedRandomSampler

from optimzoo import build_optim_wrapper
from optimzoo.errors import ConfigError
from optimzoo.names.zoo import plugins
from optimzoo.run import EMAHook
from tests.core.run.plugin import Plugin
from tests.plugins.fake_apex import amp

from .task import Driver, dataset, make_runner, network

__all__ = ["amp"]

pytestmark = pytest.mark.usefixtures("_alone")


class Bare(Driver):
    """Drives itself, with a parameter that is in none of its children."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


class Stream(IterableDataset):
    def __iter__(self):
        return iter(dataset(8))


def with_optimizer(name, **kwargs):
    return dict(optim_wrapper=dict(optimizer=dict(type=name, lr=0.01, **kwargs)))


def built_before():
    model = network()
    return dict(model=model, optim_wrapper=build_optim_wrapper(model, dict(optimizer=dict(type="AdamW", lr=0.01))))


def zero(name, **kwargs):
    return with_optimizer("ZeroRedundancyOptimizer", optimizer_type=name, **kwargs)


PLAIN = with_optimizer("AdamW")
CASES = [
    ("ddp", lambda: with_optimizer("LBFGS"), "optim_wrapper: strategy='ddp': LBFGS decides by its own loss"),
    ("fsdp2", lambda: with_optimizer("LBFGS"), "optim_wrapper: strategy='fsdp2': LBFGS decides by its own loss"),
    ("fsdp2", lambda: with_optimizer("SophiaG"), "SophiaG estimates curvature for whole parameters"),
    ("fsdp2", lambda: with_optimizer("DAdaptAdaGrad"), "DAdaptAdaGrad works on whole parameters"),
    ("fsdp2", lambda: with_optimizer("AdamW8bit"), "AdamW8bit works on whole parameters"),
    ("fsdp2", lambda: with_optimizer("LAMB"), "LAMB works on whole parameters"),
    ("fsdp2", lambda: with_optimizer("torch.Adafactor"), "Adafactor works on whole parameters"),
    ("fsdp2", lambda: with_optimizer("SGD", fused=True), "SGD has no fused kernel for sharded parameters"),
    ("fsdp2", lambda: zero("AdamW"), "ZeroRedundancyOptimizer shares out what is shared out already"),
    ("fsdp2", lambda: dict(PLAIN, model=Driver(), loss=None), "strategy: the model drives itself by train_step"),
    ("fsdp2", lambda: dict(PLAIN, hooks=[EMAHook()]), "hooks[0]: EMAHook works on whole parameters"),
    ("fsdp2", built_before, "the optimizer was built before the model was sharded"),
    ("ddp", lambda: dict(PLAIN, model=Bare(), loss=None), "model: Bare drives itself and holds the parameters scale"),
    ("ddp", lambda: zero("SophiaG"), "optimizer_type: SophiaG estimates curvature"),
    ("ddp", lambda: zero("DAdaptSGD"), "optimizer_type: DAdaptSGD adapts one step size"),
    ("ddp", lambda: zero("hooked.Averaging"), "optimizer_type: hooked.Averaging trains other parameters than those"),
    (
        "dpp",
        lambda: PLAIN,
        "strategy: there is no strategy 'dpp': no installed plugin registers it. Did you mean 'ddp'?",
    ),
    (dict(type="ddp", timeout=1), lambda: PLAIN, "strategy.timeout: "),
    (dict(type="ddp", wait=1), lambda: PLAIN, "strategy.wait: "),
]


@pytest.fixture
def _plugin():
    plugins.add(Plugin(), "hooked")
    yield
    plugins.remove("hooked")


@pytest.mark.usefixtures("_plugin")
@pytest.mark.filterwarnings("ignore:the optimizer steps none of the parameters")
@pytest.mark.parametrize(("strategy", "settings", "said"), CASES)
def test_what_does_not_go_together_is_named(strategy, settings, said, tmp_path):
    with pytest.raises(ConfigError) as raised:
        make_runner(tmp_path / "run", strategy=strategy, **settings())
    assert said in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_apex_does_not_go_with_several_processes(amp, tmp_path):
    wrapper = dict(type="ApexOptimWrapper", optimizer=dict(type="SGD", lr=0.1))
    with pytest.raises(ConfigError, match="apex.amp must patch the model before it is spread"):
        make_runner(tmp_path, strategy="ddp", optim_wrapper=wrapper)


def test_a_launcher_and_a_strategy_for_one_process_contradict_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="^strategy: 'single' trains in one process, and 2 were started"):
        make_runner(tmp_path, strategy="single")


@pytest.mark.parametrize(
    "loader",
    [
        lambda: [torch.zeros(2, 3)],
        lambda: DataLoader(Stream(), batch_size=2),
        lambda: DataLoader(dataset(8), sampler=WeightedRandomSampler([1.0] * 8, 8)),
    ],
    ids=["a list", "a stream", "a sampler of its own"],
)
def test_data_that_would_be_the_same_in_every_process_is_refused(loader, tmp_path):
    with pytest.raises(ConfigError, match="^train_dataloader: every process would get the same samples"):
        make_runner(tmp_path, strategy="ddp", train_dataloader=loader())
