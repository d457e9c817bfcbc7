"""A step of a warm-up and a cosine: ``python -m bench.schedulers``."""

from __future__ import annotations

from collections.abc import Iterator

import mmengine.optim
import torch
from torch import nn

from bench.measure import Row, Work, in_turns
from optimzoo import StepOutcome, build_param_scheduler

LONG = 10_000_000
"""Steps of both windows, so that both schedules act on every step that is measured."""


def rows() -> Iterator[Row]:
    """Yield the rows about schedules."""
    works = {"optimzoo": _optimzoo(2), "torch": _torch(2), "mmengine": _mmengine(2)}
    many = {"mmengine of 578": _mmengine(578)}
    found = {**in_turns(works, rounds=200, calls=200), **in_turns(many, rounds=20, calls=5)}
    work = "step of a warm-up and a cosine, 2 groups"
    yield Row(work, found["optimzoo"], "torch", found["torch"], unit="us", times=1.5)
    yield Row(work, found["optimzoo"], "mmengine", found["mmengine"], unit="us")
    yield Row(work, found["optimzoo"], "mmengine, 578 groups", found["mmengine of 578"], unit="us")


def _optimizer(groups: int) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD([{"params": nn.Parameter(torch.zeros(1))} for _ in range(groups)], lr=0.1)
    optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
    return optimizer


def _optimzoo(groups: int) -> Work:
    optimizer = _optimizer(groups)
    cfg = [
        dict(type="LinearLR", start_factor=0.001, by_epoch=False, end=LONG),
        dict(type="CosineAnnealingLR", by_epoch=False, T_max=LONG),
    ]
    schedule = build_param_scheduler(optimizer, cfg)
    optimizer.step()
    return lambda: schedule.step(StepOutcome.UPDATED)


def _torch(groups: int) -> Work:
    optimizer = _optimizer(groups)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.001, total_iters=LONG)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=LONG)
    optimizer.step()
    return lambda: (warmup.step(), cosine.step())


def _mmengine(groups: int) -> Work:
    optimizer = _optimizer(groups)
    warmup = mmengine.optim.LinearLR(optimizer, start_factor=0.001, by_epoch=False, end=LONG)
    cosine = mmengine.optim.CosineAnnealingLR(optimizer, T_max=LONG, by_epoch=False)
    optimizer.step()
    return lambda: (warmup.step(), cosine.step())


if __name__ == "__main__":
    for row in rows():
        print("  ".join(row.cells()))
