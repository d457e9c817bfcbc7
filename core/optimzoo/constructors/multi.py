"""Several optimizers for one model: each trains a child module, or the parameters that patterns name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import ConfigError, did_you_mean, near
from optimzoo.groups.merge import aliases_of
from optimzoo.groups.modules import unwrap
from optimzoo.groups.patterns import name_pattern, names_any, paths
from optimzoo.names.zoo import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from optimzoo.optimizers.param_groups import NAMES
from optimzoo.values import MARKS
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict

DEFAULT, MULTI = "DefaultOptimWrapperConstructor", "MultiOptimWrapperConstructor"
NOT_A_MEMBER = ("constructor", "paramwise_cfg", *MARKS)


def construct(model: nn.Module, cfg: Mapping[str, Any]) -> BaseOptimWrapper | OptimWrapperDict:
    """Build what an ``optim_wrapper`` config describes, by the constructor that it names."""
    settings = {key: value for key, value in cfg.items() if key not in NOT_A_MEMBER}
    built: BaseOptimWrapper | OptimWrapperDict
    if isinstance(settings.get("optimizer"), Optimizer):
        built = OPTIM_WRAPPERS.build({"type": "OptimWrapper", **settings})
    else:
        cls = OPTIM_WRAPPER_CONSTRUCTORS.get(constructor_of(cfg))
        arguments = {"optim_wrapper_cfg": settings, "paramwise_cfg": cfg.get("paramwise_cfg")}
        built = calls.call(cls, arguments)(model)
    return built


def constructor_of(cfg: Mapping[str, Any]) -> Any:
    """Return the constructor that a config names; without a name, the one that suits its form."""
    several = "optimizer" not in cfg and any(
        isinstance(value, BaseOptimWrapper) or (isinstance(value, Mapping) and "optimizer" in value)
        for value in cfg.values()
    )
    return cfg.get("constructor", MULTI if several else DEFAULT)


class MultiOptimWrapperConstructor:
    """Builds a wrapper for each member of the config, and an OptimWrapperDict of them.

    A member trains the child module of its name (``"generator"``, ``"backbone.neck"``), or, with ``modules``, the
    parameters that one of these patterns names: globs over the names of parameters and of the modules that hold them.
    A pattern that begins with ``re:`` (or with a dot, as no name does) is a regular expression.

    Args:
        optim_wrapper_cfg: For each member its ``optim_wrapper`` config, with ``constructor``, ``paramwise_cfg`` and
            ``modules`` of its own, or a built wrapper. With ``optimizer`` and ``modules`` instead of members, one
            wrapper over the parameters named.
        paramwise_cfg: Must be None where there are members; each has its own.

    Raises:
        ConfigError: A member is wrong; a parameter that requires a gradient belongs to two members, or to none.

    Examples:
        >>> import torch
        >>> from optimzoo import build_optim_wrapper
        >>> model = torch.nn.ModuleDict({"body": torch.nn.Linear(4, 4), "head": torch.nn.Linear(4, 1)})
        >>> wrappers = build_optim_wrapper(
        ...     model,
        ...     dict(
        ...         matrices=dict(optimizer=dict(type="SGD", lr=0.1), modules=["body.weight"]),
        ...         others=dict(optimizer=dict(type="AdamW", lr=0.001), modules=["head", "*.bias"]),
        ...     ),
        ... )
        >>> for name, wrapper in wrappers.items():
        ...     print(name, wrapper.optimizer.param_groups[0]["param_names"])
        matrices ['body.weight']
        others ['body.bias', 'head.weight', 'head.bias']
    """

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        calls.raise_all(multi_problems({**optim_wrapper_cfg, "paramwise_cfg": paramwise_cfg}))
        self.optim_wrapper_cfg = optim_wrapper_cfg
        self.paramwise_cfg = paramwise_cfg

    def __call__(self, model: nn.Module) -> BaseOptimWrapper | OptimWrapperDict:
        """Build the wrappers for ``model``."""
        model = unwrap(model)
        if "optimizer" in self.optim_wrapper_cfg:
            return _build_member(model, "", {**self.optim_wrapper_cfg, "paramwise_cfg": self.paramwise_cfg})
        built: dict[str, Any] = {}
        for name, cfg in self.optim_wrapper_cfg.items():
            try:
                built[name] = _build_member(model, name, cfg)
            except ConfigError as error:
                raise error.under(name) from error.__cause__
        wrappers = OptimWrapperDict(**built)
        calls.raise_all(_claim_problems(model, wrappers))
        return wrappers


def multi_problems(cfg: Mapping[str, Any]) -> Iterator[ConfigError]:
    """Yield what is wrong with the form of a config for several optimizers; its members are checked by themselves."""
    if "optimizer" in cfg:
        if "modules" not in cfg:
            yield ConfigError(
                "a list of name patterns is wanted beside 'optimizer'; for several optimizers, write "
                "dict(generator=dict(optimizer=...), discriminator=dict(optimizer=...))",
                "modules",
            )
        return
    if cfg.get("paramwise_cfg") is not None:
        yield ConfigError("with several optimizers, each member has a paramwise_cfg of its own", "paramwise_cfg")
    for name in (n for n, member in members_of(cfg).items() if not isinstance(member, (Mapping, BaseOptimWrapper))):
        yield ConfigError(
            "with several optimizers, every key is a member, described by a dict with the key 'optimizer'; settings "
            "of a wrapper go into its member",
            name,
        )


def members_of(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a config for several optimizers, by name."""
    return {name: member for name, member in cfg.items() if name not in NOT_A_MEMBER}


