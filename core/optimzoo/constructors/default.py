"""The default constructor: mmengine's parameter-wise rules, with groups merged and mistakes named."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar, cast

from torch import nn

from optimzoo import calls
from optimzoo.errors import ConfigError, OptimzooWarning, did_you_mean, near
from optimzoo.groups.merge import aliases_of, merge_groups, name_groups
from optimzoo.groups.modules import is_deformable, is_depthwise, is_norm, unwrap
from optimzoo.groups.paramwise import KEYS, paramwise_problems
from optimzoo.groups.rules import apply_rules
from optimzoo.names.zoo import OPTIM_WRAPPERS
from optimzoo.optimizers.create import create_optimizer
from optimzoo.optimizers.described import DescribedOptimizer
from optimzoo.optimizers.param_groups import Group
from optimzoo.values import MARKS
from optimzoo.wrappers import BaseOptimWrapper


class DefaultOptimWrapperConstructor:
    """Builds a wrapper whose parameter groups follow ``paramwise_cfg``.

    Args:
        optim_wrapper_cfg: ``optimizer`` (a dict with ``type`` and the optimizer's arguments), ``type`` of the wrapper
            (default ``OptimWrapper``) and the wrapper's arguments.
        paramwise_cfg: Any of these; without it all parameters share the optimizer's arguments.

            - ``custom_keys``: For a parameter whose name contains a key, the longest such key's dict decides alone:
              ``lr_mult`` and ``decay_mult`` multiply, every other entry is copied into the parameter's group.
            - ``bias_lr_mult``: For parameters called ``bias``, except those of norms and of what is directly in a
              deformable convolution.
            - ``dcn_offset_lr_mult``: For the offset layers (``conv_offset``) of deformable convolutions.
            - ``norm_decay_mult``, ``bias_decay_mult``, ``dwconv_decay_mult``, ``flat_decay_mult``: The first of these
              that is set and holds decides the weight decay: for every parameter of a normalization layer, RMS norm
              included; for parameters called ``bias``; for every parameter of a depthwise convolution (1-D, 2-D or
              3-D); for one-dimensional parameters. The second and the last leave out what is directly in a deformable
              convolution.
            - ``rules``: A list of dicts, each with conditions (``match``: a glob, or ``re:`` and a regular expression,
              for its name or that of a module it is in; ``module``: norm, conv, dwconv, linear, embedding, dcn or the
              name of a class, for a module it is in; ``ndim``) and settings (``lr_mult``, ``decay_mult``, arguments of
              the optimizer) for the parameters that meet all the conditions. Over what the other keys give, the
              settings of all rules are set, the last one last, and their multipliers multiply.
            - ``bypass_duplicate``: Train a shared parameter once, with the settings of its first name, instead of
              refusing.
            - ``merge_groups``: False makes one group per parameter, as mmengine does.
            - ``strict``: True makes an error of a ``custom_keys`` entry that matches nothing.

    A subclass overrides ``add_params``, as in mmengine, or, to change one parameter's settings only,
    ``param_options``; it names the ``paramwise_cfg`` keys of its own in ``own_keys``.

    Raises:
        ConfigError: A key or value is wrong.

    Examples:
        >>> import torch
        >>> from optimzoo import DefaultOptimWrapperConstructor
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.BatchNorm2d(8))
        >>> constructor = DefaultOptimWrapperConstructor(
        ...     dict(optimizer=dict(type="SGD", lr=0.01, weight_decay=0.0001)), dict(norm_decay_mult=0.0)
        ... )
        >>> for group in constructor(model).optimizer.param_groups:
        ...     print(group["param_names"], group["weight_decay"])
        ['0.weight', '0.bias'] 0.0001
        ['1.weight', '1.bias'] 0.0
    """

    own_keys: ClassVar[tuple[str, ...]] = ()
    """Keys of ``paramwise_cfg`` that a subclass reads beyond the default's."""

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        if not isinstance(optim_wrapper_cfg, Mapping):
            raise ConfigError(f"a dict is wanted, got {optim_wrapper_cfg!r}")
        if "optimizer" not in optim_wrapper_cfg:
            raise ConfigError("the key 'optimizer' is missing; it is a dict such as {'type': 'AdamW', 'lr': 1e-3}")
        self.optim_wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = self.optim_wrapper_cfg.pop("optimizer")
        self.paramwise_cfg: Mapping[str, Any] = {} if paramwise_cfg is None else paramwise_cfg
        try:
            self._optimizer = DescribedOptimizer(self.optimizer_cfg)
        except ConfigError as error:
            raise error.under("optimizer") from error.__cause__
        self.base_lr: Any = self._optimizer.settings.get("lr")
        self.base_wd: Any = self._optimizer.settings.get("weight_decay")
        self._rules: dict[int, str] = {}
        self._matched: set[str] = set()
        self._indexed: tuple[list[Group] | None, int, set[int]] = (None, 0, set())
        self._validate_cfg()

    def _validate_cfg(self) -> None:
        """Check ``paramwise_cfg``."""
        if not isinstance(self.paramwise_cfg, Mapping):
            raise ConfigError(f"a dict is wanted, got {self.paramwise_cfg!r}", "paramwise_cfg")
        calls.raise_all(self._problems())

    def _problems(self) -> Iterator[ConfigError]:
        cls = type(self)
        # A subclass that does not say which keys it reads may read any: then only a near miss is worth a word.
        closed = cls is DefaultOptimWrapperConstructor or "own_keys" in vars(cls)
        known = (*KEYS, *cls.own_keys)
        for key in (k for k in self.paramwise_cfg if k not in (*known, *MARKS)):
            hint = did_you_mean(near(key, (*known, *MARKS)))
            if closed:
                listed = "" if hint else f" It reads {', '.join(known)}."
                yield ConfigError(f"{cls.__name__} reads no key {key!r}.{hint}{listed}", f"paramwise_cfg.{key}")
            elif hint:
                warnings.warn(
                    f"paramwise_cfg.{key}: is it meant for {cls.__name__}?{hint}", OptimzooWarning, stacklevel=4
                )
        yield from paramwise_problems(self.paramwise_cfg, self._optimizer)

    @cached_property
    def _custom_keys(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The custom keys, the longest first, equal lengths in alphabetical order."""
        return sorted(self.paramwise_cfg.get("custom_keys", {}).items(), key=lambda item: (-len(item[0]), item[0]))

    def _is_in(self, param_group: Group, param_group_list: list[Group]) -> bool:
        """Whether a parameter of the group is already in the list; reads only what was appended since the last call."""
        seen_list, count, ids = self._indexed
        if seen_list is not param_group_list:
            count, ids = 0, set()
        for group in param_group_list[count:]:
            ids.update(map(id, group["params"]))
        self._indexed = (param_group_list, len(param_group_list), ids)
        return not ids.isdisjoint(map(id, param_group["params"]))

    def add_params(
        self, params: list[Group], module: nn.Module, prefix: str = "", is_dcn_module: bool | int | float | None = None
    ) -> None:
        """Append a group for each parameter of ``module``, and of the modules in it, to ``params``.

        Args:
            params: The groups so far; changed in place.
            module: The module to add.
            prefix: Its name in the model.
            is_dcn_module: Whether the module that holds it is a deformable convolution.
        """
        for name, param in module.named_parameters(recurse=False):
            group: Group = {"params": [param]}
            if self.paramwise_cfg.get("bypass_duplicate", False) and self._is_in(group, params):
                continue
            if not param.requires_grad:
                continue
            group.update(self.param_options(module, prefix, name, param, bool(is_dcn_module)))
            params.append(group)
        holds_offset = is_deformable(module)
        for child_name, child in module.named_children():
            child_prefix = f"{prefix}.{child_name}" if prefix else child_name
            self.add_params(params, child, prefix=child_prefix, is_dcn_module=holds_offset)

    def param_options(
        self, module: nn.Module, prefix: str, name: str, param: nn.Parameter, is_dcn_module: bool
    ) -> dict[str, Any]:
        """Return the settings of one parameter that differ from the optimizer's arguments.

        Args:
            module: The module that owns the parameter.
            prefix: The module's name in the model.
            name: The parameter's name in the module.
            param: The parameter.
            is_dcn_module: Whether the module that holds ``module`` is a deformable convolution.
        """
        full_name = f"{prefix}.{name}"
        for key, settings in self._custom_keys:
            if key in full_name:
                self._matched.add(key)
                self._rules[id(param)] = f"custom_keys[{key!r}]"
                return self._custom_options(settings)
        cfg, rules = self.paramwise_cfg, []
        options: dict[str, Any] = {}
        is_bias, norm = name == "bias", is_norm(module)

        def multiply(target: str, base: Any, rule: str) -> None:
            options[target] = base * cfg[rule]
            rules.append(rule)

        if is_bias and not norm and not is_dcn_module and cfg.get("bias_lr_mult") is not None:
            multiply("lr", self.base_lr, "bias_lr_mult")
        is_offset = is_dcn_module and "conv_offset" in prefix and isinstance(module, nn.Conv2d)
        if is_offset and cfg.get("dcn_offset_lr_mult") is not None:
            multiply("lr", self.base_lr, "dcn_offset_lr_mult")
        decay_rules = {
            "norm_decay_mult": norm,
            "bias_decay_mult": is_bias and not is_dcn_module,
            "dwconv_decay_mult": is_depthwise(module),
            "flat_decay_mult": param.ndim == 1 and not is_dcn_module,
        }
        for rule, holds in decay_rules.items():
            if holds and cfg.get(rule) is not None:
                multiply("weight_decay", self.base_wd, rule)
                break
        if rules:
            self._rules[id(param)] = ", ".join(rules)
        return options

    def _custom_options(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        options = {key: value for key, value in settings.items() if key not in ("lr_mult", "decay_mult")}
        if self.base_lr is not None:
            options.setdefault("lr", self.base_lr * settings.get("lr_mult", 1.0))
        if self.base_wd is not None:
            options.setdefault("weight_decay", self.base_wd * settings.get("decay_mult", 1.0))
        return options

    def param_groups(self, model: nn.Module) -> list[Group]:
        """Return the parameter groups of ``model``, named, and merged unless ``merge_groups`` is False."""
        aliases = aliases_of(model)
        if not self.paramwise_cfg:
            return name_groups([{"params": list(model.parameters())}], aliases)
        groups: list[Group] = []
        self._rules.clear()
        self._matched.clear()
        self.add_params(groups, model)
        self._report_unmatched([name for names in aliases.values() for name in names])
        groups = name_groups(groups, aliases)
        rules = self.paramwise_cfg.get("rules", ())
        if rules:
            groups, met = apply_rules(rules, groups, model, self._optimizer.settings)
            for key, names in met.items():
                self._rules[key] = ", ".join(filter(None, (self._rules.get(key), *names)))
        return (
            merge_groups(groups, self._optimizer.settings) if self.paramwise_cfg.get("merge_groups", True) else groups
        )

    def _report_unmatched(self, names: list[str]) -> None:
        overridden = type(self).param_options is not DefaultOptimWrapperConstructor.param_options
        overridden |= type(self).add_params is not DefaultOptimWrapperConstructor.add_params
        for key in (k for k, _ in self._custom_keys if k not in self._matched):
            if overridden and not self._matched:
                return  # the subclass matches by itself
            parts = {part for name in names for part in (name, *name.split("."))}
            message = f"no parameter's name contains it.{did_you_mean(near(key, parts))}"
            if any(key in name for name in names):
                message = "every parameter that it matches is frozen or has a longer key, so it has no effect"
            if self.paramwise_cfg.get("strict", False):
                raise ConfigError(message, f"paramwise_cfg.custom_keys[{key!r}]")
            warnings.warn(f"paramwise_cfg.custom_keys[{key!r}]: {message}", OptimzooWarning, stacklevel=4)

    def __call__(self, model: nn.Module) -> BaseOptimWrapper:
        """Build the wrapper for ``model``.

        Raises:
            ConfigError: The rules do not suit the model or the optimizer.
        """
        model = unwrap(model)
        groups = self.param_groups(model)
        try:
            optimizer = create_optimizer(self.optimizer_cfg, groups, model)
        except ConfigError as error:
            raise error.under("optimizer") from error.__cause__
        cfg = {"type": "OptimWrapper", **self.optim_wrapper_cfg}
        wrapper = cast(BaseOptimWrapper, OPTIM_WRAPPERS.build(cfg, optimizer=optimizer))
        names = {id(p): n for group in groups for p, n in zip(group["params"], group["param_names"])}
        wrapper.param_order = [names[id(p)] for p in model.parameters() if id(p) in names]
        wrapper.param_rules = {name: self._rules[key] for key, name in names.items() if key in self._rules}
        return wrapper
