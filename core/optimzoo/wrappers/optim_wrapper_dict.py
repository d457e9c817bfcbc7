"""The wrappers of a model with several optimizers, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from optimzoo.errors import CheckpointError, ConfigError, OptimzooError, did_you_mean, near
from optimzoo.wrappers.base import BaseOptimWrapper


class MemberError(OptimzooError, AttributeError):
    """Something was asked of an OptimWrapperDict that only one of its members can do."""


class OptimWrapperDict(Mapping[str, BaseOptimWrapper]):
    """Several optimizer wrappers, each with its name.

    What concerns all of them is asked of the container: hyperparameters, state, contexts. A loss belongs to one member,
    so ``update_params``, ``backward`` and ``step`` are called on that member.

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
                raise ConfigError(f"an optimizer wrapper is wanted, got {wrapper!r}", name)
        self.optim_wrappers = optim_wrappers

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

    def zero_grad(self, **kwargs: Any) -> None:
        """Clear the gradients of every member."""
        for wrapper in self.values():
            wrapper.zero_grad(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Return the contexts of all members as one, for a forward pass that serves all of them."""
        with ExitStack() as stack:
            for wrapper in self.values():
                stack.enter_context(wrapper.optim_context(model))
            yield

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Do nothing, as in mmengine: a member counts its own backward passes, and only the model knows how many."""

    def explain(self, name: str) -> str:
        """Say which member, which group and which rule gave a parameter its settings.

        Raises:
            ConfigError: No member has a parameter of that name.
        """
        known = []
        for member, wrapper in self.items():
            names = [each for group in wrapper.optimizer.param_groups for each in group.get("param_names", ())]
            if name in names:
                return f"{member}, {wrapper.explain(name)}"
            known += names
        raise ConfigError(f"no parameter group holds {name!r}.{did_you_mean(near(name, known))}")

    def get_lr(self) -> dict[str, list[float]]:
        """Return what each member's ``get_lr`` does, the member's name put before each key."""
        return {f"{name}.{key}": lrs for name, wrapper in self.items() for key, lrs in wrapper.get_lr().items()}

    def get_momentum(self) -> dict[str, list[float]]:
        """Return what each member's ``get_momentum`` does, the member's name put before each key."""
        return {f"{name}.{key}": m for name, wrapper in self.items() for key, m in wrapper.get_momentum().items()}

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
        for name, wrapper in self.items():
            try:
                wrapper.load_state_dict(state_dict[name])
            except CheckpointError as error:
                raise CheckpointError(f"{name}: {error}") from error.__cause__

    def __repr__(self) -> str:
        return "".join(f"name: {name}\n{wrapper!r}" for name, wrapper in self.items())
