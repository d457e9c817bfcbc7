"""The step of an optimizer over buffers, to the bit that over the parameters which are parts of them."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import is_
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optimzoo.errors import ConfigError, OptimzooWarning
from optimzoo.flat.fit import check_compiled, check_facts, check_group
from optimzoo.flat.plan import BUFFER, FEWEST, FEWEST_FUSED, LARGEST, Plan
from optimzoo.flat.tape import Tape
from optimzoo.optimizers.fused import BeforeFused
from optimzoo.optimizers.parts import each_of, part_of

logger = logging.getLogger("optimzoo")


class Flat:
    """Steps an optimizer over buffers.

    In every step, the parameters of a group that have a gradient and are alike are joined, and stay so for as long as
    they are. Whoever looks at optimizer and model sees parameters, gradients and states as without it.

    Args:
        optimizer: The optimizer; its ``step`` called by others steps its parameters one by one. Of one of several
            parts, those that cannot be flattened are stepped as they are.
        compiled: Whether what it does in a step is compiled to one function.

    Raises:
        ConfigError: It cannot be flattened.
    """

    def __init__(self, optimizer: Optimizer, compiled: bool = False) -> None:
        self._tape = Tape() if compiled else None
        if compiled:
            check_compiled(optimizer)
        self._optimizer = optimizer
        self._plans: list[Plan] = []
        self._tried: list[dict[str, Any]] = []
        self._seen: list[Any] = []
        self._stepping = self._notes = self._told = False
        self._depth = 0
        self._idle = -1  # or of how many parameters nothing can be joined
        self._flattened = {*self._try_parts()}
        for part in each_of(optimizer):
            part.register_step_pre_hook(self._before_any_step)
            part.register_load_state_dict_post_hook(self._after_loading)
            part.register_state_dict_post_hook(self._as_saved)

    @torch.no_grad()
    def gather(self) -> list[Tensor]:
        """Join what can be joined, and return all that has a gradient: buffers, and parameters that are by themselves.

        The gradients of joined parameters are parts of those of the buffers.
        """
        groups, states = self._optimizer.param_groups, self._states()
        changed = len(states) != len(self._seen) or not all(map(is_, states, self._seen))
        others = (plan.holds_others(group["params"]) for plan, group in zip(self._plans, groups))
        if len(self._plans) > len(groups) or any(others):
            self.dissolve()
        for number, group in enumerate(groups):
            if number == len(self._plans):
                self._plans.append(Plan())
            plan, part = self._plans[number], part_of(self._optimizer, group)
            if not plan.gather(group["params"], part.state, changed):
                stays = self._place(part) not in self._flattened
                if not stays:
                    self._try(part, group)
                in_kernel = bool(group.get("fused"))
                stays |= in_kernel and isinstance(part, torch.optim.SGD)  # whose kernel takes many as one
                fewest = 2 if self._tape else FEWEST_FUSED if in_kernel else FEWEST
                buffer = sys.maxsize if in_kernel or self._tape else BUFFER
                plan.join(part.state, 0 if stays else LARGEST, fewest, buffer)
                changed = True
        self._seen = self._states()
        self._idle = _count(groups) if self._tape is None and all(plan.is_idle for plan in self._plans) else -1
        stepped = [p for plan in self._plans for p in plan.stepped if p.grad is not None]
        if not self._told and (stepped or self._idle >= 0):
            self._tell()
        return stepped

    def step(self, **kwargs: Any) -> Any:
        """Step the optimizer; its hooks see the parameters one by one."""
        optimizer = self._optimizer
        if self._idle == _count(optimizer.param_groups):
            self._stepping = True
            try:
                return optimizer.step(**kwargs)
            finally:
                self._stepping = False
        registered: list[Any] = []
        for place in self._flattened:
            part = each_of(optimizer)[place]
            before = part.register_step_pre_hook(lambda part, *_: self._enter(part, begins=True))
            hooks = part._optimizer_step_pre_hooks
            for key in [key for key, hook in hooks.items() if isinstance(hook, BeforeFused)]:
                hooks.move_to_end(key)  # it looks at what the kernel gets
            after = part.register_step_post_hook(lambda *_: self._leave())
            part._optimizer_step_post_hooks.move_to_end(after.id, last=False)
            registered += before, after
        self._stepping = True
        try:
            return optimizer.step(**kwargs)
        except BaseException:
            self._end(failed=True)
            raise
        finally:
            self._depth = min(self._depth, 1)
            self._leave()
            self._stepping = False
            for handle in registered:
                handle.remove()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Show the buffers in the place of their parameters, to whoever works on gradients number by number."""
        self._enter()
        try:
            yield
        finally:
            self._leave(stepped=False)

    def norm(self) -> Tensor:
        """Return the norm of all gathered gradients, to the bit that which torch takes of them one by one."""
        total: Tensor = torch.linalg.vector_norm(torch.cat([norms for plan in self._plans for norms in plan.norms()]))
        return total

    def dissolve(self) -> None:
        """Part what is joined."""
        for part in each_of(self._optimizer):
            for chunk in (chunk for plan in self._plans for chunk in plan.chunks):
                chunk.dissolve(part.state)
        self._plans.clear()

    def __getstate__(self) -> dict[str, Any]:
        self.dissolve()
        return {**vars(self), "_tape": Tape() if self._tape else None}

    def _enter(self, part: Optimizer | None = None, begins: bool = False) -> None:
        """Put the buffers into the groups of a part, or of all."""
        self._depth += 1
        if self._depth > 1:  # a step that calls that of its base class runs the hooks of both
            return
        self.gather()
        optimizer = self._optimizer
        for plan, group in zip(self._plans, optimizer.param_groups):
            of = part_of(optimizer, group)
            if part in (None, of):
                plan.own, group["params"] = group["params"], plan.stepped
                of.state.update({chunk.buffer: chunk.state for chunk in plan.active if chunk.state})
        if begins and self._tape is not None and not all(group.get("fused") for group in optimizer.param_groups):
            self._tape.begin(parameter for group in optimizer.param_groups for parameter in group["params"])
            self._notes = True

    def _end(self, failed: bool = False) -> None:
        """End what ``_enter`` began to note."""
        if self._tape is None or not self._notes:
            return
        self._notes = False
        groups, states = self._optimizer.param_groups, self._optimizer.state
        kept = (states.get(parameter) for group in groups for parameter in group["params"])
        self._tape.finish([*filter(None, kept), *groups], failed)
        if self._tape.why_not:
            name = type(self._optimizer).__name__
            warnings.warn(f"{name} {self._tape.why_not}: it goes on uncompiled", OptimzooWarning, stacklevel=2)
            self._tape = None

    def _leave(self, stepped: bool = True) -> None:
        if self._depth != 1:
            self._depth = max(self._depth - 1, 0)
            return
        self._depth = 0
        self._end()
        optimizer = self._optimizer
        for plan, group in zip(self._plans, optimizer.param_groups):
            if group["params"] is not plan.stepped:
                continue
            group["params"] = plan.own
            states = part_of(optimizer, group).state
            for chunk in plan.active:
                chunk.state = states.pop(chunk.buffer, chunk.state)
                if stepped:
                    chunk.after_step(states)
        self._seen = self._states()

    def _tell(self) -> None:
        """Log how much of it is joined, once."""
        self._told = True
        joined = [len(chunk.params) for plan in self._plans for chunk in plan.chunks]
        of = _count(self._optimizer.param_groups)
        left = "" if sum(joined) == of else ": the others would not gain by it, or fill no whole rows (docs/speed.md)"
        logger.info("flatten joins %d of %d parameters in %d buffers%s", sum(joined), of, len(joined), left)

    def _states(self) -> list[Any]:
        return [state for part in each_of(self._optimizer) for state in part.state.values()]

    def _place(self, part: Optimizer) -> int:
        return next(number for number, each in enumerate(each_of(self._optimizer)) if each is part)

    def _try_parts(self) -> Iterator[int]:
        """Yield the places of the parts that can be flattened, of which there has to be one."""
        parts, refused = each_of(self._optimizer), []
        for place, part in enumerate(parts):
            try:
                check_facts(part)
                for group in part.param_groups:
                    self._try(part, group)
            except ConfigError as error:
                refused.append(error)
                if len(refused) == len(parts):
                    raise
            else:
                yield place

    def _try(self, part: Optimizer, group: Mapping[str, Any]) -> None:
        """Try a group's settings, other than those whose value makes no other algorithm."""
        settings = {k: v for k, v in group.items() if k not in ("params", "param_names", "lr", "initial_lr")}
        if group["params"] and not any(_equal(settings, tried) for tried in self._tried):
            check_group(part, group, self._tape is not None)
            self._tried.append(settings)

    def _before_any_step(self, *_: Any) -> None:
        if not self._stepping:
            self.dissolve()

    def _after_loading(self, _: Any) -> None:
        self.dissolve()

    def _as_saved(self, _: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
        state = {key: getattr(value, "alone", lambda v=value: v)() for key, value in state_dict["state"].items()}
        return {**state_dict, "state": state}


def _count(groups: Iterable[Mapping[str, Any]]) -> int:
    return sum(len(group["params"]) for group in groups)


def _equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return repr(one) == repr(other)