def _build_member(model: nn.Module, name: str, cfg: Any) -> BaseOptimWrapper | OptimWrapperDict:
    if isinstance(cfg, BaseOptimWrapper):
        return cfg
    settings = dict(cfg)
    patterns = settings.pop("modules", None)
    if patterns is not None:
        return construct(_part_of(model, [patterns] if isinstance(patterns, str) else patterns), settings)
    try:
        child = model.get_submodule(name)
    except AttributeError as error:
        hint = did_you_mean(near(name, [n for n, _ in model.named_modules() if n]))
        raise ConfigError(
            f"the model has no module {name!r}, and no 'modules' say which parameters are meant.{hint}"
        ) from error
    wrapper = construct(child, settings)
    if isinstance(wrapper, BaseOptimWrapper):  # else OptimWrapperDict refuses it
        for group in (g for g in wrapper.optimizer.param_groups if NAMES in g):
            group[NAMES] = [f"{name}.{own}" for own in group[NAMES]]
        wrapper.param_order = [f"{name}.{own}" for own in wrapper.param_order]
        wrapper.param_rules = {f"{name}.{own}": rule for own, rule in wrapper.param_rules.items()}
    return wrapper


def _part_of(model: nn.Module, patterns: Iterable[str]) -> nn.Module:
    """Return a twin of the module tree that holds, of the same parameters, only those that a pattern names."""
    aliases = aliases_of(model)
    kept: set[int] = set()
    for pattern in patterns:
        expression = name_pattern(f"re:{pattern}" if str(pattern).startswith(".") else pattern, "modules")
        named = {key for key, names in aliases.items() if any(names_any(expression, name) for name in names)}
        if not named:
            known = {part for names in aliases.values() for name in names for part in paths(name)}
            raise ConfigError(f"{pattern!r} names no parameter.{did_you_mean(near(pattern, known))}", "modules")
        kept |= named
    twins: dict[int, nn.Module] = {}

    def twin_of(module: nn.Module) -> nn.Module:
        if id(module) not in twins:
            twin = twins[id(module)] = object.__new__(type(module))
            vars(twin).update(vars(module))
            vars(twin)["_parameters"] = {n: p for n, p in module._parameters.items() if p is None or id(p) in kept}
            vars(twin)["_modules"] = {n: child and twin_of(child) for n, child in module._modules.items()}
        return twins[id(module)]

    return twin_of(model)


def _claim_problems(model: nn.Module, wrappers: OptimWrapperDict) -> Iterator[ConfigError]:
    owners: dict[int, list[str]] = {}
    for member, wrapper in wrappers.items():
        for group in wrapper.optimizer.param_groups:
            for parameter in group["params"]:
                owners.setdefault(id(parameter), []).append(member)
    trained = {name: owners.get(id(p), []) for name, p in model.named_parameters() if p.requires_grad}
    left = [name for name, members in trained.items() if not members]
    if left:
        yield ConfigError(
            f"{len(left)} parameters belong to no optimizer: {_some(left)}. Add them to a member's 'modules', or set "
            "requires_grad=False"
        )
    twice = [f"{name} ({' and '.join(members)})" for name, members in trained.items() if len(members) > 1]
    if twice:
        yield ConfigError(f"{len(twice)} parameters belong to more than one optimizer: {_some(twice)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
