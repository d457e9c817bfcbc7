"""What two processes do in the tests; all of it in one launch, since starting processes takes the longest."""

import itertools
import shutil
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

from optimzoo import OPTIMIZERS, build_optim_wrapper
from optimzoo.errors import OptimzooError
from optimzoo.names.zoo import plugins
from optimzoo.run.spread.fsdp2 import FSDP2
from optimzoo.run.spread.strategy import build_strategy
from tests.core.run.plugin import Plugin
from tests.plugins.conformance import BEFORE, WORKING, config

from . import stepping, zero
from .task import Driver, dataset, make_runner, mse, network, trained

ZERO = dict(type="ZeroRedundancyOptimizer", optimizer_type="AdamW", lr=0.01, weight_decay=0.1)
STRATEGIES = {
    "ddp": dict(strategy="ddp"),
    "driven": dict(model=Driver(), loss=None),
    "fsdp2": dict(strategy="fsdp2"),
    "zero": dict(optimizer=ZERO),
}
WRAPPERS = {
    "modes": dict(optim_wrapper=dict(optimizer=dict(type="hooked.Averaging", lr=0.05), accumulative_counts=3)),
    "curvature": dict(optim_wrapper=dict(optimizer=dict(type="Sophia", lr=0.01, k=2), accumulative_counts=3)),
    "several": dict(
        optim_wrapper=dict(
            matrices=dict(optimizer=dict(type="SGD", lr=0.1), modules=["*.weight"], accumulative_counts=3),
            biases=dict(optimizer=dict(type="AdamW", lr=0.01), modules=["*.bias"], accumulative_counts=3),
        )
    ),
}
UNTRIED = {*FSDP2.cannot, "matrices"}  # what takes matrices alone is tried in parts.py
TAKEN = [name for name in WORKING if not set(OPTIMIZERS.entry(name).needs) & UNTRIED]
FIRST = [OPTIMIZERS.entry(name).plugin for name in TAKEN]
# All of the libraries that were there first, and one of each other: each takes a second.
SHARDED = [n for i, (n, plugin) in enumerate(zip(TAKEN, FIRST)) if plugin in BEFORE or plugin not in FIRST[:i]]


def everything(folder):
    for function in (
        *(train, train_with_wrappers, start_without_a_seed, resume_from_unlike_folders),
        *(use_different_layers, log_different_values, count, sharded),
        *(stepping.with_ddp, stepping.with_fsdp2, stepping.with_an_overflow_on_one_rank),
        *(stepping.with_weights, stepping.with_sharded_weights, stepping.with_a_share_of_nothing),
        zero.sharded,
    ):
        torch.manual_seed(0)
        function(Path(folder))


def train(folder):
    """Each strategy from the start, and from the checkpoints that one process left."""
    for name, settings in STRATEGIES.items():
        save(trained(folder / name, **settings), folder / f"{name}.pt")
    for name in ("ddp", "fsdp2"):
        for step in (8, 12):
            start = folder / "single" / f"checkpoint_{step:08d}.pt"
            save(trained(folder / f"{name}-{step}", resume=start, **STRATEGIES[name]), folder / f"{name}-{step}.pt")


def train_with_wrappers(folder):
    plugins.add(Plugin(), "hooked")
    for name, strategy in (*itertools.product(("modes", "several"), ("ddp", "fsdp2")), ("curvature", "ddp")):
        settings = dict(strategy=strategy, **WRAPPERS[name])
        save(trained(folder / f"{name}-{strategy}", **settings), folder / f"{name}-{strategy}.pt")
    for strategy in ("ddp", "fsdp2"):
        settings = dict(strategy=strategy, **WRAPPERS["modes"])
        start = folder / "single-modes" / "checkpoint_00000008.pt"
        save(trained(folder / f"modes-{strategy}-8", resume=start, **settings), folder / f"modes-{strategy}-8.pt")


