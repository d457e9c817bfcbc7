"""Names of this package in the registries of mmengine 0.10.7, for its own Runner: importing this registers them.

``custom_imports = dict(imports=["optimzoo.trainers.mmengine"])`` in a config does. Every name that mmengine does not
have is there as it is; all are there as ``optimzoo.Name``. No library is imported until a name of it is built.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from mmengine import registry as theirs
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper as TheirOptimWrapper
from mmengine.optim import OptimWrapperDict as TheirOptimWrapperDict
from mmengine.optim import _ParamScheduler as TheirParamScheduler

from optimzoo.build import build_optim_wrapper, build_optimizer
from optimzoo.errors import ConfigError, OptimzooWarning
from optimzoo.names.entry import NEEDS
from optimzoo.names.registry import Registry
from optimzoo.names.zoo import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS, needs_of
from optimzoo.schedules.order import update_count
from optimzoo.trainers.common import OF_THE_STEP
from optimzoo.values import plain
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict

SCOPE = "optimzoo"
OF_THE_WRAPPER = {"curvature", "graph", "loss"}
"""The needs that a wrapper of this package meets in a model's ``train_step``."""


class Names(theirs.Registry):  # type: ignore[misc]
    """The names of one kind in the scope ``optimzoo``, each made into something of mmengine's when it is asked for."""

    def __init__(self, parent: Any, ours: Registry, make: Callable[[str], Any]) -> None:
        super().__init__(parent.name, build_func=parent.build_func, parent=parent, scope=SCOPE)
        self._make = make
        for name in (name for name in ours if "." not in name and name not in parent.module_dict):
            parent.register_module(name=name, module=make(name))

    def get(self, key: str) -> Any:
        """Return what builds the thing of that name."""
        return self._make(key)


def _optimizer(name: str) -> Any:
    def build(params: Any, **kwargs: Any) -> Any:
        optimizer = build_optimizer(params, {"type": name, **kwargs})
        _refuse(optimizer, set())
        return optimizer

    return build


def _wrapper(name: str) -> Any:
    def build(**kwargs: Any) -> Any:
        return _as_theirs(OPTIM_WRAPPERS.build({"type": name, **kwargs}))

    return build


def _constructor(name: str) -> Any:
    def build(optim_wrapper_cfg: Any, paramwise_cfg: Any = None) -> Any:
        cfg = {**_without_scope(plain(optim_wrapper_cfg)), "constructor": name}
        if paramwise_cfg is not None:
            cfg["paramwise_cfg"] = plain(paramwise_cfg)
        return lambda model: _as_theirs(build_optim_wrapper(model, cfg))

    return build


def _schedule(name: str) -> Any:
    def build(optimizer: Any, **kwargs: Any) -> Any:
        return _made(lambda cls: cls, optimizer, kwargs)

    def build_iter_from_epoch(optimizer: Any, **kwargs: Any) -> Any:
        return _made(lambda cls: cls.build_iter_from_epoch, optimizer, kwargs)

    def _made(maker: Callable[[Any], Any], optimizer: Any, kwargs: dict[str, Any]) -> Any:
        by_update = kwargs.get("by") == "update"
        if by_update and not isinstance(optimizer, BaseOptimWrapper):
            raise ConfigError(f"mmengine's wrapper counts no updates: say type='{SCOPE}.OptimWrapper' for it", "by")
        cls = _both(PARAM_SCHEDULERS.get(name), TheirParamScheduler, *([_ByUpdate] if by_update else []))
        return maker(cls)(optimizer=_Seen(optimizer) if type(optimizer) is TheirOptimWrapper else optimizer, **kwargs)

    build.build_iter_from_epoch = build_iter_from_epoch  # type: ignore[attr-defined]
    return build


