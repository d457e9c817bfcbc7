"""Muon for the matrices and AdamW for the rest, in several processes."""

from pathlib import Path

import torch
import torch.distributed as dist

from optimzoo import build_optim_wrapper
from optimzoo.run.spread.strategy import build_strategy

from .scenarios import save
from .task import mse, network, trained

PARTS = dict(
    optim_wrapper=dict(
        optimizer=dict(type="Muon", lr=0.02, weight_decay=0.1, rest=dict(type="AdamW", lr=0.01)),
        clip_grad=dict(max_norm=1.0),
        accumulative_counts=3,
    )
)


def train_parts(folder):
    """With each strategy, and again from the checkpoint of one process."""
    for strategy in ("ddp", "fsdp2"):
        run = Path(folder) / f"{strategy}-{dist.get_world_size()}"
        save(trained(run, strategy=strategy, **PARTS), run.with_suffix(".pt"))
        start = Path(folder) / "single" / "checkpoint_00000008.pt"
        again = run.with_name(f"{run.name}-resumed")
        save(trained(again, resume=start, strategy=strategy, **PARTS), again.with_suffix(".pt"))
    strategy = build_strategy("fsdp2", torch.device("cpu"))
    save(updated(strategy.shard(network()), strategy), Path(folder) / f"once-{dist.get_world_size()}.pt")


def updated(model, strategy=None):
    """Update once on gradients of full rank, for Muon turns what rounding leaves of others into matrices too."""
    wrapper = build_optim_wrapper(model, PARTS["optim_wrapper"] | dict(accumulative_counts=1, clip_grad=None))
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mse(model, (x, x[:, :1])).backward()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        whole = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.grad.copy_(strategy.place(whole, parameter) if strategy else whole)
    wrapper.step()
    return strategy.model_state(model) if strategy else model.state_dict()
