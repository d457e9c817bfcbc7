"""The wrappers of a model with several optimizers, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, cast

from torch import Tensor, nn

from optimzoo.errors import CheckpointError, ConfigError, NonFiniteError, OptimzooError, shown
from optimzoo.groups.table import Summary
from optimzoo.wrappers.amp_optim_wrapper import AmpOptimWrapper
from optimzoo.wrappers.base import BaseOptimWrapper, StepOutcome, explain
from optimzoo.wrappers.optim_wrapper import OptimWrapper
from optimzoo.wrappers.ownership import with_grad

TOGETHER = (OptimWrapper.backward, AmpOptimWrapper.backward)
"""The backward passes that may serve other wrappers too."""


class MemberError(OptimzooError, AttributeError):
    """Something was asked of an OptimWrapperDict that only one of its members can do."""


class OptimWrapperDict(Mapping[str, BaseOptimWrapper]):
    """Several optimizer wrappers, each with its name.

    What concerns all of them is asked of the container: hyperparameters, state, contexts. A loss of one member is given
    to ``update_params`` of that member, one of all to that of the container; ``backward`` and ``step`` are a member's.

    The backward pass of a member changes no gradients that another has accumulated. To a member that has none of its
    own it leaves gradients, which ``step`` of that member uses, and which its own next loss drops.

    Args:
        **optim_wrappers: The wrappers.

    Raises:
        ConfigError: One of them is not an optimizer wrapper.

    Examples:
        >>> import torch
        >>> from optimzoo import OptimWrapper, OptimWrapperDict
        >>> def wrapper(lr):
        ...     return OptimWrapper(torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=lr))
        >>> wrappers = OptimWrapperDict(generator=wrapper(0.1), discriminator=wrapper(0.4))
        >>> wrappers.get_lr()
        {'generator.lr': [0.1], 'discriminator.lr': [0.4]}
    """

    def __init__(self, **optim_wrappers: BaseOptimWrapper) -> None:
        for name, wrapper in optim_wrappers.items():
            if not isinstance(wrapper, BaseOptimWrapper):
                raise ConfigError(f"an optimizer wrapper is wanted, got {shown(wrapper)}", name)
        self.optim_wrappers = optim_wrappers
        self._run: tuple[nn.Module, int, int] | None = None
        self._link()

    def _link(self, apart: bool = True) -> None:
        """Let the members know of each other, or, for a loss of all of them, not."""
        own = [wrapper for wrapper in self.values() if isinstance(wrapper, OptimWrapper)]
        for wrapper in own:
            wrapper._others = tuple(other for other in own if apart and other is not wrapper)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._link()

    def __getitem__(self, name: str) -> BaseOptimWrapper:
        try:
            return self.optim_wrappers[name]
        except KeyError:
            raise KeyError(f"no optimizer wrapper {name!r}: there are {', '.join(map(repr, self))}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.optim_wrappers)

    def __len__(self) -> int:
        return len(self.optim_wrappers)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "optim_wrappers" not in vars(self):  # being copied or pickled
            raise AttributeError(name)
        first = next(iter(self), "name")
        members = ", ".join(map(repr, self)) or "no members"
        raise MemberError(f"{name!r} belongs to one of {members}: write optim_wrapper[{first!r}].{name}")

    @property
    def param_groups(self) -> dict[str, list[dict[str, Any]]]:
        """The parameter groups of each member."""
        return {name: wrapper.param_groups for name, wrapper in self.items()}

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: Mapping[str, Any] | None = None,
        zero_kwargs: Mapping[str, Any] | None = None,
        weight: float | Tensor | None = None,
    ) -> dict[str, StepOutcome]:
        """Back-propagate a loss of all members once and, when enough gradients are accumulated, update by each.

        The arguments are those of ``OptimWrapper.update_params``.

        Returns:
            What happened to the parameters of each member.

        Raises:
            OptimzooError: The members cannot share a loss, or it cannot be back-propagated.
        """
        problem = self.why_not_together()
        if problem:
            raise OptimzooError(f"the optimizers {', '.join(self)} cannot share a loss, for they {problem}")
        first, *rest = members = cast("list[OptimWrapper]", list(self.values()))
        if self._run is not None:
            for wrapper in members:
                wrapper.initialize_count_status(*self._run)
            self._run = None
        scaled = [wrapper for wrapper in members if isinstance(wrapper, AmpOptimWrapper)]
        for each in scaled:
            each.loss_scaler = scaled[0].loss_scaler
        for wrapper in rest:
            wrapper._begin_window()
        self._link(apart=False)
        try:
            first.accumulate(loss, weight)
        finally:
            self._link()
            for wrapper in rest:
                wrapper._window_open, wrapper._weights = first._window_open, first._weights
        for wrapper in rest:
            wrapper._inner_count += 1
        if not first.should_update():
            return {name: wrapper._accumulated() for name, wrapper in zip(self, members)}
        any_grads = any(with_grad(each.optimizer) for each in scaled)
        for each in scaled:
            each.shares_scale = True
        try:
            return {name: wrapper.use(step_kwargs, zero_kwargs) for name, wrapper in zip(self, members)}
        except NonFiniteError:
            for wrapper in members:
                wrapper._give_up_window()
            raise
        finally:
            for each in scaled:
                each.shares_scale = False
            if any_grads and scaled[0].loss_scaler.is_enabled():
                scaled[0].adapt_scale()

    def why_not_together(self) -> str:
        """Return why one backward pass cannot serve all members, in words for "for they ...", or nothing."""
        members = [wrapper for wrapper in self.values() if isinstance(wrapper, OptimWrapper)]
        if len(members) < len(self) or any(type(m).backward not in TOGETHER for m in members):
            return "do not all back-propagate as OptimWrapper and AmpOptimWrapper do"
        if any(m._needs_closure or m._needs_curvature for m in members):
            return "need more than gradients"
        if not self._wait_alike():
            return "accumulate different iterations"
        scalers = [m.loss_scaler if isinstance(m, AmpOptimWrapper) else None for m in members]
        enabled = [scaler for scaler in scalers if scaler is not None and scaler.is_enabled()]
        others = [scaler for scaler in enabled if scaler is not enabled[0]]
        if 0 < len(enabled) < len(members) or any(s.state_dict() != enabled[0].state_dict() for s in others):
            return "scale it differently"
        return ""

    def _wait_alike(self) -> bool:
        """Whether the members update after the same iterations."""
        members = [wrapper for wrapper in self.values() if isinstance(wrapper, OptimWrapper)]
        windows = {(m._accumulative_counts, m._max_counts, m._inner_count, m._in_window) for m in members}
        return len(windows) < 2 or all(counts == 1 for counts, *_ in windows)

    def zero_grad(self, **kwargs: Any) -> None:
        """Clear the gradients of every member."""
        for wrapper in self.values():
            wrapper.zero_grad(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Return the contexts of all members as one, for a forward pass that serves all of them."""
        with ExitStack() as stack:
            try:
                self._link(apart=not self._wait_alike())
                for wrapper in self.values():
                    stack.enter_context(wrapper.optim_context(model))
            finally:
                self._link()
            yield

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Tell the members how long the run is, if they share their losses: see ``update_params``.

        A member that has losses of its own counts these; only the model knows how many there will be.
        """
        self._run = (model, init_counts, max_counts)

    def explain(self, name: str) -> str:
        """Say which member, which group and which rule gave a parameter its settings.

        Raises:
            ConfigError: No member has a parameter of that name.
        """
        return explain(self, name)

    def get_lr(self) -> dict[str, list[float]]:
        """Return what each member's ``get_lr`` does, the member's name put before each key."""
        return {f"{name}.{key}": lrs for name, wrapper in self.items() for key, lrs in wrapper.get_lr().items()}

    def get_momentum(self) -> dict[str, list[float]]:
        """Return what each member's ``get_momentum`` does, the member's name put before each key."""
        return {f"{name}.{key}": m for name, wrapper in self.items() for key, m in wrapper.get_momentum().items()}

    def summary(self) -> Summary:
        """Return a table of the parameter groups of each member; see ``BaseOptimWrapper``."""
        return Summary(self.optim_wrappers)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each member by its name."""
        return {name: wrapper.state_dict() for name, wrapper in self.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load what ``state_dict`` returned.

        Raises:
            CheckpointError: It is of other members, or a member's state does not fit it.
        """
        if set(state_dict) != set(self):
            raise CheckpointError(
                f"it holds the states of {', '.join(map(repr, state_dict)) or 'no optimizer wrapper'}, and the "
                f"optimizer wrappers are {', '.join(map(repr, self))}"
            )
        with ExitStack() as stack:
            for wrapper in self.values():
                stack.enter_context(wrapper.unchanged_on_error())
            for name, wrapper in self.items():
                try:
                    wrapper.load_state_dict(state_dict[name])
                except CheckpointError as error:
                    raise error.under(name) from error.__cause__

    def add_saved_groups(self, model: nn.Module, state_dict: Mapping[str, Any]) -> None:
        """Add to each member the groups that its state has and its optimizer lacks; see ``BaseOptimWrapper``."""
        for name, wrapper in self.items():
            wrapper.add_saved_groups(model, state_dict.get(name, {}))

    def __repr__(self) -> str:
        return "".join(f"name: {name}\n{wrapper!r}" for name, wrapper in self.items())
