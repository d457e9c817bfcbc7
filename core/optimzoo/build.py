"""From config dicts to optimizers and their wrappers."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.constructors import DefaultOptimWrapperConstructor, MultiOptimWrapperConstructor, create_optimizer
from optimzoo.constructors.multi import NOT_A_MEMBER, construct, constructor_of, members_of, multi_problems
from optimzoo.errors import ConfigError, OptimzooError, did_you_mean, near
from optimzoo.groups.modules import unwrap
from optimzoo.names.registry import Registry
from optimzoo.names.zoo import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from optimzoo.optimizers.param_groups import as_groups
from optimzoo.values import MARKS
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict
from optimzoo.wrappers.built import tell_of

NOT_OF_THE_WRAPPER = ("optimizer", "constructor", "paramwise_cfg", "modules", "type", *MARKS)
"""Keys of an ``optim_wrapper`` config that are not arguments of the wrapper's class."""


def build_optim_wrapper(
    model: nn.Module, cfg: Mapping[str, Any] | BaseOptimWrapper
) -> BaseOptimWrapper | OptimWrapperDict:
    """Build the optimizer wrapper that ``cfg`` describes, for ``model``.

    Args:
        model: The model to train.
        cfg: ``optimizer`` (a dict, or a built optimizer), and any of ``type`` (of the wrapper), ``paramwise_cfg``,
            ``constructor`` and the wrapper's arguments. For several optimizers, such a dict for each child module by
            its name; see ``MultiOptimWrapperConstructor``. It is left as it is. A built wrapper is returned as it is.

    Raises:
        ConfigError: ``cfg`` is wrong; the error's path begins with ``optim_wrapper``.
        MissingDependencyError: The library of a name is not installed.

    Examples:
        >>> import torch
        >>> from optimzoo import build_optim_wrapper
        >>> wrapper = build_optim_wrapper(
        ...     torch.nn.Linear(2, 1),
        ...     dict(optimizer=dict(type="AdamW", lr=1e-3), clip_grad=dict(max_norm=1.0)),
        ... )
        >>> type(wrapper.optimizer).__name__
        'AdamW'
    """
    if isinstance(cfg, (BaseOptimWrapper, OptimWrapperDict)):
        return cfg
    calls.raise_all(optim_wrapper_problems(cfg))
    try:
        wrapper = construct(model, cfg)
    except OptimzooError as error:
        raise error.under("optim_wrapper") from error.__cause__
    tell_of(wrapper, model)
    return wrapper


def build_optimizer(model_or_params: nn.Module | Iterable[Any], cfg: Mapping[str, Any]) -> Optimizer:
    """Build the optimizer that ``cfg`` describes, without a wrapper.

    Args:
        model_or_params: A model, or what torch's optimizers take: parameters, ``(name, parameter)`` pairs, or groups.
        cfg: ``type`` and the optimizer's arguments; left as it is.

    Raises:
        ConfigError: ``cfg`` is wrong, or there is nothing to optimize.
        MissingDependencyError: The library of the name is not installed.

    Examples:
        >>> import torch
        >>> from optimzoo import build_optimizer
        >>> build_optimizer(torch.nn.Linear(2, 1), dict(type="SGD", lr=0.1)).param_groups[0]["param_names"]
        ['weight', 'bias']
    """
    try:
        if isinstance(model_or_params, nn.Module):
            model = unwrap(model_or_params)
            return create_optimizer(cfg, DefaultOptimWrapperConstructor({"optimizer": cfg}).param_groups(model), model)
        return create_optimizer(cfg, as_groups(model_or_params))
    except OptimzooError as error:
        raise error.under("" if error.path.startswith("optimizer") else "optimizer") from error.__cause__


