"""How a run spreads over its processes: in one, with a copy of the model in each, or with a share of it in each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import ConfigError, OptimzooError, Problems
from optimzoo.names.zoo import STRATEGIES, needs_of
from optimzoo.run.spread.processes import OneProcess, launched
from optimzoo.values import number, plain
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict
from optimzoo.wrappers.members import members, place_of


class HasNeeds(Protocol):
    """Whatever declares needs, as a hook does."""

    needs: Collection[str]


class Strategy:
    """How a run uses its processes: as it stands here, in one that trains the whole model.

    A subclass overrides what it does otherwise, and is named by ``zoo.strategy``. Its arguments are those of a config's
    ``strategy``, beside the device.

    Args:
        device: The kind of device to train on.

    Attributes:
        processes: Those of the run.
    """

    ranges: Mapping[str, tuple[float, float]] = {}
    """The least and the most that arguments of a config may be."""
    cannot: Mapping[str, str] = {}
    """The needs of optimizers and hooks (``optimzoo.names.entry.NEEDS``) that cannot be met, each with the reason."""

    def __init__(self, device: torch.device) -> None:
        self.processes = OneProcess(device)

    def shard(self, model: nn.Module) -> nn.Module:
        """Return the model as the optimizer is to see it."""
        return model

    def wrap(self, model: nn.Module, drives: bool) -> nn.Module:
        """Return the model as the training step is to call it.

        Args:
            model: The model.
            drives: Whether it drives itself by a method ``train_step``.
        """
        return model

    def split(self, loader: Iterable[Any], path: str, seed: int | None = None) -> Iterable[Any]:
        """Return a loader of this process's part of the data.

        Args:
            loader: The loader of all of it.
            path: Where in the config it stands.
            seed: Decides the shuffled order, together with the epoch; None for validation, which counts every sample
                once.

        Raises:
            ConfigError: The data cannot be split.
        """
        return loader

    def in_step(self, loader: Iterable[Any]) -> Iterator[tuple[Any, bool]]:
        """Yield the batches of a validation, each with whether it counts; one that does not keeps others company."""
        return ((batch, True) for batch in loader)

    def problems(
        self, optim_wrapper: BaseOptimWrapper | OptimWrapperDict, model: nn.Module, hooks: Sequence[HasNeeds] = ()
    ) -> Iterator[OptimzooError]:
        """Yield what this strategy cannot honour."""
        for name, member in members(optim_wrapper).items():
            for problem in self.member_problems(member, model):
                yield ConfigError(f"strategy={type(self).__name__.lower()!r}: {problem}", place_of(name))
        for index, hook in enumerate(hooks):
            yield from (ConfigError(problem, f"hooks[{index}]") for problem in self._unmet(hook, hook.needs))

    def model_state(self, model: nn.Module) -> dict[str, Any]:
        """Return the state of the model, whole; the first process is the one to save it."""
        return model.state_dict()

    def load_model_state(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        """Load what ``model_state`` returned, in any strategy, in the first process."""
        model.load_state_dict(state)

    def gradients(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the gradients of an unfinished window of accumulation, whole, by the parameters' names."""
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    def whole(self, state: Any) -> Any:
        """Return ``state`` with its sharded tensors made whole; the first process is the one to save it."""
        return state

    def place(self, value: Tensor, parameter: Tensor) -> Tensor:
        """Return a whole tensor of a checkpoint as it goes with ``parameter``: on its device, sharded if it is."""
        return value.to(parameter.device)

    def place_state(self, optimizer: Optimizer) -> None:
        """Put the state that ``optimizer`` has just loaded where its parameters are."""

    def member_problems(self, member: BaseOptimWrapper, model: nn.Module) -> Iterator[str]:
        """Yield why this strategy cannot train with one of the wrappers."""
        yield from self._unmet(member.optimizer, needs_of(member.optimizer))

    def _unmet(self, owner: object, needs: Collection[str]) -> Iterator[str]:
        name = type(owner).__name__
        yield from (f"{name} {self.cannot[need]}" for need in sorted(needs) if need in self.cannot)


class Single(Strategy):
    """One process trains the whole model."""


def read_strategy(cfg: Any) -> calls.Call:
    """Return the call that makes the strategy that ``cfg`` names, once it is given the device.

    Args:
        cfg: A registered name, such as ``"ddp"``, or a dict with one as ``type`` and its arguments. None is ``"ddp"``
            if a launcher started several processes, else ``"single"``.

    Raises:
        ConfigError: There is no such strategy, or it has no such arguments.
    """
    if isinstance(cfg, calls.Call):
        return cfg
    cfg = ("ddp" if launched() > 1 else "single") if cfg is None else plain(cfg, "strategy")
    if isinstance(cfg, str):
        return calls.read(STRATEGIES.get(cfg, "strategy"), {}, "strategy", ("device",))
    call = STRATEGIES.read(cfg, "strategy", ("device",))
    with Problems() as problems:
        for key, bounds in getattr(call.target, "ranges", {}).items():
            if key in call.kwargs:
                problems.catch(number, call.kwargs[key], f"strategy.{key}", *bounds)
    return call


def build_strategy(cfg: Any, device: torch.device) -> Strategy:
    """Return the strategy that ``cfg`` names, for a kind of device.

    Raises:
        ConfigError: There is no such strategy, or it does not go with the processes or the device.
    """
    call = read_strategy(cfg)
    strategy: Strategy = call.build(device=device)
    if strategy.processes.size != launched():
        raise ConfigError(
            f"{call.label.lower()!r} trains in one process, and {launched()} were started, each of which would train "
            "the same. Use 'ddp' or 'fsdp2'",
            "strategy",
        )
    return strategy


def trains(module: nn.Module) -> bool:
    """Whether the module has a parameter to train."""
    return any(p.requires_grad for p in module.parameters())
