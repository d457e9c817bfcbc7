"""Saving and loading the checkpoint of a run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from bench.measure import Row, in_turns
from bench.models import fill_grads
from optimzoo import build_optim_wrapper
from optimzoo.run.store.checkpoint import load_checkpoint, save_checkpoint


def rows() -> Iterator[Row]:
    """Yield the rows about checkpoints of 100 million parameters trained with AdamW."""
    model = nn.Sequential(*(nn.Linear(2500, 2500, bias=False) for _ in range(16)))
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="AdamW", lr=1e-4)))
    fill_grads(model)
    wrapper.step()
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder, "ours.pt"), Path(folder, "theirs.pt")

        def save_plainly() -> None:
            with theirs.open("wb") as file:
                torch.save({"model": model.state_dict(), "optimizer": wrapper.optimizer.state_dict()}, file)
                file.flush()
                os.fsync(file.fileno())

        def clear() -> None:
            """Make each save one of a new file, with nothing else on its way to the disk."""
            for path in (ours, theirs):
                path.unlink(missing_ok=True)
            os.sync()

        def save() -> None:
            save_checkpoint({"model": model.state_dict(), "optim_wrapper": wrapper.state_dict()}, ours)

        saved = in_turns({"optimzoo": save, "torch": save_plainly}, rounds=5, before=clear)
        save()
        save_plainly()
        loaded = in_turns(
            {
                "optimzoo": lambda: load_checkpoint(ours),
                "torch": lambda: torch.load(theirs, map_location="cpu", weights_only=True),
            },
            rounds=11,
        )
        what = "a checkpoint, 100 M parameters, AdamW"
        yield Row(f"save {what}", saved["optimzoo"], "torch.save and fsync", saved["torch"], "s", times=1.2)
        yield Row(f"load {what}", loaded["optimzoo"], "torch.load", loaded["torch"], "s", times=1.2)
        sizes = ours.stat().st_size, theirs.stat().st_size
        yield Row(f"size of {what}", sizes[0], "torch.save", sizes[1], "MB", times=1.05)
