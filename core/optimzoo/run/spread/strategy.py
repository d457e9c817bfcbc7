"""How a run spreads over its processes: in one, with a copy of the model in each, or with a share of it in each."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import ConfigError, OptimzooError
from optimzoo.names.zoo import needs_of
from optimzoo.run.hooks.base import Hook
from optimzoo.run.loop.members import members
from optimzoo.run.spread.processes import OneProcess, launched
from optimzoo.values import one_of
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict

STRATEGIES = {
    "single": "optimzoo.run.spread.strategy:Single",
    "ddp": "optimzoo.run.spread.ddp:DDP",
    "fsdp2": "optimzoo.run.spread.fsdp2:FSDP2",
}
"""The class of each; what several processes need of torch is imported for several processes only."""


class Single:
    """One process trains the whole model.

    Args:
        device: The device to train on.

    Attributes:
        processes: Those of the run.
    """

    cannot: Mapping[str, str] = {}
    """The needs of an optimizer that cannot be met, and why."""

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
        self, optim_wrapper: BaseOptimWrapper | OptimWrapperDict, model: nn.Module, hooks: Sequence[Hook]
    ) -> Iterator[OptimzooError]:
        """Yield what this strategy cannot honour."""
        for name, member in members(optim_wrapper).items():
            path = f"optim_wrapper.{name}" if name else "optim_wrapper"
            for problem in self._member_problems(member, model):
                yield ConfigError(f"strategy={type(self).__name__.lower()!r}: {problem}", path)

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

    def _member_problems(self, member: BaseOptimWrapper, model: nn.Module) -> Iterator[str]:
        name = type(member.optimizer).__name__
        yield from (f"{name} {self.cannot[need]}" for need in sorted(needs_of(member.optimizer)) if need in self.cannot)


def strategy_problems(cfg: Any) -> Iterator[OptimzooError]:
    """Yield what is wrong with a config's ``strategy``."""
    if cfg is None:
        return
    kind, settings = _parts(cfg)
    if isinstance(kind, str) and kind in STRATEGIES:
        yield from calls.problems(_class(kind), settings, "strategy", given=("device",))
    else:
        yield from calls.caught(one_of, kind, STRATEGIES, "strategy")


def build_strategy(cfg: str | Mapping[str, Any] | None, device: torch.device) -> Single:
    """Return the strategy that ``cfg`` names.

    Args:
        cfg: ``"single"``, ``"ddp"`` or ``"fsdp2"``, or a dict with one of these as ``type`` and its arguments. None
            is ``"ddp"`` if a launcher started several processes, else ``"single"``.
        device: The kind of device to train on.

    Raises:
        ConfigError: There is no such strategy, or it does not go with the processes or the device.
    """
    calls.raise_all(strategy_problems(cfg))
    kind, settings = _parts(cfg)
    kind = kind or ("ddp" if launched() > 1 else "single")
    if kind == "single" and launched() > 1:
        raise ConfigError(
            f"'single' trains in one process, and {launched()} were started, each of which would train the same. Use "
            "'ddp' or 'fsdp2'",
            "strategy",
        )
    return calls.call(_class(kind), {"device": device, **settings}, "strategy")  # type: ignore[no-any-return]


def trains(module: nn.Module) -> bool:
    """Whether the module has a parameter to train."""
    return any(p.requires_grad for p in module.parameters())


def _class(kind: str) -> Callable[..., Single]:
    module, _, name = STRATEGIES[kind].partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def _parts(cfg: Any) -> tuple[Any, dict[str, Any]]:
    if not isinstance(cfg, Mapping):
        return cfg, {}
    return cfg.get("type"), {key: value for key, value in cfg.items() if key != "type"}
