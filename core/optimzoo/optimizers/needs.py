"""What an optimizer needs of its parameter groups, at the build and in each step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import ConfigError
from optimzoo.optimizers.muon import AS_MATRIX, MUON, check_blocks
from optimzoo.optimizers.param_groups import NAMES, Group
from optimzoo.values import RANGES

OF_THE_PROCESS = ("fused", "foreach", "capturable", "differentiable")
"""Settings that say how this process computes."""


def is_torchs(cls: type) -> bool:
    """Whether it is a class of torch.optim itself."""
    return f"{cls.__module__}.".startswith("torch.optim.")


def check_settings(cls: type, settings: Mapping[str, Any], path: str = "") -> None:
    """Check the hyperparameters of a group, which torch does not, as those of a build are.

    A class of torch judges by its constructor; of others, who may have conventions of their own, ``RANGES`` alone does.
    Keys that are no arguments of the class are not looked at, but for those that groups of torch's Muon alone have.
    """
    if cls is MUON:
        with calls.placed("", path):
            check_blocks([{**settings, "params": ()}])
    signature = calls.parameters(cls)
    asked = (signature.keys() if is_torchs(cls) else RANGES.keys() & signature.keys()) - {*OF_THE_PROCESS, "params"}
    own = {k: v.item() if isinstance(v, Tensor) and v.numel() == 1 else v for k, v in settings.items() if k in asked}
    calls.read(cls, own, path, tuple(signature), ranged=True)
    if not is_torchs(cls) or own.keys() <= {"lr", "weight_decay"}:
        return

    def refusal(arguments: Mapping[str, Any]) -> Exception | None:
        try:
            cls([torch.zeros(1, 1, requires_grad=True)], **arguments)
        except Exception as error:
            return error
        return None

    error = refusal(own)
    if error is not None:
        key = next((key for key, value in own.items() if str(refusal({key: value})) == str(error)), "")
        raise ConfigError(f"{cls.__name__} refused it: {error}", ".".join(filter(None, (path, key)))) from error


def check_needs(cls: type, needs: Collection[str], settings: Mapping[str, Any], groups: list[Group]) -> None:
    """Check that groups suit what a class needs; ``settings`` are those of groups that do not say otherwise."""
    optimizer = cls.__name__
    if "one_group" in needs and len(groups) > 1:
        raise ConfigError(f"{optimizer} takes one parameter group, and the parameter-wise settings make {len(groups)}")
    if "one_lr" in needs:
        _check_one_lr(optimizer, needs, (group.get("lr", settings.get("lr", 0)) for group in groups))
    if "matrices" in needs:
        wrong = [
            f"{name} {tuple(p.shape)}"
            for number, group in enumerate(groups)
            for name, p in zip(group.get(NAMES) or _numbered(number, group["params"]), group["params"])
            if p.ndim != 2 and not (p.ndim > 2 and group.get(AS_MATRIX))
        ]
        if wrong:
            raise ConfigError(
                f"{optimizer} updates matrices only, and {len(wrong)} of the parameters are not 2-D: "
                f"{', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''}. Give those to another optimizer: beside "
                "the settings of this one as rest = {type = 'AdamW', lr = 3e-4}, among Parts as one without 'where'"
            )

    if not issubclass(cls, MUON):
        return
    torch_before_2_15 = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 15)
    if torch_before_2_15:
        plain = [group for group in groups if not group.get("nesterov", settings.get("nesterov", True))]
        halves = [p for group in plain for p in group["params"] if p.dtype is torch.bfloat16]
        if halves:
            raise ConfigError(
                f"with nesterov=False, torch {torch.__version__} overwrites the momentum of bfloat16 parameters with "
                "their updates: leave nesterov on, or train in another dtype",
                "nesterov",
            )


def check_rates(needs: Collection[str], optimizer: Optimizer, *_: Any) -> None:
    """Check in a step that a schedule has not given different rates to groups that need one."""
    rates = [group["lr"] for group in optimizer.param_groups]
    if any(rate is not rates[0] and rate != rates[0] for rate in rates[1:]):
        frozen = [p for group in optimizer.param_groups if not group["lr"] for p in group["params"]]
        averages = [state["exp_avg"] for state in map(optimizer.state.get, frozen) if state and "exp_avg" in state]
        if any(bool(average.any()) for average in averages):
            needs = [need for need in needs if need != "frozen_at_0"]  # what was trained moves on, by its momentum
        _check_one_lr(type(optimizer).__name__, needs, rates)


def _check_one_lr(optimizer: str, needs: Collection[str], rates: Iterable[Any]) -> None:
    found = {float(rate) for rate in rates} - ({0.0} if "frozen_at_0" in needs else set())
    if len(found) > 1:
        frozen = "" if 0.0 not in found else " A group that is to stay as it is needs requires_grad=False instead of 0."
        raise ConfigError(
            f"{optimizer} adapts one step size over all groups, and they have the learning rates "
            f"{', '.join(map(str, sorted(found)))}. Remove the lr multipliers and schedules of single groups.{frozen}"
        )


def _numbered(group: int, params: list[Tensor]) -> list[str]:
    return [f"parameter {i} of group {group}" for i in range(len(params))]
