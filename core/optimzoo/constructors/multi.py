"""Several optimizers for one model: each trains a child module, or the parameters that meet its conditions."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from optimzoo import calls
from optimzoo.constructors.reading import WrapperRecord, read_optim_wrapper
from optimzoo.errors import ConfigError, OptimzooError, Problems, did_you_mean, near, shown
from optimzoo.groups.merge import known_parameters
from optimzoo.groups.modules import unwrap
from optimzoo.groups.patterns import name_pattern, names_any, paths
from optimzoo.groups.rules import CONDITIONS, Conditions, all_hold, places_of, read_conditions
from optimzoo.optimizers.param_groups import NAMES
from optimzoo.values import few
from optimzoo.wrappers import BaseOptimWrapper, OptimWrapperDict

REST = "rest"
"""The member that trains what no other does."""


class MultiOptimWrapperConstructor:
    """Builds a wrapper for each member of the config, and an OptimWrapperDict of them.

    A member trains the child module of its name (``"generator"``, ``"backbone.neck"``), or, with ``modules``, the
    parameters that one of these patterns names: globs over the names of parameters and of the modules that hold them.
    A pattern that begins with ``re:`` (or with a dot, as no name does) is a regular expression. The conditions of rules
    (``ndim``, ``role``, ...) may stand beside ``modules`` or alone: all of them have to hold. A member ``rest``
    with none of these trains what no other does, unless the model has a child of that name.

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
        ...         matrices=dict(optimizer=dict(type="SGD", lr=0.1), modules=["body"], ndim=2),
        ...         rest=dict(optimizer=dict(type="AdamW", lr=0.001)),
        ...     ),
        ... )
        >>> for name, wrapper in wrappers.items():
        ...     print(name, wrapper.optimizer.param_groups[0]["param_names"])
        matrices ['body.weight']
        rest ['body.bias', 'head.weight', 'head.bias']
    """

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        self.optim_wrapper_cfg = optim_wrapper_cfg
        self.paramwise_cfg = paramwise_cfg
        self.members: dict[str, Member] = {}
        with Problems() as problems:
            if "optimizer" in optim_wrapper_cfg:
                self.members[""] = problems.catch(_read_one, {**optim_wrapper_cfg, "paramwise_cfg": paramwise_cfg})
            else:
                if paramwise_cfg is not None:
                    of_each = "with several optimizers, each member has a paramwise_cfg of its own"
                    problems.add(ConfigError(of_each, "paramwise_cfg"))
                for name, cfg in few(optim_wrapper_cfg, "").items():
                    self.members[name] = problems.catch(read_member, name, cfg)

    def __call__(self, model: nn.Module) -> BaseOptimWrapper | OptimWrapperDict:
        """Build the wrappers for ``model``."""
        model = unwrap(model)
        if "" in self.members:
            return self.members[""].build(model, "")
        built: dict[str, Any] = {}
        has_rest = REST in self.members and self.members[REST].is_open and REST not in dict(model.named_children())
        for name in (*(name for name in self.members if not (has_rest and name == REST)), *[REST] * has_rest):
            member = self.members[name]
            try:
                if has_rest and name == REST:
                    built[name] = member.record.build(_part_of(model, _left_by(built, model)))
                else:
                    built[name] = member.build(model, name)
            except OptimzooError as error:
                raise error.under(name) from error.__cause__
        wrappers = OptimWrapperDict(**{name: built[name] for name in self.members})
        calls.raise_all(_claim_problems(model, wrappers))
        return wrappers


@dataclass(frozen=True)
class Member:
    """One of several optimizers: what was read of its config, and of the parameters that it trains.

    Args:
        record: The config of its wrapper.
        patterns: The patterns that name its parameters.
        conditions: What else has to hold of them, with what the config says of each.
        is_built: Whether the config holds a wrapper that is built.
    """

    record: WrapperRecord
    patterns: Sequence[str] | None = None
    conditions: Conditions = field(default_factory=dict)
    is_built: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the config says nothing of its parameters."""
        return self.patterns is None and not self.conditions and not self.is_built

    def build(self, model: nn.Module, name: str) -> BaseOptimWrapper | OptimWrapperDict:
        """Return the wrapper of the member ``name``."""
        if self.is_built:
            return self.record.build(model)
        if not self.is_open:
            return self.record.build(_part_of(model, self._chosen(model)))
        try:
            child = model.get_submodule(name)
        except AttributeError as error:
            hint = did_you_mean(near(name, [n for n, _ in model.named_modules() if n]))
            raise ConfigError(
                f"the model has no module {name!r}, and neither 'modules' nor a condition says which parameters are "
                f"meant.{hint}"
            ) from error
        wrapper = self.record.build(child)
        if isinstance(wrapper, BaseOptimWrapper):  # else OptimWrapperDict refuses it
            for group in (g for g in wrapper.optimizer.param_groups if NAMES in g):
                group[NAMES] = [f"{name}.{own}" for own in group[NAMES]]
            wrapper.param_order = [f"{name}.{own}" for own in wrapper.param_order]
            wrapper.param_rules = {f"{name}.{own}": rule for own, rule in wrapper.param_rules.items()}
        return wrapper

    def _chosen(self, model: nn.Module) -> set[int]:
        """Return the parameters that the patterns and the conditions mean, by id."""
        chosen = _named(model, self.patterns) if self.patterns is not None else None
        if self.conditions:
            holds = all_hold(self.conditions)
            meeting = {id(at.parameter) for at in places_of(model, "role" in self.conditions) if holds(at)}
            chosen = meeting if chosen is None else chosen & meeting
        if not chosen:
            asked = ", ".join(f"{key}={value!r}" for key, (value, _) in self.conditions.items())
            among = " among those that 'modules' name" if self.patterns is not None else ""
            raise ConfigError(f"no parameter meets {asked}{among}", next(iter(self.conditions), "modules"))
        return chosen