def optim_wrapper_problems(cfg: Any, path: str = "optim_wrapper") -> Iterator[OptimzooError]:
    """Yield what is wrong with an ``optim_wrapper`` config, as far as it can be told without a model."""
    if isinstance(cfg, (BaseOptimWrapper, OptimWrapperDict)):
        return
    if not isinstance(cfg, Mapping):
        yield ConfigError(f"a dict with the key 'optimizer' is wanted, got {cfg!r}", path)
        return
    constructor_cls = yield from _get(OPTIM_WRAPPER_CONSTRUCTORS, constructor_of(cfg), f"{path}.constructor")
    if constructor_cls is MultiOptimWrapperConstructor:
        yield from (problem.under(path) for problem in multi_problems(cfg))
        if "optimizer" not in cfg:
            for name, member in members_of(cfg).items():
                if isinstance(member, Mapping):
                    yield from optim_wrapper_problems(member, f"{path}.{name}")
            return
        constructor_cls = DefaultOptimWrapperConstructor
    wrapper_cls = yield from _get(OPTIM_WRAPPERS, cfg.get("type", "OptimWrapper"), f"{path}.type")
    if constructor_cls is not None and not issubclass(constructor_cls, DefaultOptimWrapperConstructor):
        yield from _constructor_problems(constructor_cls, cfg, path)
        return  # what another constructor reads is its own affair
    if "optimizer" not in cfg:
        if constructor_cls is None:
            return
        hint = did_you_mean(near("optimizer", cfg)).replace("Did you mean", "Is it under")
        yield ConfigError(
            f"the key 'optimizer' is missing; it is a dict such as {{'type': 'AdamW', 'lr': 1e-3}}.{hint}", path
        )
    elif isinstance(cfg["optimizer"], Optimizer):
        for key in (k for k in ("paramwise_cfg", "constructor") if cfg.get(k) is not None):
            yield ConfigError("a built optimizer has its groups: describe it by a dict", f"{path}.{key}")
    else:
        found = list(_optimizer_problems(cfg["optimizer"], f"{path}.optimizer"))
        yield from found
        if not found and constructor_cls is not None:
            yield from _constructor_problems(constructor_cls, cfg, path)
    if wrapper_cls is not None:
        kwargs = {key: value for key, value in cfg.items() if key not in NOT_OF_THE_WRAPPER}
        for problem in calls.problems(wrapper_cls, kwargs, path, given=("optimizer",)):
            meant = near(problem.path.rpartition(".")[2], NOT_OF_THE_WRAPPER, limit=1)
            unknown = problem.path.rpartition(".")[2] not in calls.parameters(wrapper_cls)
            yield (
                ConfigError(f"there is no such key.{did_you_mean(meant)}", problem.path)
                if unknown and meant
                else problem
            )


def _optimizer_problems(cfg: Any, path: str) -> Iterator[OptimzooError]:
    try:
        cls, kwargs = OPTIMIZERS.resolve(cfg, path)
    except OptimzooError as error:
        yield error
        return
    first = next(iter(calls.parameters(cls)), "params")
    yield from calls.problems(cls, kwargs, path, given=(first,))


def _constructor_problems(constructor_cls: Any, cfg: Mapping[str, Any], path: str) -> Iterator[OptimzooError]:
    settings = {key: value for key, value in cfg.items() if key not in NOT_A_MEMBER}
    arguments = {"optim_wrapper_cfg": settings, "paramwise_cfg": cfg.get("paramwise_cfg")}
    for problem in calls.problems(constructor_cls, arguments):
        wanted = "a class is wanted that is called with optim_wrapper_cfg and paramwise_cfg"
        yield ConfigError(f"{wanted}: {problem.problem}", f"{path}.constructor")
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the build repeats them
            constructor_cls(**arguments)
    except ConfigError as error:
        yield from error.under(path).problems
    except Exception:  # it may want more than there is before the build, which raises its error with its place
        return


def _get(registry: Registry, name: Any, path: str) -> Generator[OptimzooError, None, Any]:
    try:
        return registry.get(name, path)
    except OptimzooError as error:
        yield error
        return None
