"""Stopping at a loss that is no number, without making the host wait for the device at every step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from optimzoo.errors import NonFiniteError
from optimzoo.runner.checkpoint import checkpoints_in


class LossWatch:
    """Collects the losses, and looks at them when asked to.

    Args:
        work_dir: The folder of the run, to name its last checkpoint.
        device: Where the losses are put together, so that one look fetches all of them.
    """

    def __init__(self, work_dir: Path, device: torch.device) -> None:
        self.work_dir = work_dir
        self.device = device
        self._waiting: list[tuple[int, str, Tensor]] = []

    def add(self, step: int, logs: Mapping[str, Any]) -> None:
        """Note every value of a step with ``loss`` in its name; tensors stay on their device."""
        for name, value in logs.items():
            if "loss" not in name:
                continue
            if isinstance(value, Tensor):
                self._waiting.append((step, name, value.to(self.device)))
            elif isinstance(value, (int, float)) and not math.isfinite(value):
                self._stop(step, name, value)

    def check(self) -> None:
        """Look at the losses added since the last call.

        Raises:
            NonFiniteError: One of them is NaN or infinite.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        values = torch.stack([value for _, _, value in waiting])
        if bool(values.isfinite().all()):
            return
        for (step, name, _), value in zip(waiting, values.tolist()):
            if not math.isfinite(value):
                self._stop(step, name, value)

    def _stop(self, step: int, name: str, value: float) -> None:
        saved = checkpoints_in(self.work_dir)
        kept = f"the last checkpoint is {saved[-1]}" if saved else "there is no checkpoint yet"
        raise NonFiniteError(
            f"the {'loss' if name == 'loss' else f'value {name!r}'} is {value} at step {step}; {kept}. Lower the "
            "learning rate, warm up longer, or clip the gradients with optim_wrapper.clip_grad"
        )