def _read_one(cfg: Mapping[str, Any]) -> Member:
    """Return the member that a config without names describes."""
    if "modules" not in cfg and not CONDITIONS.keys() & cfg.keys():
        raise ConfigError(
            "a list of name patterns is wanted beside 'optimizer'; for several optimizers, write "
            "dict(generator=dict(optimizer=...), discriminator=dict(optimizer=...))",
            "modules",
        )
    return _read_patterns(cfg)


def read_member(name: str, cfg: Any) -> Member:
    """Return the member that ``cfg`` describes, its errors placed under its name."""
    if isinstance(cfg, BaseOptimWrapper):
        return Member(read_optim_wrapper(cfg), is_built=True)
    if not isinstance(cfg, Mapping):
        raise ConfigError(
            "with several optimizers, every key is a member, described by a dict with the key 'optimizer'; settings "
            "of a wrapper go into its member",
            name,
        )
    try:
        return _read_patterns(cfg)
    except OptimzooError as error:
        raise error.under(name) from error.__cause__


def _read_patterns(cfg: Mapping[str, Any]) -> Member:
    settings = dict(cfg)
    patterns = settings.pop("modules", None)
    patterns = [patterns] if isinstance(patterns, str) else patterns
    if patterns is not None and not (isinstance(patterns, (list, tuple)) and all(isinstance(p, str) for p in patterns)):
        raise ConfigError(f"a pattern of names, or a list of them, is wanted, got {shown(patterns)}", "modules")
    asked = {key: value for key in CONDITIONS if (value := settings.pop(key, None)) is not None}
    with Problems() as problems:
        conditions = problems.catch(read_conditions, asked, "")
        record = problems.catch(read_optim_wrapper, settings)
    return Member(record, patterns, conditions)


def _named(model: nn.Module, patterns: Iterable[str]) -> set[int]:
    """Return the parameters that a pattern names, by id."""
    aliases = {key: names for key, (_, names) in known_parameters(model).items()}
    kept: set[int] = set()
    for pattern in patterns:
        expression = name_pattern(f"re:{pattern}" if str(pattern).startswith(".") else pattern, "modules")
        named = {key for key, names in aliases.items() if any(names_any(expression, name) for name in names)}
        if not named:
            known = {part for names in aliases.values() for name in names for part in paths(name)}
            hint = did_you_mean(list(map(glob.escape, near(pattern, known))))
            raise ConfigError(f"{pattern!r} names no parameter.{hint}", "modules")
        kept |= named
    return kept


def _left_by(built: Mapping[str, Any], model: nn.Module) -> set[int]:
    """Return the parameters that no member trains, by id."""
    taken = {id(p) for wrapper in built.values() for group in wrapper.optimizer.param_groups for p in group["params"]}
    left = {id(p) for p in model.parameters()} - taken
    if not left:
        raise ConfigError(f"no parameter is left: {', '.join(built)} train all of them. Leave {REST!r} out")
    return left


def _part_of(model: nn.Module, kept: set[int]) -> nn.Module:
    """Return a twin of the module tree that holds, of the same parameters, only those whose ids are in ``kept``."""
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
            f"{len(left)} parameters belong to no optimizer: {_some(left)}. Add them to a member's 'modules', take "
            "them all by rest=dict(optimizer=...), or set requires_grad=False"
        )
    twice = [f"{name} ({' and '.join(members)})" for name, members in trained.items() if len(members) > 1]
    if twice:
        yield ConfigError(f"{len(twice)} parameters belong to more than one optimizer: {_some(twice)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
