"""A config is checked without training: what it says of the mistakes that training would meet."""

import contextlib
import importlib.util
import re
import sys

import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from optimzoo import DefaultOptimWrapperConstructor, OptimWrapper, Runner, build_param_scheduler
from optimzoo.errors import ConfigError, OptimzooWarning
from optimzoo.run import Hook, LogTo
from optimzoo.run.check import config_problems

from .network import dataset, error, mse


@pytest.fixture
def config(tmp_path):
    return dict(
        model=dict(type="torch.nn:Linear", in_features=3, out_features=1),
        work_dir=str(tmp_path / "run"),
        train_dataloader=dict(dataset=dataset(), batch_size=4),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.01)),
        train_cfg=dict(max_epochs=2),
        loss=mse,
    )


class Greedy(DefaultOptimWrapperConstructor):
    own_keys = ("appetite",)

    def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        if self.optim_wrapper_cfg.get("clip_grad") is None:
            raise ConfigError("the greedy one wants it", "clip_grad")


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        (dict(), []),
        (dict(log_interval=0), ["log_interval"]),
        (dict(log_interval=2.5), ["log_interval"]),
        (dict(train_cfg=dict(max_epochs="five")), ["train_cfg.max_epochs"]),
        *(
            (dict(train_cfg=dict(max_epochs=9, dynamic_intervals=pairs)), [f"train_cfg.dynamic_intervals{at}"])
            for pairs, at in [([4, 1], ""), ([[4, 1], [2, 1]], ""), ([[4, 0]], "[0][1]"), ([["4", 1]], "[0][0]")]
        ),
        (
            dict(
                optim_wrapper=dict(
                    optimizer=dict(type="AdamW", lr=-1.0),
                    accumulative_counts=0,
                    clip_grad=dict(max_norm=-1),
                )
            ),
            [f"optim_wrapper.{key}" for key in ("optimizer.lr", "accumulative_counts", "clip_grad.max_norm")],
        ),
        (
            dict(optim_wrapper=dict(optimizer=dict(type="AdmaW"), clip_gradd=1, clip_grad=dict(max_nrm=1))),
            [f"optim_wrapper.{key}" for key in ("optimizer.type", "clip_gradd", "clip_grad.max_nrm")],
        ),
        (
            dict(
                optim_wrapper=dict(
                    optimizer=dict(type="AdamW"), paramwise_cfg=dict(norm_decay=0), accumulative_counts=0
                )
            ),
            [f"optim_wrapper.{key}" for key in ("paramwise_cfg.norm_decay", "accumulative_counts")],
        ),
        (dict(checkpoint=dict(best="loss")), ["checkpoint.best"]),
        *(
            (dict(optim_wrapper=dict(optimizer=dict(type="ZeroRedundancyOptimizer", optimizer_type=name))), paths)
            for name, paths in [("Lyon", ["optim_wrapper.optimizer.optimizer_type"]), ("AdamW", [])]
        ),
        (dict(val_dataloader=dict(dataset=dataset()), checkpoint=dict(best="loss")), []),
        (
            dict(param_scheduler=[dict(type="StepLR", step_size=1), dict(type="ReduceOnPlateauLR", monitor="loss")]),
            ["param_scheduler[1]"],
        ),
        (dict(log_groups="yes"), ["log_groups"]),
        (dict(work_dir=""), ["work_dir"]),
        (dict(work_dir=3), ["work_dir"]),
        (dict(device="cuda:99"), ["device"]),
        (dict(metrics=["lost:one", error, "lost:two"]), ["metrics[0]", "metrics[2]"]),
        (dict(checkpoint=dict(keep=0, interval=0)), ["checkpoint.interval", "checkpoint.keep"]),
        (dict(checkpoint=3), ["checkpoint"]),
        (dict(strategy=[]), ["strategy"]),
        (dict(strategy=dict(type=["ddp"])), ["strategy.type"]),
        (dict(randomness=dict(seed=2**63)), ["randomness.seed"]),
        (dict(param_scheduler=dict(type="LinearLR", begin=[1])), ["param_scheduler.begin"]),
        (dict(train_cfg=dict(type=["EpochBasedTrainLoop"], max_epochs=1)), ["train_cfg.type"]),
        (dict(train_cfg=dict(by_epoch="yes", max_epochs=1)), ["train_cfg.by_epoch"]),
        (dict(train_dataloader=dict(dataset=dataset(), batch_size=0, num_workers=-1)),
         ["train_dataloader.batch_size", "train_dataloader.num_workers"]),
        (dict(loss=None), ["loss"]),
        (dict(param_scheduler=dict(type="LinearLR", begin=5)), ["param_scheduler"]),
        (dict(train_cfg=dict(max_iters=10), param_scheduler=dict(type="LinearLR", by_epoch=False, begin=10)),
         ["param_scheduler"]),
        (dict(hooks=[dict(type="torch.nn:Linear")]), ["hooks[0].type"]),
        (dict(hooks=[Hook(), 3]), ["hooks[1]"]),
        (dict(optim_wrapper=dict(generator=dict(optimizer=dict(type="Lyon")), critic=dict(optimizer=dict(type="SGD")))),
         ["optim_wrapper.generator.optimizer.type"]),
        (dict(optim_wrapper=dict(net=dict(optimizer=dict(type="SGD", lr=-1.0)))), ["optim_wrapper.net.optimizer.lr"]),
        (dict(optim_wrapper=dict(a=dict(optimizer=dict(type="SGD", nesterov=True)))), ["optim_wrapper.a.optimizer"]),
        (dict(optim_wrapper=dict(net=dict(optimizer=dict(type="SGD", lr=1.0), modules="*")),
              param_scheduler=dict(net=dict(type="LinearLR", begin=5))), ["param_scheduler.net"]),
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", str(value)),  # the same in every process
)  # fmt: skip
def test_each_mistake_is_found(change, paths, config):
    assert [problem.path for problem in config_problems({**config, **change})] == paths


