"""Stopping at a loss that is no number, without making the host wait for the device at every step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from optimzoo.errors import NonFiniteError
from optimzoo.run.spread.processes import OneProcess
from optimzoo.run.store.checkpoint import checkpoints_in
from optimzoo.wrappers import StepOutcome

ADVICE = (
    "Look at the batch; if its numbers are finite, lower the learning rate, warm up longer, or clip the gradients with "
    "optim_wrapper.clip_grad"
)
AT_FIRST = "No update was made before it: look at the data, at the weights that the model begins with, and at the loss"


class LossWatch:
    """Collects the losses, and looks at them when asked to.

    Args:
        work_dir: The folder of the run, to name its last checkpoint.
        device: Where the losses are put together, so that one look fetches all of them.
        skips: Whether the losses of an update that is skipped are let pass.
    """

    def __init__(self, work_dir: Path, device: torch.device, skips: bool) -> None:
        self.work_dir = work_dir
        self.device = device
        self.skips = skips
        self._window: list[tuple[int, str, Tensor | float]] = []
        self._waiting: list[tuple[int, str, Tensor | float]] = []

    def add(self, step: int, outcome: StepOutcome, logs: Mapping[str, Any]) -> None:
        """Note every value of a step with ``loss`` in its name; tensors stay on their device."""
        for name, value in logs.items():
            if "loss" in name and isinstance(value, (int, float, Tensor)):
                self._window.append((step, name, value.to(self.device) if isinstance(value, Tensor) else value))
        if self.skips and outcome is StepOutcome.ACCUMULATING:
            return
        if not (self.skips and outcome is StepOutcome.SKIPPED):
            self._waiting += self._window
        self._window = []

    def check(self) -> None:
        """Look at the losses added since the last call.

        Raises:
            NonFiniteError: One of them is NaN or infinite.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        values = torch.stack([torch.as_tensor(value, device=self.device) for _, _, value in waiting])
        if bool(values.isfinite().all()):
            return
        for (step, name, _), value in zip(waiting, values.tolist()):
            if not math.isfinite(value):
                what = f"the {'loss' if name == 'loss' else f'value {name!r}'} is {value} at step {step}"
                raise self._error(what, AT_FIRST if step == 1 else ADVICE)

    def check_parameters(self, model: nn.Module, step: int, processes: OneProcess) -> None:
        """Look at the parameters that are trained, once for all of them.

        Raises:
            NonFiniteError: One of them, in any process, is NaN or infinite.
        """
        with torch.no_grad():
            trained = {n: _local(p) for n, p in model.named_parameters() if p.requires_grad}
            norms = {n: torch.linalg.vector_norm(p, math.inf) for n, p in trained.items() if p.numel()}
            values = [norm.to(self.device, torch.float32) for norm in norms.values()]
            finite = torch.stack(values).isfinite().tolist() if values else []
        if processes.largest(int(not all(finite))):
            bad = next((repr(name) for name, sound in zip(norms, finite) if not sound), "of another process")
            raise self._error(f"the parameter {bad} is NaN or infinite after step {step}")

    def _error(self, problem: str, advice: str = ADVICE) -> NonFiniteError:
        saved = checkpoints_in(self.work_dir)
        kept = f"the last checkpoint is {saved[-1]}" if saved else "there is no checkpoint yet"
        return NonFiniteError(f"{problem}; {kept}. {advice}")


def _local(parameter: Tensor) -> Tensor:
    """Return the share of this process, where a parameter is sharded."""
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter
