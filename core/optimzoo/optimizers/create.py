"""From parameter groups and an optimizer's config to the optimizer: its needs checked, its fastest kernel chosen."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import ConfigError, OptimzooWarning, did_you_mean, join_path, near
from optimzoo.names.entry import NEEDS
from optimzoo.optimizers.described import DescribedOptimizer
from optimzoo.optimizers.fused import look_before_fused, may_fuse
from optimzoo.optimizers.heeded import heed, heed_dtypes, measure
from optimzoo.optimizers.muon import HEADS, MUON, StepsTogether, check_blocks, matrices_only
from optimzoo.optimizers.needs import check_needs, check_rates, check_settings
from optimzoo.optimizers.param_groups import CLIP, NAMES, Group, copied
from optimzoo.optimizers.parts import PART, Parts

OF_SCHEDULES = ("max_lr", "min_lr", "swa_lr", "base_momentum", "max_momentum")
"""Keys that schedules of torch write into groups, beside ``initial_lr`` and its like."""


def create_optimizer(
    cfg: Mapping[str, Any] | DescribedOptimizer,
    groups: Iterable[Group],
    model: nn.Module | None = None,
    place: Callable[[Tensor, str], str] | None = None,
) -> Optimizer:
    """Build the optimizer that ``cfg`` describes over ``groups``.

    A learning rate that is a tensor is copied for each group, since a schedule writes into it. ``fused=True`` is chosen
    where the optimizer and every parameter allow it and ``cfg`` says neither ``fused`` nor ``foreach``, and turned off
    again if a gradient is sparse.

    Args:
        cfg: ``type`` and the optimizer's arguments, or what was read of them; ``vet = True`` measures a class that no
            plugin names.
        groups: Parameter groups; their dicts are copied.
        model: The model the parameters belong to, for what an error says of it.
        place: Returns where in the config a parameter got a setting of its own, for what an error says of it.

    Raises:
        ConfigError: ``cfg`` is wrong, there is nothing to optimize, or the groups do not suit the optimizer.
    """
    described = cfg if isinstance(cfg, DescribedOptimizer) else DescribedOptimizer(cfg)
    call, groups = described.read(), list(groups)
    if described.parts:
        return _create_parts(described, groups, model, place)
    for each in (described, *described.inner.values()):
        _check_settings(each, groups, place)
    with calls.placed(call.label, described.path):
        built = _create(described, call, groups, model)
    if place is None:  # else the groups are by rules, which have told of it
        _tell_unread(described, built, groups)
    return built


def _tell_unread(described: DescribedOptimizer, built: Optimizer, groups: list[Group]) -> None:
    """Warn of keys of ready groups that nothing here reads.

    A text is taken for what the group is called. A group with all defaults was an optimizer's, which writes keys too.
    """
    readers, name = (described, *described.inners), described.cls.__name__
    by_hand = [group for group in groups if built.defaults.keys() - group.keys()]
    unread = [str(key) for group in by_hand for key, value in group.items() if not isinstance(value, str)]
    for key in dict.fromkeys(unread):
        written = key in ("params", NAMES, CLIP, *OF_SCHEDULES) or key.startswith("initial_")
        if written or key in built.defaults or any(reader.may_read(key) for reader in readers):
            continue
        hint = f".{did_you_mean(near(key, described.settings))}"
        if key == "lr_scale":
            hint = ", as timm's do. Give each group an 'lr', or leave layer decay to LayerDecayOptimWrapperConstructor"
        warnings.warn(
            f"{unread.count(key)} of {len(groups)} groups have {key!r}, which {name} does not read: it changes nothing "
            f"unless your loop or a schedule of another library reads it{hint}",
            OptimzooWarning,
            stacklevel=4,
        )


def _check_settings(
    described: DescribedOptimizer, groups: list[Group], place: Callable[[Tensor, str], str] | None
) -> None:
    """Check what groups have of their own; an error is told where a rule says it, or by the group's number."""
    cls, given = described.cls, described.read().kwargs
    for number, group in enumerate(groups):
        own = {key: value for key, value in group.items() if key not in ("params", NAMES)}
        heads = enumerate(group["params"]) if cls is MUON and HEADS in own else ()
        told = 0
        try:
            if own:
                check_settings(cls, own if own.keys() <= {"lr", "weight_decay"} else {**given, **own})
            for told, parameter in heads:
                names = group[NAMES][told : told + 1] if NAMES in group else [f"parameter {told}"]
                check_blocks([{**own, "params": [parameter], NAMES: names}])
        except ConfigError as error:
            if place is None:
                raise error.under(join_path(described.path, f"groups[{number}]")) from error.__cause__
            parameter = group["params"][told]
            calls.raise_all(ConfigError(each.problem, place(parameter, each.path)) for each in error.problems)


def _create_parts(
    described: DescribedOptimizer,
    groups: list[Group],
    model: nn.Module | None,
    place: Callable[[Tensor, str], str] | None,
) -> Parts:
    """Build the optimizers of the parts, over the groups that say which part they are of."""
    _check_there_are_any(described.cls.__name__, groups, model)
    of_part: dict[str, list[Group]] = {name: [] for name in described.parts}
    for number, group in enumerate(groups):
        if group.get(PART) not in of_part:
            raise ConfigError(
                f"group {number} is of none of the parts {', '.join(of_part)}: build it with the model, or give each "
                f"group the name of its part as {PART!r}",
                described.path,
            )
        of_part[group[PART]].append({key: value for key, value in group.items() if key != PART})
    parts = described.parts.items()
    built = {name: create_optimizer(part.optimizer, of_part[name], place=place) for name, part in parts}
    with calls.placed(described.cls.__name__, described.path):
        return Parts(built)


