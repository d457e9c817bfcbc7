"""Reading an ``optim_wrapper`` config: which constructor it means, and what is known of it before there is a model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.constructors.default import DefaultOptimWrapperConstructor
from optimzoo.errors import ConfigError, OptimzooWarning, Problems, shown
from optimzoo.names.entry import is_own
from optimzoo.names.zoo import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from optimzoo.values import MARKS, plain
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict

DEFAULT, MULTI = "DefaultOptimWrapperConstructor", "MultiOptimWrapperConstructor"
NOT_A_MEMBER = ("constructor", "paramwise_cfg", *MARKS)

Wrapper = BaseOptimWrapper | OptimWrapperDict


@dataclass(frozen=True)
class WrapperRecord:
    """An ``optim_wrapper`` config that was read.

    Args:
        constructor: What is called with the model; or, of a class that is not optimzoo's, the call that makes it.
        name: The constructor's name, for messages.
        built: The optimizer or the wrapper, where the config holds one that is built.
    """

    constructor: Callable[[nn.Module], Wrapper] | calls.Call
    name: str = DEFAULT
    built: Any = None

    @property
    def members(self) -> dict[str, WrapperRecord]:
        """The record of each of several optimizers, by name; a single one has no name."""
        if isinstance(self.built, OptimWrapperDict):
            return {name: read_optim_wrapper(wrapper) for name, wrapper in self.built.items()}
        members = getattr(self.constructor, "members", None)
        return {"": self} if members is None else {name: member.record for name, member in members.items()}

    def build(self, model: nn.Module) -> Wrapper:
        """Return the wrapper for ``model``.

        Somebody else's constructor is made here, once, and may do with its arguments what it likes: they are copies.

        Raises:
            ConfigError: The config does not suit the model, or somebody else's constructor failed.
        """
        constructor: Any = self.constructor
        if isinstance(constructor, calls.Call):
            arguments = {key: plain(value) for key, value in constructor.kwargs.items()}
            with calls.placed(self.name, ""):
                constructor = constructor.target(**arguments)
        with calls.placed(self.name, ""):
            wrapper = constructor(model)
        if not isinstance(wrapper, (BaseOptimWrapper, OptimWrapperDict)):
            raise ConfigError(
                f"{self.name} must return an optimizer wrapper, and returned {shown(wrapper)}", "constructor"
            )
        return wrapper


def read_optim_wrapper(cfg: Any) -> WrapperRecord:
    """Return what ``cfg`` says, with every name in it found, and every key and value checked that can be.

    Args:
        cfg: As for ``build_optim_wrapper``; left as it is.

    Raises:
        ConfigError: ``cfg`` is wrong; one error lists all there is to say. Paths are those inside ``cfg``.
    """
    if isinstance(cfg, WrapperRecord):
        return cfg
    if isinstance(cfg, (BaseOptimWrapper, OptimWrapperDict)):
        return WrapperRecord(lambda model: cfg, type(cfg).__name__, cfg)
    cfg = plain(cfg)
    if not isinstance(cfg, dict):
        raise ConfigError(f"a dict with the key 'optimizer' is wanted, got {shown(cfg)}")
    cfg = _as_meant(cfg)
    if "optim_wrapper" in cfg and "optimizer" not in cfg:
        raise ConfigError("this is the config of a run: pass what it has under 'optim_wrapper'")
    name = cfg.get("type")
    if "optimizer" not in cfg and isinstance(name, str) and name in OPTIMIZERS and name not in OPTIM_WRAPPERS:
        raise ConfigError(f"{name!r} is an optimizer: it stands under 'optimizer', with its arguments", "type")
    settings = {key: value for key, value in cfg.items() if key not in NOT_A_MEMBER}
    if isinstance(cfg.get("optimizer"), Optimizer):
        return _around(cfg, settings)
    arguments = {"optim_wrapper_cfg": settings, "paramwise_cfg": cfg.get("paramwise_cfg")}
    with Problems() as problems:
        cls = problems.catch(OPTIM_WRAPPER_CONSTRUCTORS.get, constructor_of(cfg), "constructor")
        if cls is None:
            _found(settings, problems)  # what else is wrong, as far as another constructor's keys are known
        elif issubclass(cls, DefaultOptimWrapperConstructor) and cls is not DefaultOptimWrapperConstructor:
            settings |= _found(settings, problems)
    try:
        call = calls.read(cls, arguments)
    except ConfigError as error:
        wanted = "a class is wanted that is called with optim_wrapper_cfg and paramwise_cfg"
        raise ConfigError(f"{wanted}: {error.problems[0].problem}", "constructor") from error
    if is_own(cls):
        return WrapperRecord(call.build(), cls.__name__)
    return WrapperRecord(call, call.label)


def constructor_of(cfg: Mapping[str, Any]) -> Any:
    """Return the constructor that a config names; without a name, the one that suits its form."""
    several = "optimizer" not in cfg and any(
        isinstance(value, BaseOptimWrapper) or (isinstance(value, Mapping) and "optimizer" in value)
        for value in cfg.values()
    )
    return cfg.get("constructor", MULTI if several else DEFAULT)


def _as_meant(cfg: dict[str, Any]) -> dict[str, Any]:
    """Return ``cfg`` with what documents write otherwise as it is written here."""
    constructor, optimizer = cfg.get("constructor"), cfg.get("optimizer")
    if isinstance(constructor, Mapping):
        if set(constructor) - set(MARKS) != {"type"}:
            raise ConfigError(
                f"a name is wanted, or a dict with the key 'type' alone, got {shown(constructor)}", "constructor"
            )
        cfg = {**cfg, "constructor": constructor["type"]}
    if isinstance(optimizer, Mapping) and "paramwise_cfg" in optimizer:
        if cfg.get("paramwise_cfg") is not None:
            raise ConfigError(
                "it stands in 'optimizer' and beside it: write it once, beside", "optimizer.paramwise_cfg"
            )
        warnings.warn(
            "optim_wrapper.optimizer.paramwise_cfg is read as optim_wrapper.paramwise_cfg, where it belongs",
            OptimzooWarning,
            stacklevel=4,
        )
        own = {key: value for key, value in optimizer.items() if key != "paramwise_cfg"}
        cfg = {**cfg, "optimizer": own, "paramwise_cfg": optimizer["paramwise_cfg"]}
    return cfg


def _around(cfg: Mapping[str, Any], settings: Mapping[str, Any]) -> WrapperRecord:
    """Return the record of a wrapper around an optimizer that is built."""
    with Problems() as problems:
        for key in (k for k in ("paramwise_cfg", "constructor") if cfg.get(k) is not None):
            problems.add(ConfigError("a built optimizer has its groups: describe it by a dict", key))
        call = problems.catch(OPTIM_WRAPPERS.read, {"type": "OptimWrapper", **settings})
    return WrapperRecord(lambda model: call.build(), call.label, settings["optimizer"])


def _found(settings: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """Return the classes that a config for a subclass of the default constructor names, in place of the names.

    All else in it is the subclass's affair, which may read keys of its own.
    """
    found: dict[str, Any] = {}
    if "type" in settings:
        found["type"] = problems.catch(OPTIM_WRAPPERS.get, settings["type"], "type")
    optimizer = settings.get("optimizer")
    if isinstance(optimizer, Mapping) and "type" in optimizer:
        found["optimizer"] = {**optimizer, "type": problems.catch(OPTIMIZERS.get, optimizer["type"], "optimizer.type")}
    return found
