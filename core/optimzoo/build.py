"""From config dicts to optimizers and their wrappers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, overload

from torch import nn
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.constructors import DefaultOptimWrapperConstructor, create_optimizer
from optimzoo.constructors.reading import WrapperRecord, read_optim_wrapper
from optimzoo.errors import ConfigError, shown
from optimzoo.groups.modules import share_out, unwrap
from optimzoo.optimizers.described import DescribedOptimizer
from optimzoo.optimizers.heeded import heed
from optimzoo.optimizers.param_groups import as_groups
from optimzoo.values import plain
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict
from optimzoo.wrappers.built import tell_of, tell_of_strangers

Built = TypeVar("Built", BaseOptimWrapper, OptimWrapperDict)


@overload
def build_optim_wrapper(model: nn.Module, cfg: Built) -> Built: ...
@overload
def build_optim_wrapper(model: nn.Module, cfg: Mapping[str, Any] | WrapperRecord) -> Any: ...
def build_optim_wrapper(
    model: nn.Module, cfg: Mapping[str, Any] | BaseOptimWrapper | OptimWrapperDict | WrapperRecord
) -> Any:
    """Build the optimizer wrapper that ``cfg`` describes, for ``model``.

    Args:
        model: The model to train.
        cfg: ``optimizer`` (a dict, or a built optimizer), and any of ``type`` (of the wrapper), ``paramwise_cfg``,
            ``constructor`` and the wrapper's arguments. For several optimizers, such a dict for each child module by
            its name; see ``MultiOptimWrapperConstructor``. It is left as it is. A built wrapper is returned as it is.

    Returns:
        An optimizer wrapper, or an ``OptimWrapperDict`` of several; the config decides, so for a type checker it is
        anything, and ``wrapper: OptimWrapper = build_optim_wrapper(...)`` has it checked.

    Raises:
        ConfigError: ``cfg`` is wrong (the error's path begins with ``optim_wrapper``), or ``model`` is none.
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
    given: Any = model
    if not isinstance(given, nn.Module):
        if isinstance(cfg, (BaseOptimWrapper, OptimWrapperDict)):
            return cfg
        raise ConfigError(f"a torch.nn.Module is wanted, got {shown(model)}; build_optimizer takes parameters", "model")
    share_out(model)
    with calls.placed("", "optim_wrapper"):
        wrapper = read_optim_wrapper(cfg).build(model)
    tell_of_strangers(wrapper, model)
    if wrapper is not cfg:
        tell_of(wrapper, model)
    return wrapper


def build_optimizer(
    model_or_params: nn.Module | Iterable[Any], cfg: Mapping[str, Any] | str, **kwargs: Any
) -> Optimizer:
    """Build the optimizer that ``cfg`` describes, without a wrapper.

    Args:
        model_or_params: A model, or what torch's optimizers take: parameters, ``(name, parameter)`` pairs, or groups.
        cfg: ``type`` and the optimizer's arguments; left as it is. Or the name alone, with ``kwargs``.
        **kwargs: The optimizer's arguments, where ``cfg`` is a name.

    Raises:
        ConfigError: ``cfg`` is wrong, there are arguments both in and beside it, or there is nothing to optimize.
        MissingDependencyError: The library of the name is not installed.

    Examples:
        >>> import torch
        >>> from optimzoo import build_optimizer
        >>> build_optimizer(torch.nn.Linear(2, 1), dict(type="SGD", lr=0.1)).param_groups[0]["param_names"]
        ['weight', 'bias']
        >>> build_optimizer(torch.nn.Linear(2, 1), "AdamW", lr=1e-3).param_groups[0]["lr"]
        0.001
    """
    if isinstance(cfg, str):
        cfg = {"type": cfg, **kwargs}
    elif kwargs:
        raise ConfigError(f"{', '.join(kwargs)}: arguments belong into the dict that names the optimizer", "optimizer")
    if isinstance(model_or_params, str) or isinstance(cfg, nn.Module):
        raise ConfigError("the model, or its parameters, come first, and then what describes the optimizer")
    cfg = plain(cfg, "optimizer")
    if isinstance(cfg, dict) and "type" not in cfg and "optimizer" in cfg:
        raise ConfigError("this is the config of a wrapper, which build_optim_wrapper takes", "optimizer")
    described = DescribedOptimizer(cfg, "optimizer")
    if not described.parts:  # which keep what copies of their optimizers would forget
        heed(described.cls, "bare")
    if isinstance(model_or_params, nn.Module):
        share_out(model_or_params)
        model = unwrap(model_or_params)
        groups = DefaultOptimWrapperConstructor({"optimizer": cfg}).param_groups(model)
        return create_optimizer(described, groups, model)
    with calls.placed(described.cls.__name__, "optimizer"):
        groups = as_groups(model_or_params)
    return create_optimizer(described, groups)
