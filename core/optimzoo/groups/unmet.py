"""What a model leaves of the rules and of the parameters: keys that meet none, parameters that no group trains."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from optimzoo.errors import ConfigError, OptimzooWarning, did_you_mean, near
from optimzoo.groups.modules import class_names
from optimzoo.groups.paramwise import TABLE, Paramwise, is_other_bias
from optimzoo.groups.rules import Place

logger = logging.getLogger("optimzoo")


def unmet(paramwise: Paramwise, places: Sequence[Place], aliases: Mapping[int, Sequence[str]]) -> Iterator[ConfigError]:
    """Yield what the keys of ``paramwise_cfg`` do not do, though they are written down.

    Args:
        paramwise: The rules.
        places: All parameters.
        aliases: The names of each.
    """
    decided = {id(at.parameter): paramwise.deciding(at) for at in places}
    met = {row.label for rows in decided.values() for row in rows}
    names = [name for each in aliases.values() for name in each]
    for row in (row for row in paramwise.custom if row.label not in met):
        message = f"no parameter's name contains it.{did_you_mean(near(row.name, _parts(names)))}"
        if any(row.name in name for name in names):
            message = "every parameter that it matches has a longer key or another first name, so it has no effect"
        yield ConfigError(message, f"paramwise_cfg.{row.label}")
    for row in paramwise.multipliers:
        if row.label not in met and not any(map(row.holds, places)):
            about = next(key.about for key in TABLE if key.name == row.label)
            yield ConfigError(f"no parameter meets it: it is for {about}", f"paramwise_cfg.{row.label}")
    classes = {name for at in places for name in class_names(at.modules[-1])}
    for name in (name for name in paramwise.switches["not_norms"] if name not in classes):
        what = f"no parameter is in a module of the class {name!r}.{did_you_mean(near(name, classes))}"
        yield ConfigError(what, "paramwise_cfg.not_norms")
    if "all_biases" not in paramwise.given:
        yield from _other_biases(paramwise, places, decided)


def _other_biases(
    paramwise: Paramwise, places: Sequence[Place], decided: Mapping[int, Sequence[Any]]
) -> Iterator[ConfigError]:
    for row in (row for row in paramwise.multipliers if row.label.startswith("bias_")):
        ((setting, factor),) = row.multiplies.items()
        ruled = {
            key for key, rows in decided.items() if any(r in paramwise.custom or setting in r.multiplies for r in rows)
        }
        left = [at.name.lstrip(".") for at in places if is_other_bias(at) and id(at.parameter) not in ruled]
        if left and factor != 1:
            yield ConfigError(
                f"it is for parameters called 'bias', and leaves out {_some(left)}. all_biases=True takes them too, "
                "all_biases=False leaves them without this warning",
                f"paramwise_cfg.{row.label}",
            )
            return


def tell_untrained(model: nn.Module, groups: Iterable[Mapping[str, Any]]) -> None:
    """Log which parameters of ``model`` are frozen, and warn of those that no group holds though they are not."""
    held = {id(parameter) for group in groups for parameter in group["params"]}
    states: dict[tuple[bool, bool], list[str]] = {}
    for name, parameter in model.named_parameters():
        states.setdefault((parameter.requires_grad, id(parameter) in held), []).append(name)
    if (False, True) in states:
        logger.info("frozen, and in the groups, so that they train once they are not: %s", _some(states[False, True]))
    if (False, False) in states:
        logger.info("frozen, and in no group, so that they never train: %s", _some(states[False, False]))
    if (True, False) in states:
        what = f"in no group, so that they never train: {_some(states[True, False])}"
        warnings.warn(what, OptimzooWarning, stacklevel=4)


def _parts(names: Iterable[str]) -> set[str]:
    return {part for name in names for part in (name, *name.split("."))}


def _some(names: Sequence[str]) -> str:
    return f"{len(names)} parameters ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