def start_without_a_seed(folder):
    """Without a seed, and with a model that differs between the processes."""
    found = {}
    for strategy in ("ddp", "fsdp2"):
        model = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1)).double()
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.detach().fill_(dist.get_rank())
        data = dict(dataset=dataset(44), batch_size=4, shuffle=True)
        settings = dict(train_dataloader=data, randomness=None, strategy=strategy)
        runner = make_runner(folder / f"start-{strategy}", model=model, **settings)
        found[strategy] = {
            "model": runner.strategy.model_state(runner.model),
            "buffers": runner.processes.gather(list(runner.model.buffers())),
            "seeds": runner.processes.gather(runner.seed),
            "samples": runner.processes.gather([x for x, y in runner.train_dataloader]),
        }
    save(found, folder / "start.pt")


def resume_from_unlike_folders(folder):
    """From a folder that holds other checkpoints for the second process than for the first."""
    seen = folder / f"resume-{dist.get_rank()}"
    seen.mkdir()
    for step in (8, 12) if dist.get_rank() else (8,):
        shutil.copy(folder / "single" / f"checkpoint_{step:08d}.pt", seen)
    runner = make_runner(seen, resume=True, strategy="ddp")
    save(runner.processes.gather((runner.iter, str(runner.resumed_from))), folder / "resume.pt")


def use_different_layers(folder):
    """What each process, which uses one layer of two, has accumulated when a checkpoint is due."""
    strategy = build_strategy("ddp", torch.device("cpu"))
    layers = two_layers()
    layers[dist.get_rank()](torch.ones(1, 3)).sum().backward()
    save(strategy.gradients(layers), folder / "layers.pt")


def log_different_values(folder):
    mean = build_strategy("ddp", torch.device("cpu")).processes.mean
    names = ("a", "b") if dist.get_rank() else ("b", "a")
    found = [mean({name: {"a": 1.0, "b": 100.0}[name] for name in names}), mean({"b": dist.get_rank()})]
    try:
        mean({"b": 0.0, "extra": 0.0} if dist.get_rank() else {"b": 0.0})
    except OptimzooError as error:
        found.append(str(error))
    save(found, folder / "logs.pt")


def two_layers():
    return nn.ModuleList([nn.Linear(3, 1), nn.Linear(3, 2)])


def count(folder):
    """How often gradients are exchanged in a run."""
    exchanges = {"ddp": 0}

    def reduced(state, bucket):
        exchanges["ddp"] += 1
        return default_hooks.allreduce_hook(state, bucket)

    runner = make_runner(folder / "count-ddp", strategy="ddp")
    runner.train_step.model.register_comm_hook(None, reduced)
    runner.train()

    runner = make_runner(folder / "count-fsdp2", strategy="fsdp2")
    with stepping.Reductions() as reductions:
        runner.train()
    exchanges["fsdp2"] = len(reductions.seen)
    save(exchanges, folder / "exchanges.pt")


def sharded(folder):
    """Every optimizer that FSDP2 takes, its state saved and loaded on the way."""
    strategy = build_strategy("fsdp2", torch.device("cpu"))
    found = {}
    for name in SHARDED:
        model = strategy.shard(small_network(name))
        for _ in range(2):
            wrapper = build_optim_wrapper(model, dict(optimizer=config(name)))
            if name in found:
                wrapper.load_state_dict(found[name])
                strategy.place_state(wrapper.optimizer)
            update(model, wrapper, slice(dist.get_rank(), None, 2))
            state = [strategy.whole(wrapper.state_dict())]
            dist.broadcast_object_list(state)
            found[name] = state[0]
        found[name] = strategy.model_state(model)
    save(found, folder / "sharded.pt")


def small_network(name):
    return network().float() if name == "PytorchLARS" else network()  # which takes no other


def update(model, wrapper, part=slice(None)):
    """Train on a part of each batch."""
    x, y = (tensor[:16].to(next(model.parameters()).dtype) for tensor in dataset(16).tensors)
    for _ in range(3):
        wrapper.update_params(mse(model, (x[part], y[part])))


def save(found, path):
    if dist.get_rank() == 0:
        torch.save(found, path)
