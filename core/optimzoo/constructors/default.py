"""The default constructor: mmengine's parameter-wise rules, with groups merged and mistakes named."""

from __future__ import annotations

import contextlib
import inspect
import re
import warnings
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.optim import SGD

from optimzoo import calls
from optimzoo.calls import Call
from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning, Problems, did_you_mean, join_path, near, shown
from optimzoo.groups.merge import Known, known_parameters, merge_groups, name_groups
from optimzoo.groups.modules import AROUND, is_deformable, unwrap
from optimzoo.groups.paramwise import KEYS, Paramwise, read_paramwise
from optimzoo.groups.rules import CONDITIONS, MULTIPLIERS, OTHERS, Place, Row, apply_rules, settled
from optimzoo.groups.split import Split, Taken
from optimzoo.groups.unmet import tell_untrained, unmet
from optimzoo.names.zoo import OPTIM_WRAPPERS
from optimzoo.optimizers.create import create_optimizer
from optimzoo.optimizers.described import DescribedOptimizer
from optimzoo.optimizers.param_groups import NAMES, Group
from optimzoo.optimizers.parts import PART
from optimzoo.values import one_of
from optimzoo.wrappers import BaseOptimWrapper


class DefaultOptimWrapperConstructor:
    """Builds a wrapper whose parameter groups follow ``paramwise_cfg``.

    Args:
        optim_wrapper_cfg: ``optimizer`` (a dict with ``type`` and the optimizer's arguments), ``type`` of the wrapper
            (default ``OptimWrapper``) and the wrapper's arguments.
        paramwise_cfg: Keys of ``optimzoo.groups.paramwise.TABLE``, explained on the page "Parameter groups"; without it
            all parameters share the optimizer's arguments.

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
            raise ConfigError(f"a dict is wanted, got {shown(optim_wrapper_cfg)}")
        if "optimizer" not in optim_wrapper_cfg:
            hint = did_you_mean(near("optimizer", optim_wrapper_cfg)).replace("Did you mean", "Is it under")
            raise ConfigError(
                f"the key 'optimizer' is missing; it is a dict such as {{'type': 'AdamW', 'lr': 1e-3}}.{hint}"
            )
        self.optim_wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = self.optim_wrapper_cfg.pop("optimizer")
        self.paramwise_cfg: Mapping[str, Any] = {} if paramwise_cfg is None else paramwise_cfg
        self._rules: dict[int, str] = {}
        self._decided: dict[int, tuple[Place, list[Row]]] = {}
        self._owners: dict[int, nn.Module] = {}
        self._settled: dict[Hashable, tuple[str, dict[str, Any], list[Row]]] = {}
        self._known: dict[int, Known] = {}
        self._taken: dict[int, Taken] = {}
        self._indexed: tuple[list[Group] | None, int, set[int]] = (None, 0, set())
        with Problems() as problems:
            self.read = problems.catch(self._read) if self._is_closed else None
            described: Any = (
                self.read[0] if self.read else problems.catch(DescribedOptimizer, self.optimizer_cfg, "optimizer")
            )
            if described is None:
                self._try_wrapper(problems)
                return
            self._optimizer = described
            self.makers = {} if problems.found else self._makers(problems)
            self.base_lr: Any = self._optimizer.settings.get("lr")
            self.base_wd: Any = self._optimizer.settings.get("weight_decay")
            if self.makers:
                self.split = problems.catch(Split, self._optimizer.parts)
            else:
                problems.catch(self._validate_cfg)
            if problems.found and self._is_closed:
                self._try_wrapper(problems)

    def _makers(self, problems: Problems) -> dict[str, DefaultOptimWrapperConstructor]:
        """Return a constructor for each part of an optimizer that is made of several: it makes the groups of that part.

        A rule with the key ``part`` is for that part alone, and a setting for those whose optimizer takes it.
        """
        makers = {}
        for name, part in self._optimizer.parts.items():
            cfg = {"type": part.optimizer.cls, **part.optimizer.given}
            paramwise = problems.catch(self._of_part, name)
            makers[name] = problems.catch(type(self), {**self.optim_wrapper_cfg, "optimizer": cfg}, paramwise)
        return makers

    def _of_part(self, part: str) -> Any:
        """Return what ``paramwise_cfg`` says of a part."""
        cfg, parts = self.paramwise_cfg, self._optimizer.parts
        if not isinstance(cfg, Mapping) or not cfg:
            return cfg

        def own(settings: Any) -> Any:
            if not isinstance(settings, Mapping):
                return settings
            return {k: v for k, v in settings.items() if not (takers := self._takers(k)) or part in takers}

        cfg = {"bypass_duplicate": True, **cfg}  # a shared parameter has one role
        custom, rules = cfg.get("custom_keys"), cfg.get("rules")
        if isinstance(custom, Mapping):
            cfg["custom_keys"] = {name: own(settings) for name, settings in custom.items()}
        if isinstance(rules, (list, tuple)):
            cfg["rules"] = []
            for number, rule in enumerate(rules):
                of_part = own(rule)
                if isinstance(rule, Mapping) and PART in rule:
                    named = one_of(rule[PART], parts, f"paramwise_cfg.rules[{number}].{PART}")
                    of_part = {key: value for key, value in rule.items() if key != PART}
                    of_part = of_part if CONDITIONS.keys() & of_part.keys() else {"match": "*", **of_part}
                    of_part = of_part if named == part else OTHERS
                elif of_part != rule and CONDITIONS.keys() >= of_part.keys():
                    of_part = OTHERS
                cfg["rules"].append(of_part)
        return cfg

    def _takers(self, key: Any) -> list[str]:
        """Return the parts whose optimizers take a setting; none of what a rule itself means."""
        if key in ("clip", "name", *CONDITIONS, *MULTIPLIERS):
            return []
        return [name for name, part in self._optimizer.parts.items() if part.optimizer.takes(key)]

    @property
    def _is_closed(self) -> bool:
        """Whether it is known which keys the class reads; a subclass that does not say so may read any."""
        return type(self) is DefaultOptimWrapperConstructor or "own_keys" in vars(type(self))

    def _read(self) -> tuple[DescribedOptimizer, Call]:
        """Return the optimizer that the config describes now, and the call that makes its wrapper."""
        with Problems() as problems:
            described = problems.catch(DescribedOptimizer, self.optimizer_cfg, "optimizer")
            found = problems.catch(OPTIM_WRAPPERS.resolve, {"type": "OptimWrapper", **self.optim_wrapper_cfg})
            arguments = calls.parameters(found[0]) if found else {}
            beside = ("constructor", "paramwise_cfg", "type")
            if described:
                others = {"rest": "", **dict.fromkeys(KEYS, "in 'paramwise_cfg', beside 'optimizer'")}
                others |= dict.fromkeys((*arguments, *beside), "beside 'optimizer'")
                problems.catch(described.read, others)
            if found:
                inside = {} if described is None else dict.fromkeys(calls.parameters(described.cls), "in 'optimizer'")
                others = {**inside, **dict.fromkeys(KEYS, "in 'paramwise_cfg'")}
                others |= dict.fromkeys(("optimizer", *beside), "")
                call = problems.catch(calls.read, *found, given=("optimizer",), elsewhere=others)
        return described, call

    def _try_wrapper(self, problems: Problems) -> None:
        """Add what the wrapper refuses, built of those of its settings that can be read, to what is wrong beside it."""
        try:
            target, kwargs = OPTIM_WRAPPERS.resolve({"type": "OptimWrapper", **self.optim_wrapper_cfg})
        except OptimzooError:  # which is told
            return
        if not OPTIM_WRAPPERS.owner_of(target):
            return
        sound: dict[str, Any] = {}
        for key, value in kwargs.items():
            with contextlib.suppress(ConfigError):
                sound |= calls.read(target, {key: value}, given=("optimizer",)).kwargs
        if isinstance(sound.get("clip_grad"), Mapping) and "parts" in sound["clip_grad"]:
            del sound["clip_grad"]  # of parts that are not there
        problems.catch(calls.Call(target, sound).build, optimizer=SGD([nn.Parameter(torch.zeros(1))]))

    def _validate_cfg(self) -> None:
        """Read ``paramwise_cfg``."""
        self._paramwise = self._read_paramwise()
        self._warn(self._paramwise.notes)

    def _read_paramwise(self) -> Paramwise:
        cls, keys = type(self), type(self).own_keys
        if not self._is_closed and isinstance(self.paramwise_cfg, Mapping):
            keys += tuple(key for key in self.paramwise_cfg if _is_named_in(cls, str(key)))
        return read_paramwise(self.paramwise_cfg, self._optimizer, cls.__name__, keys, self._is_closed)

    def alone(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the label of each rule, and the settings of the group that it alone would make; for a preview."""
        if self.makers:
            every = {name: maker.alone() for name, maker in self.makers.items()}
            return [
                (f"{name}: {label}" if number else name, {**own, PART: name})
                for name, rows in every.items()
                for number, (label, own) in enumerate(rows)
            ]
        settings = self._optimizer.settings
        return [("base", settings), *self._paramwise.alone(settings)]

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
        once = self.paramwise_cfg.get("bypass_duplicate", False)
        first: dict[int, str] = {}
        for name, param in module._parameters.items():
            if param is None or first.setdefault(id(param), name) != name:
                continue
            group: Group = {"params": [param]}
            if once and self._is_in(group, params):
                continue
            group.update(self.param_options(module, prefix, name, param, bool(is_dcn_module)))
            params.append(group)
        if not module._modules:
            return
        holds_offset = is_deformable(module)
        for child_name, child in module._modules.items():
            if child is None or first.setdefault(id(child), child_name) != child_name:
                continue
            child_prefix = prefix if child_name in AROUND else f"{prefix}.{child_name}" if prefix else child_name
            if child_name == "parametrizations":  # what makes a tensor of a module is of the module
                self._owners |= {id(maker): module for maker in child.children()}
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
        at = Place(f"{prefix}.{name}", param, (self._owners.get(id(module), module),), is_dcn_module)
        rows = self._paramwise.deciding(at)
        self._decided[id(param)] = at, rows
        if not rows:
            return {}
        key = (*map(id, rows), self.base_lr, self.base_wd)
        if key not in self._settled:
            label = ", ".join(row.label for row in rows)
            options = settled({}, rows, {"lr": self.base_lr, "weight_decay": self.base_wd})
            self._settled[key] = label, options, rows  # which keeps the rows, and so their ids
        self._rules[id(param)], options, _ = self._settled[key]
        return dict(options)

    def param_groups(self, model: nn.Module) -> list[Group]:
        """Return the parameter groups of ``model``, named, and merged unless ``merge_groups`` is False."""
        known = self._known or known_parameters(model)
        if self.makers:
            return self._groups_of_parts(model, known)
        if not self.paramwise_cfg:
            return name_groups([{"params": [parameter for parameter, _ in known.values()]}], known)
        if not self._is_closed:
            self._paramwise = self._read_paramwise()  # the subclass may have changed its config since it was read
        groups: list[Group] = []
        for noted in (self._rules, self._decided, self._owners, self._settled):
            noted.clear()
        self.add_params(groups, model)
        if self._decided.keys() >= known.keys():  # else the subclass goes its own ways
            self._warn(list(unmet(self._paramwise, list(self._decided.values()), known)))
        groups = name_groups(groups, known)
        if self._paramwise.rules:
            groups, met = apply_rules(self._paramwise.rules, groups, model, self._optimizer.settings)
            for key, names in met.items():
                self._rules[key] = ", ".join(filter(None, (self._rules.get(key), *names)))
        merged = self._paramwise.switches["merge_groups"]
        return merge_groups(groups, self._optimizer.settings) if merged else groups

    def _groups_of_parts(self, model: nn.Module, known: dict[int, Known]) -> list[Group]:
        """Return the groups that each part makes of the parameters that it takes."""
        self._taken = self.split.of(model)
        part_of = {key: taken.part for key, taken in self._taken.items()}
        groups: list[Group] = []
        with warnings.catch_warnings():
            for name, maker in self.makers.items():
                maker._known = known
                for group in maker.param_groups(model):
                    own = [i for i, p in enumerate(group["params"]) if part_of.get(id(p)) == name]
                    held = {key: [group[key][i] for i in own] for key in ("params", NAMES)}
                    groups += [{**group, **held, PART: name}] if own else []
                maker._known = {}
                self._rules |= {key: label for key, label in maker._rules.items() if part_of.get(key) == name}
                warnings.simplefilter("ignore", OptimzooWarning)  # of rules, which the first part has told
        for number, rule in enumerate(self.paramwise_cfg.get("rules") or ()):
            label = f"rules[{number}]"
            met = {part_of[key] for key, told in self._rules.items() if key in part_of and label in told}
            for key in rule:
                takers = [rule[key]] if key == PART else [] if PART in rule else self._takers(key)
                if takers and met.isdisjoint(takers):
                    what = f"it is for {' and '.join(takers)}, and meets only parameters of others (`optimzoo groups`)"
                    raise ConfigError(what, f"paramwise_cfg.{label}.{key}")
        return groups

    def _place(self, parameter: Tensor, key: str) -> str:
        """Return where in the config a parameter got a setting of its own."""
        taken = self._taken.get(id(parameter))
        maker = self.makers[taken.part] if taken else self
        label = self._rules.get(id(parameter), "")
        rows = (*maker._paramwise.custom, *maker._paramwise.rules)
        told = [row.label for row in rows if key in row.sets and row.label in label]
        return f"paramwise_cfg.{told[-1]}.{key}" if told else join_path("optimizer", key)

    def _warn(self, notes: Iterable[ConfigError]) -> None:
        """Warn of what is probably not meant; ``strict`` makes an error of it."""
        if self._paramwise.switches["strict"]:
            calls.raise_all(notes)
        for note in notes:
            warnings.warn(str(note), OptimzooWarning, stacklevel=5)

    def __call__(self, model: nn.Module) -> BaseOptimWrapper:
        """Build the wrapper for ``model``.

        Raises:
            ConfigError: The rules do not suit the model or the optimizer.
        """
        model = unwrap(model)
        known = self._known = known_parameters(model)
        try:
            groups = self.param_groups(model)
        finally:
            self._known = {}
        described, call = self.read or self._read()
        optimizer = create_optimizer(described, groups, model, self._place)
        wrapper = cast(BaseOptimWrapper, call.build(optimizer=optimizer))
        tell_untrained(known, optimizer.param_groups)
        names = {id(p): n for group in groups for p, n in zip(group["params"], group["param_names"])}
        wrapper.param_order = [names[key] for key in known if key in names]
        wrapper.param_rules = {name: self._rules[key] for key, name in names.items() if key in self._rules}
        return wrapper


def _is_named_in(cls: type, key: str) -> bool:
    """Whether the source of a subclass names a key, which it then reads itself."""
    own = cls.__mro__[: cls.__mro__.index(DefaultOptimWrapperConstructor)]
    for each in own:
        with contextlib.suppress(OSError, TypeError):  # there is no source, as in a notebook
            if re.search(rf"""(["']){re.escape(key)}\1""", inspect.getsource(each)):
                return True
    return False