class Stream(IterableDataset):
    def __init__(self):
        raise AssertionError("a check builds no data set")


def stream() -> IterableDataset:
    return Stream()


BATCHES = BatchSampler(SequentialSampler(range(8)), 4, False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *(
            (dict(train_dataloader=dict(dict(dataset=dataset()), **loader)), f"train_dataloader: DataLoader .*{said}")
            for loader, said in [
                (dict(batch_sampler=BATCHES, batch_size=4), "mutually exclusive with batch_size"),
                (dict(batch_sampler=BATCHES, shuffle=True), "mutually exclusive with batch_size"),
                (dict(sampler=[1, 2], shuffle=True), "mutually exclusive with shuffle"),
                (dict(batch_size=None, drop_last=True), "mutually exclusive with drop_last"),
                (dict(persistent_workers=True), "needs num_workers > 0"),
                (dict(prefetch_factor=2), "num_workers > 0"),
                (dict(multiprocessing_context="spawn"), "num_workers > 0"),
                (dict(timeout=-1), "should be non-negative"),
                (dict(dataset=dict(type=Stream), shuffle=True), "IterableDataset.* shuffle=True"),
                (dict(dataset=dict(type=stream), shuffle=True), "IterableDataset.* shuffle=True"),
            ]
        ),
        (dict(strategy=dict(type="ddp", timeout=9)), r"strategy\.timeout: a number from 10 .*, got 9"),
        (dict(strategy=dict(type="fsdp2", timeout=float("inf"))), r"strategy\.timeout: a number from 10 .*, got inf"),
        (dict(hooks=[dict(type="WandbHook", project="x")]), r"hooks\[0\]: wandb is not installed: pip install wandb"),
        (dict(hooks=[dict(type="MLflowHook", experiment="x")]), r"hooks\[0\]: mlflow is not installed: pip"),
        (dict(hooks=[Hook(), dict(type=LogTo, logger=3)]), r"hooks\[1\]\.logger: a logger has log.*, got 3"),
        (dict(hooks=[dict(type="EMAHook", decay=2)]), r"hooks\[0\]\.decay: a number from 0 to 1"),
        (dict(work_dir=__file__), r"work_dir: \S+ cannot be written to \(\S+ is a file\); choose another"),
        (dict(work_dir=f"{__file__}/runs/one"), r"work_dir: \S+/runs/one cannot be written to \(\S+\.py is a file\)"),
    ],
)
def test_a_check_says_it_in_the_words_of_the_run(change, said, config, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *_: None if name in ("wandb", "mlflow") else found(name)
    )
    (problem,) = config_problems({**config, **change})
    assert re.match(said, str(problem))
    with pytest.raises(type(problem)) as raised:
        Runner.from_cfg({**config, **change})
    assert str(raised.value) == str(problem)


def test_a_users_constructor_is_not_called_by_a_check_but_once_by_the_run(config):
    config["optim_wrapper"] |= dict(constructor=Greedy, paramwise_cfg=dict(appetite=3))
    assert not list(config_problems(config))
    with pytest.raises(ConfigError, match="^optim_wrapper.clip_grad: the greedy one wants it"):
        Runner.from_cfg(config)
    config["optim_wrapper"]["optimizer"]["type"] = "AdmaW"
    assert [p.path for p in config_problems(config)] == ["optim_wrapper.optimizer.type"]


def test_a_key_that_custom_keys_put_into_the_groups_can_be_scheduled(config):
    config["optim_wrapper"]["paramwise_cfg"] = dict(custom_keys={"weight": dict(trust=0.5), "bias": dict(trust=0.1)})
    config["param_scheduler"] = dict(type="LinearParamScheduler", param_name="trust", by_epoch=False, end=3)
    with pytest.warns(OptimzooWarning, match="'trust' is no multiplier and no argument of AdamW"):
        assert not list(config_problems(config))
    config["param_scheduler"]["param_name"] = "trist"
    with pytest.warns(OptimzooWarning, match="'trust' is no multiplier and no argument of AdamW"):
        assert [p.path for p in config_problems(config)] == ["param_scheduler.param_name"]


def test_objects_may_stand_in_a_config(config):
    model = nn.Linear(3, 1)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    schedule = build_param_scheduler(wrapper, dict(type="ConstantLR", factor=0.5, end=2))
    hook = Hook()
    loader = DataLoader(dataset(), batch_size=4)
    objects = dict(
        model=model,
        optim_wrapper=wrapper,
        param_scheduler=schedule,
        hooks=[hook],
        train_dataloader=loader,
        metrics=error,
    )
    runner = Runner.from_cfg({**config, **objects})
    assert runner.optim_wrapper is wrapper
    assert runner.hooks[0] is hook
    runner.train()


def test_a_model_with_a_train_step_needs_no_loss(config):
    class Driver(nn.Linear):
        def train_step(self, data, optim_wrapper): ...

    config["loss"] = None
    assert not list(config_problems({**config, "model": dict(type=Driver, in_features=3, out_features=1)}))