class _Logs:
    """Tells mmengine's log of the norm of the gradients, as its wrapper does, and of states of other groups."""

    def load_state_dict(self, state_dict: Any) -> None:
        super().load_state_dict(state_dict)  # type: ignore[misc]
        optimizer: Any = vars(self)["optimizer"]
        saved, own = len(state_dict.get("param_groups", ())), len(optimizer.param_groups)
        if saved != own and "dtypes" not in state_dict:  # of mmengine's own wrapper
            warnings.warn(
                f"the state is of {saved} parameter groups, and these are {own}: schedules of mmengine's own that go by"
                " base values, such as CosineRestartLR, take those of other groups. Name them with the prefix "
                "'optimzoo.', or set paramwise_cfg.merge_groups=False",
                OptimzooWarning,
                stacklevel=2,
            )

    def step(self, **kwargs: Any) -> Any:
        outcome = super().step(**kwargs)  # type: ignore[misc]
        norm = getattr(self, "grad_norm", None)
        if norm is not None:
            MessageHub.get_current_instance().update_scalar("train/grad_norm", norm)
        return outcome


class _ByUpdate:
    """Steps as often as its wrapper has made updates, where mmengine's Runner steps after each iteration."""

    def step(self, *args: Any) -> None:
        count = update_count(self.target)  # type: ignore[attr-defined]
        new = count - SEEN[self] if self in SEEN else 1  # the first step is part of the construction
        SEEN[self] = count
        for _ in range(new):
            super().step(*args)  # type: ignore[misc]


SEEN: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""The updates that a schedule has followed in this process; its state counts those of the run."""


class _Seen(BaseOptimWrapper):
    """A wrapper of mmengine's, as a schedule of this package sees it: its groups and their base settings."""

    def __init__(self, wrapper: Any) -> None:
        self.wrapper, self.optimizer = wrapper, wrapper.optimizer
        self.param_rules, self.param_order = {}, []

    @property
    def base_param_settings(self) -> Any:  # type: ignore[override]
        return getattr(self.wrapper, "base_param_settings", None)

    def _not_here(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("the wrapper of mmengine does this")

    update_params = backward = zero_grad = step = _not_here


def _as_theirs(wrapper: Any) -> Any:
    """Return a wrapper as one that is of mmengine's classes too, for which its Runner asks."""
    if isinstance(wrapper, TheirOptimWrapper):
        return wrapper
    if isinstance(wrapper, OptimWrapperDict):
        cls = _both(type(wrapper), TheirOptimWrapperDict)
        return cls(**{name: _as_theirs(member) for name, member in wrapper.items()})
    _refuse(wrapper.optimizer, OF_THE_WRAPPER)
    made = object.__new__(_both(wrapper.__class__, TheirOptimWrapper, _Logs))
    vars(made).update(vars(wrapper))
    return made


@functools.cache
def _both(cls: Any, base: Any, *first: Any) -> Any:
    return type(cls.__name__, (*first, cls, base), {"__module__": __name__})


def _refuse(optimizer: Any, met: set[str]) -> None:
    for need in (need for need in OF_THE_STEP if need in needs_of(optimizer) and need not in met):
        constructor = f"constructor='{SCOPE}.DefaultOptimWrapperConstructor' gives it a wrapper that does"
        instead = constructor if need in OF_THE_WRAPPER else "train it with optimzoo.Runner"
        raise ConfigError(f"{type(optimizer).__name__} {NEEDS[need]}. mmengine's Runner does not do that: {instead}")


def _without_scope(cfg: Any) -> Any:
    """Return a config whose names are those of this package's own registries."""
    if not isinstance(cfg, dict):
        return cfg
    found = {key: _without_scope(value) for key, value in cfg.items()}
    for key in ("type", "constructor"):
        if isinstance(found.get(key), str):
            found[key] = found[key].removeprefix(f"{SCOPE}.")
    return found


REGISTRIES = [
    Names(theirs.OPTIMIZERS, OPTIMIZERS, _optimizer),
    Names(theirs.OPTIM_WRAPPERS, OPTIM_WRAPPERS, _wrapper),
    Names(theirs.OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPER_CONSTRUCTORS, _constructor),
    Names(theirs.PARAM_SCHEDULERS, PARAM_SCHEDULERS, _schedule),
]
"""One for each kind; ``type="optimzoo.Name"`` looks there."""
