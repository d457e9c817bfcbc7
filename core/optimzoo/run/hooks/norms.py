"""How large the gradients and the updates of each parameter group are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from optimzoo.groups.table import group_names
from optimzoo.run.hooks.base import Hook
from optimzoo.run.hooks.run import Run
from optimzoo.wrappers import StepOutcome
from optimzoo.wrappers.members import by_prefix


class NormsHook(Hook):
    r"""Logs ``grad_norm[group]`` and ``update_ratio[group]`` of one update in each log interval.

    .. math:: \text{grad\_norm} = \lVert g \rVert_2, \quad \text{update\_ratio} = \lVert w' - w \rVert / \lVert w \rVert

    over all parameters of a group that have a gradient: of the gradients as the optimizer takes them, after the
    clipping, and of the weights before and after its step. The host does not wait for the device before the log does.
    For that one update the parameters are copied, which takes their memory.
    """

    needs = ("whole",)

    def __init__(self) -> None:
        self._due = False
        self._handles: list[Any] = []
        self._before: dict[int, list[_Group]] = {}
        self._found: dict[str, Tensor] = {}

    def before_train(self, runner: Run) -> None:
        """Watch the steps of the optimizers."""
        for prefix, member in by_prefix(runner.optim_wrapper).items():
            optimizer = member.optimizer

            def before(optimizer: Any, *_: Any) -> None:
                if self._due:
                    self._before[id(optimizer)] = [_Group(group) for group in optimizer.param_groups]

            def after(optimizer: Any, *_: Any, member: Any = member, prefix: str = prefix) -> None:
                for title, group in zip(group_names(member), self._before.pop(id(optimizer), ())):
                    for key, value in group.measured():
                        self._found[f"{prefix}{key}[{title}]"] = value

            self._handles += [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]

    def before_iter(self, runner: Run, batch: Any) -> None:
        """Ask for the next update once in a log interval."""
        self._due = self._due or (runner.iter + 1) % runner.log_interval == 0

    def after_iter(self, runner: Run, outcome: StepOutcome, logs: dict[str, Any]) -> None:
        """Log what an update was found to be."""
        if self._found:
            logs.update(self._found)
            self._found, self._due = {}, False

    def after_train(self, runner: Run) -> None:
        """Leave the optimizers as they were."""
        while self._handles:
            self._handles.pop().remove()

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """Leave the optimizers as they were."""
        self.after_train(runner)


class _Group:
    """What a group was before a step."""

    @torch.no_grad()
    def __init__(self, group: Mapping[str, Any]) -> None:
        self._params = [p for p in group["params"] if p.grad is not None]
        self._copies = [p.detach().clone() for p in self._params]
        self._norm = get_total_norm([p.grad.coalesce().values() if p.grad.is_sparse else p.grad for p in self._params])

    @torch.no_grad()
    def measured(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the values, once the step is made; none if no parameter had a gradient."""
        if self._params:
            moved = [p - copy for p, copy in zip(self._params, self._copies)]
            yield "grad_norm", self._norm
            yield "update_ratio", get_total_norm(moved) / get_total_norm(self._copies)
