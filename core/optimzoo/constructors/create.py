"""From parameter groups and an optimizer's config to the optimizer: its needs checked, its fastest kernel chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.constructors.groups import NAMES, Group
from optimzoo.errors import ConfigError
from optimzoo.zoo import OPTIMIZERS

FUSED_DEVICES = ("cpu", "cuda", "mps", "xpu")
"""Where torch 2.5 and later have fused kernels."""


def create_optimizer(cfg: Mapping[str, Any], groups: Iterable[Group], model: nn.Module | None = None) -> Optimizer:
    """Build the optimizer that ``cfg`` describes over ``groups``.

    Args:
        cfg: ``type`` and the optimizer's arguments.
        groups: Parameter groups; their dicts are copied.
        model: The model the parameters belong to. With it, ``fused=True`` is chosen where the optimizer and every
            parameter allow it and ``cfg`` says neither ``fused`` nor ``foreach``.

    Raises:
        ConfigError: ``cfg`` is wrong, there is nothing to optimize, or the groups do not suit the optimizer.
    """
    cls, kwargs = OPTIMIZERS.resolve(cfg)
    groups = list(groups)
    if not any(group["params"] for group in groups):
        raise ConfigError(f"{cls.__name__} has nothing to optimize: the parameter list is empty")
    first = next(iter(calls.parameters(cls)), "params")  # not every library calls it `params`
    entry = OPTIMIZERS.entry_of(cls)
    _check_needs(cls.__name__, entry.needs if entry else (), {**_defaults(cls), **kwargs}, groups)

    def build(**extra: Any) -> Optimizer:
        built: Optimizer = calls.call(cls, {first: [dict(group) for group in groups], **kwargs, **extra})
        return built

    if model is not None and _may_fuse(cls, kwargs, groups, model):
        try:
            return build(fused=True)
        except ConfigError as error:
            if not isinstance(error.__cause__, RuntimeError):  # what torch says of options that exclude each other
                raise
    return build()


def _defaults(cls: type) -> dict[str, Any]:
    return {n: p.default for n, p in calls.parameters(cls).items() if p.default is not p.empty}


def _may_fuse(cls: type, kwargs: Mapping[str, Any], groups: list[Group], model: nn.Module) -> bool:
    if "fused" not in calls.parameters(cls):
        return False
    if any(key in settings for settings in (kwargs, *groups) for key in ("fused", "foreach")):
        return False
    # torch looks at devices and dtypes in the first step only, where it is too late to choose again.
    params = (p for group in groups for p in group["params"])
    if not all(p.is_floating_point() and p.device.type in FUSED_DEVICES for p in params):
        return False
    return not any(getattr(module, "sparse", False) is True for module in model.modules())  # sparse gradients


def _check_needs(optimizer: str, needs: Iterable[str], settings: Mapping[str, Any], groups: list[Group]) -> None:
    if "one_group" in needs and len(groups) > 1:
        raise ConfigError(f"{optimizer} takes one parameter group, and the parameter-wise settings make {len(groups)}")
    if "one_lr" in needs:
        rates = {float(group.get("lr", settings.get("lr", 0))) for group in groups} - {0.0}
        if len(rates) > 1:
            raise ConfigError(
                f"{optimizer} adapts one step size over all groups, and the parameter-wise settings give them the "
                f"learning rates {', '.join(map(str, sorted(rates)))}. Remove the lr multipliers"
            )
    if "matrices" in needs:
        wrong = [
            f"{name} {tuple(p.shape)}"
            for number, group in enumerate(groups)
            for name, p in zip(group.get(NAMES) or _numbered(number, group["params"]), group["params"])
            if p.ndim != 2
        ]
        if wrong:
            raise ConfigError(
                f"{optimizer} updates matrices only, and {len(wrong)} of the parameters are not 2-D: "
                f"{', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''}. Give those to another optimizer"
            )


def _numbered(group: int, params: list[Tensor]) -> list[str]:
    return [f"parameter {i} of group {group}" for i in range(len(params))]
