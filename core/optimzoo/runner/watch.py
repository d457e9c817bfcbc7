"""Stopping at a loss that is no number, without making the host wait for the device at every step."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from optimzoo.errors import NonFiniteError
from optimzoo.runner.checkpoint import checkpoints_in


class LossWatch:
    """Collects the losses, and looks at them when asked to.

    Args:
        work_dir: The folder of the run, to name its last checkpoint.
    """

    def __init__(self, work_dir: Path) -> None:
        self.work_dir = work_dir
        self._waiting: list[tuple[int, Tensor]] = []

    def add(self, step: int, loss: Tensor | float) -> None:
        """Note the loss of a step; it stays on its device."""
        self._waiting.append((step, torch.as_tensor(loss, dtype=torch.float32).detach().reshape(())))

    def check(self) -> None:
        """Look at the losses added since the last call.

        Raises:
            NonFiniteError: One of them is NaN or infinite.
        """
        if not self._waiting:
            return
        steps, losses = zip(*self._waiting)
        self._waiting = []
        values = torch.stack(losses)
        for step, value in zip(steps, values.tolist() if not bool(values.isfinite().all()) else ()):
            if value - value != 0:  # NaN or infinite
                saved = checkpoints_in(self.work_dir)
                kept = f"the last checkpoint is {saved[-1]}" if saved else "there is no checkpoint yet"
                raise NonFiniteError(
                    f"the loss is {value} at step {step}; {kept}. Lower the learning rate, warm up longer, or clip the "
                    "gradients with optim_wrapper.clip_grad"
                )
