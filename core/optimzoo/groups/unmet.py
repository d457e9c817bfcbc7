"""What a model leaves of the rules and of the parameters: keys that meet none, parameters that no group trains."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from optimzoo.errors import ConfigError, OptimzooWarning, did_you_mean, near
from optimzoo.groups.merge import Known
from optimzoo.groups.modules import class_names
from optimzoo.groups.norms import is_norm
from optimzoo.groups.paramwise import TABLE, Paramwise, is_other_bias
from optimzoo.groups.rules import Place, Row

logger = logging.getLogger("optimzoo")


def unmet(
    paramwise: Paramwise, decided: Sequence[tuple[Place, list[Row]]], known: Mapping[int, Known]
) -> Iterator[ConfigError]:
    """Yield what the keys of ``paramwise_cfg`` do not do, though they are written down.

    Args:
        paramwise: The rules.
        decided: Each parameter, and the rows that decide its settings.
        known: The parameters, with the names that shared ones have beside their first.
    """
    met = {row.label for _, rows in decided for row in rows}
    for row in (row for row in paramwise.custom if row.label not in met):
        parts = {part for at, _ in decided for part in (at.name.lstrip("."), *at.name.split("."))}
        message = f"no parameter's name contains it.{did_you_mean(near(row.name, parts))}"
        if any(row.name in name for _, names in known.values() for name in names):
            message = "every parameter that it matches has a longer key or another first name, so it has no effect"
        yield ConfigError(message, f"paramwise_cfg.{row.label}")
    custom = {row.label for row in paramwise.custom}
    for row in (row for row in paramwise.multipliers if row.label not in met):
        deciding = [rows for at, rows in decided if row.holds(at)]
        if not deciding:
            about = next(key.about for key in TABLE if key.name == row.label)
            yield ConfigError(f"no parameter meets it: it is for {about}", f"paramwise_cfg.{row.label}")
        elif all(any(r.label in custom for r in rows) for rows in deciding) and not all(
            any(row.multiplies.keys() <= {*r.multiplies, *r.sets} for r in rows) for rows in deciding
        ):  # of which some say nothing of the setting themselves
            what = "a custom key decides, alone, for every parameter that it is for, so it has no effect"
            yield ConfigError(what, f"paramwise_cfg.{row.label}")
    if paramwise.switches["not_norms"]:
        norms = [class_names(at.modules[-1]) for at, _ in decided if is_norm(at.modules[-1])]
        classes = {name: name for name in frozenset().union(*norms) - class_names(nn.Module())}
        for name in (name for name in paramwise.switches["not_norms"] if name not in classes):
            what = f"no norm of the model is of the class {name!r}.{did_you_mean(near(name, classes))}"
            yield ConfigError(what, "paramwise_cfg.not_norms")
    biased = next((row for row in paramwise.multipliers if row.label.startswith("bias_")), None)
    if biased and "all_biases" not in paramwise.given:
        ((setting, factor),) = biased.multiplies.items()
        left = [
            at.name.lstrip(".")
            for at, rows in decided
            if is_other_bias(at) and not any(r.label in custom or setting in r.multiplies for r in rows)
        ]
        if left and factor != 1:
            yield ConfigError(
                f"it is for parameters called 'bias', and leaves out {_some(left)}. all_biases=True takes them too, "
                "all_biases=False leaves them without this warning",
                f"paramwise_cfg.{biased.label}",
            )


def tell_untrained(known: Mapping[int, Known], groups: Iterable[Mapping[str, Any]]) -> None:
    """Log which of a model's parameters are frozen, and warn of those that no group holds though they are not."""
    held = {id(parameter) for group in groups for parameter in group["params"]}
    states: dict[tuple[bool, bool], list[str]] = {}
    for key, (parameter, names) in known.items():
        if key not in held or not parameter.requires_grad:
            states.setdefault((parameter.requires_grad, key in held), []).append(names[0])
    if (False, True) in states:
        logger.info("frozen, and in the groups, so that they train once they are not: %s", _some(states[False, True]))
    if (False, False) in states:
        logger.info("frozen, and in no group, so that they never train: %s", _some(states[False, False]))
    if (True, False) in states:
        what = f"in no group, so that they never train: {_some(states[True, False])}"
        warnings.warn(what, OptimzooWarning, stacklevel=4)


def _some(names: Sequence[str]) -> str:
    return f"{len(names)} parameters ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