def test_modules_are_found_in_the_code_dir(config, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_losses.py").write_text("def loss(model, batch): ...\n")
    config["loss"] = "my_losses:loss"
    assert [p.path for p in config_problems(config)] == ["loss"]
    assert not list(config_problems({**config, "code_dir": str(tmp_path)}))


def test_a_function_says_what_it_returns_whatever_its_arguments_are(config, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (tmp_path / "annotated_module.py").write_text(
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nfrom torch import nn\n"
        "if TYPE_CHECKING:\n    from pathlib import Path\n"
        "def net(weights: Path | None = None) -> nn.Module: ...\ndef other(weights: Path) -> dict: ...\n"
    )
    assert not list(config_problems({**config, "model": dict(type="annotated_module:net")}))
    (problem,) = config_problems({**config, "model": dict(type="annotated_module:other", weights="w.pt")})
    assert "write `def other(weights: 'Path') -> Module:`" in str(problem)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # bitsandbytes, as it is imported
@pytest.mark.parametrize(
    ("optimizer", "told"),
    [
        (dict(type="bitsandbytes.SGD", lr=0.1, momentum=0.9, nesterov=True), "nesterov"),
        (dict(type="bitsandbytes.Adam", lr=0.1, amsgrad=True), "amsgrad"),
        (dict(type="Rprop", lr=0.1), "schedule"),
        (dict(type="ASGD", lr=0.1), "schedule"),
    ],
)
def test_a_check_tells_what_is_known_of_an_optimizer(config, optimizer, told):
    cfg = {
        **config,
        "optim_wrapper": dict(optimizer=optimizer),
        "param_scheduler": dict(type="ExponentialLR", gamma=0.9),
    }
    with pytest.warns(OptimzooWarning, match=told):
        assert not config_problems(cfg)


@pytest.mark.parametrize(
    "optimizer",
    [
        dict(type="Muon", lr=0.02, rest=dict(type="AdamW", lr=1e-3)),
        dict(
            type="Parts",
            parts=[dict(where="bias", optimizer=dict(type="SGD", lr=0.1)), dict(optimizer=dict(type="AdamW"))],
        ),
    ],
)
def test_an_optimizer_of_several_is_tried_by_its_parts(optimizer):
    rules = [dict(part="rest", lr_mult=0.5)] if "rest" in optimizer else []
    cfg = dict(
        optim_wrapper=dict(optimizer=optimizer, paramwise_cfg=dict(rules=rules)),
        train_cfg=dict(max_iters=9),
        param_scheduler=dict(type="CosineAnnealingLR", by_epoch=False),
    )
    assert not [problem for problem in config_problems(cfg) if problem.path.startswith("optim_wrapper")]
    part = optimizer.get("rest") or optimizer["parts"][1]["optimizer"]
    part["eps"] = -1.0
    assert [p for p in config_problems(cfg) if "eps" in str(p)]


def test_the_code_of_a_part_is_not_called():
    called = []

    class Mine(torch.optim.SGD):
        def __init__(self, *args, **kwargs):
            called.append(args)
            super().__init__(*args, **kwargs)

    optimizer = dict(type="Muon", lr=0.02, rest=dict(type=Mine, lr=1e-3))
    config_problems(dict(optim_wrapper=dict(optimizer=optimizer), train_cfg=dict(max_iters=9)))
    assert called == []


def test_the_path_of_a_config_is_no_config():
    with pytest.raises(ConfigError, match=r"load_config\(path\) reads from a file; got 'muon.toml'"):
        Runner.from_cfg("muon.toml")


@pytest.mark.parametrize(
    ("schedule", "train_cfg", "said"),
    [
        (dict(type="CosineAnnealingLR", T_max=100), dict(max_epochs=5), "counts to epoch 100, and the run has 5"),
        (dict(type="StepLR", step_size=30), dict(max_epochs=5), "counts to epoch 30"),
        (dict(type="LinearLR", end=5000, by="iter"), dict(by_epoch=False, max_iters=50), "counts to iter 5000"),
        (dict(type="LinearLR", end=5000, by="iter"), dict(max_epochs=5), None),  # whose iterations only the data tells
        (dict(type="LinearLR", end=50), dict(by_epoch=False, max_iters=50), None),
        (dict(type="StepLR", step_size=3, convert_to_iter_based=True), dict(by_epoch=False, max_iters=50), None),
        (dict(type="StepLR", step_size=2), dict(max_epochs=5), None),
    ],
)
def test_a_check_tells_of_a_horizon_far_from_the_run_as_far_as_it_is_known(schedule, train_cfg, said, config):
    config |= dict(param_scheduler=[schedule], train_cfg=train_cfg)
    with pytest.warns(OptimzooWarning, match=f"^param_scheduler: .*{said}") if said else contextlib.nullcontext():
        assert config_problems(config) == []
