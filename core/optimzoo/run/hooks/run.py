"""What a hook can see of a run, and ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from optimzoo.optimizers.modes import Modes
from optimzoo.run.loop.train_cfg import TrainPlan
from optimzoo.run.spread.processes import OneProcess
from optimzoo.run.store.history import History
from optimzoo.schedules import SchedulerGroup
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict


class Run(Protocol):
    """A run as its hooks see it; the Runner is one, and says what each attribute is."""

    model: nn.Module
    optim_wrapper: BaseOptimWrapper | OptimWrapperDict
    schedulers: SchedulerGroup
    modes: Modes
    processes: OneProcess
    device: torch.device
    work_dir: Path
    history: History
    config: dict[str, Any]
    plan: TrainPlan
    epoch_length: int | None
    max_iters: int | None
    log_interval: int
    epoch: int
    iter: int
    iter_in_epoch: int
    validation_due: bool
    should_stop: bool
    resumed_from: Path | None
    moved_to: Path | None

    @property
    def hooks(self) -> Sequence[Any]:
        """The hooks, in the order in which they are called."""

    @property
    def current_epoch(self) -> int:
        """The epoch that is running, or else the last one that ended, counted from 1."""
        return self.epoch + (self.iter_in_epoch > 0)

    @property
    def finished(self) -> bool:
        """Whether the run has reached its length, or should stop here."""
        if self.should_stop:
            return True
        done, length = (self.epoch, self.plan.max_epochs) if self.plan.by_epoch else (self.iter, self.plan.max_iters)
        return length is not None and done >= length

    def save(self, path: str | Path) -> None:
        """Save a checkpoint; all processes call it, and the first writes."""

    def plot(self) -> Any:
        """Return a picture of the history."""
