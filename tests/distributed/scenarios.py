"""What two processes do in the tests of training."""

from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

from tests.distributed.task import Driver, make_runner, trained
from tests.distributed.test_wrappers import Reductions

ZERO = dict(type="ZeroRedundancyOptimizer", optimizer_type="AdamW", lr=0.01, weight_decay=0.1)
STRATEGIES = {
    "ddp": dict(strategy="ddp"),
    "driven": dict(model=Driver(), loss=None),
    "fsdp2": dict(strategy="fsdp2"),
    "zero": dict(optimizer=ZERO),
}


def everything(folder):
    """All that the tests of training look at, since starting processes takes the longest."""
    train(Path(folder))
    count(Path(folder))


def train(folder):
    """Each strategy from the start, and from the checkpoints that one process left."""
    for name, settings in STRATEGIES.items():
        save(trained(folder / name, **settings), folder / f"{name}.pt")
    for name in ("ddp", "fsdp2"):
        for step in (8, 12):
            start = folder / "single" / f"checkpoint_{step:08d}.pt"
            save(trained(folder / f"{name}-{step}", resume=start, **STRATEGIES[name]), folder / f"{name}-{step}.pt")


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
    with Reductions() as reductions:
        runner.train()
    exchanges["fsdp2"] = len(reductions.seen)
    save(exchanges, folder / "exchanges.pt")


def save(found, path):
    if dist.get_rank() == 0:
        torch.save(found, path)