def _create(
    described: DescribedOptimizer, call: calls.Call, groups: Iterable[Group], model: nn.Module | None
) -> Optimizer:
    cls, given = described.cls, copied(call.kwargs)
    needs = described.needs
    groups = [copied(group) for group in groups]
    if "matrices" in needs:
        groups = [_without_frozen_vectors(group) for group in groups]
    _check_there_are_any(cls.__name__, groups, model)
    _check_lr((given, *groups))
    check_needs(cls, needs, described.settings, groups)
    for key, note in described.notes.items():
        warnings.warn(f"{f'{key} of ' if key else ''}{cls.__name__}: {note}", OptimzooWarning, stacklevel=3)
    if described.vet:
        measure(cls, given)
    if any(isinstance(settings.get("lr"), Tensor) for settings in (given, *groups)):
        heed(cls, "tensor_lr")
    if len(groups) > 1:
        heed(cls, "groups")
    if any("weight_decay" in group for group in groups):
        heed(cls, "decay_of_groups")
    dtypes = {p.dtype for group in groups for p in group["params"]}
    fuses = may_fuse(cls, given, groups)
    heed_dtypes(cls, [{"fused": fuses, **given, **group} for group in groups], dtypes, described.changed)
    heed(cls, "arguments", described.changed - described.notes.keys())
    kernel = calls.parameters(cls).get("triton")
    if kernel and kernel.default is None and any(p.device.type == "cpu" for group in groups for p in group["params"]):
        given.setdefault("triton", False)  # beside the package, some take its kernels for parameters on a CPU too

    def build(**extra: Any) -> Optimizer:
        first = _first_argument(described, given, groups, model)
        matrices = cls is MUON and [matrices_only(group) for group in first]
        arguments = {described.first_argument: matrices or first, **given, **extra}
        try:
            built: Optimizer = calls.Call(cls, arguments, "", call.label).build()
        except ConfigError as error:
            if "with/without names" not in str(error.__cause__):  # it adds parameters of its own, and has no names
                raise
            unnamed = [{key: value for key, value in group.items() if key != NAMES} for group in first]
            built = calls.Call(cls, {**arguments, described.first_argument: unnamed}, "", call.label).build()
        if not hasattr(built, "param_groups"):
            raise ConfigError(f"{call.label} has no param_groups: its __init__ must call that of Optimizer")
        if described.declared:
            built.declared_needs = described.declared  # type: ignore[attr-defined]
        names = {id(p): name for group in groups for p, name in zip(group["params"], group.get(NAMES, ()))}
        for group, own in zip(built.param_groups, first if matrices else ()):
            group["params"] = own["params"]
        if matrices:
            StepsTogether(built)
        for group in built.param_groups:
            group.update(copied(group))
            if names and NAMES not in group:
                group[NAMES] = [names.get(id(p)) or f"{cls.__name__} {n}" for n, p in enumerate(group["params"])]
        if len(built.param_groups) < len(groups):
            kept = f"of {len(groups)} parameter groups it keeps {len(built.param_groups)}"
            told = f"{cls.__name__}: {kept}: what rules set for the others is lost"
            warnings.warn(told, OptimzooWarning, stacklevel=3)
        if "one_lr" in needs:
            built.register_step_pre_hook(partial(check_rates, needs))  # which can be pickled
        return built

    if fuses:
        try:
            built = build(fused=True)
        except ConfigError as error:
            if not isinstance(error.__cause__, RuntimeError):  # what torch says of options that exclude each other
                raise
        else:
            look_before_fused(built, chosen=True)
            return built
    built = build()
    look_before_fused(built)
    return built


def _first_argument(
    described: DescribedOptimizer, given: dict[str, Any], groups: list[Group], model: nn.Module | None
) -> Any:
    """Return what the class is built with: groups, or what it needs in their place; ``given`` gets the inner class."""
    cls, needs = described.cls, described.needs
    if "inner" in needs:
        inner = described.inner["optimizer"]
        del given["optimizer"]
        with calls.placed(inner.cls.__name__, "optimizer"):
            return _create(inner, inner.read(), groups, model)
    if "inner_class" in needs:
        inner = described.inner["base_optimizer"]
        given.update({**inner.read().kwargs, "base_optimizer": inner.cls})
    if "model" not in needs and "named" not in needs:
        return [dict(group) for group in groups]
    if len(groups) > 1 or groups[0].keys() - {"params", NAMES} or (model is None and "model" in needs):
        raise ConfigError(f"{cls.__name__} {NEEDS['model' if 'model' in needs else 'named']}", "type")
    return model if "model" in needs else list(zip(groups[0][NAMES], groups[0]["params"]))


def _without_frozen_vectors(group: Group) -> Group:
    kept = [index for index, parameter in enumerate(group["params"]) if parameter.requires_grad or parameter.ndim == 2]
    return {**group, **{key: [group[key][index] for index in kept] for key in ("params", NAMES) if key in group}}


def _check_there_are_any(optimizer: str, groups: Iterable[Group], model: nn.Module | None) -> None:
    params = [parameter for group in groups for parameter in group["params"]]
    if model is not None and not any(parameter.requires_grad for parameter in params):
        count = len(list(model.parameters()))
        why = f"all {count} parameters are frozen (requires_grad=False)" if count else "the model has no parameters"
        raise ConfigError(f"{optimizer} has nothing to optimize: {why}")
    if not params:
        raise ConfigError(f"{optimizer} has nothing to optimize: the parameter list is empty")


def _check_lr(settings: Iterable[Mapping[str, Any]]) -> None:
    for lr in (s["lr"] for s in settings if isinstance(s.get("lr"), Tensor)):
        if not lr.is_floating_point():
            raise ConfigError(f"a tensor of floats is wanted, got {lr.dtype}: schedules write fractions into it", "lr")
