"""How a class is built and driven, found by trying: the simplest way that works."""

from __future__ import annotations

import inspect
import itertools
import re
import types
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from optimzoo.errors import ConfigError
from optimzoo.traces import describe_error
from optimzoo.vetting.record import Fact, brief, fault, fine, note
from optimzoo.vetting.trial import DRIVES, MATRIX, Trial, Way

FORMS: dict[str, dict[str, Any]] = {
    "": {},
    "matrices": {"shapes": (MATRIX,)},
    "sparse": {"shapes": (MATRIX,), "sparse": True},
    "bfloat16": {"dtype": torch.bfloat16},
    "process_group": {"processes": True},
    "matrices process_group": {"shapes": (MATRIX,), "processes": True},
}
"""What its parameters must be, and how a ``Way`` says so."""
HANDED = ("params", "named", "groups", "model", "inner")
VALUES: dict[str, Any] = {"lr": 2**-7, "learning_rate": 2**-7, "momentum": 0.9, "weight_decay": 0.0}
VALUES |= {"model": "@model", "params": "@params"}
"""Values for required arguments that mean the same everywhere."""
OTHERS = (0.1, 64, "@inner_class", "@inner")
"""What other required arguments are tried with."""
ACCELERATOR = re.compile(r"cuda|xpu|triton|accelerator|\bgpu", re.IGNORECASE)


def find_way(cls: Any, kwargs: dict[str, Any]) -> tuple[Way | None, Fact]:
    """Return the first way that makes two finite updates, and the fact ``needs``."""
    stops: dict[bool, str] = {}  # the first error, by whether the optimizer was built
    for form, handed, filled in itertools.product(FORMS, HANDED, _fills(cls, kwargs)):
        keys = _keys(cls, filled) if handed == "groups" else {}
        for way in _driven(Way(cls, filled, handed, keys=keys, **FORMS[form])):
            torch.set_grad_enabled(True)
            try:
                trial = Trial(way)
            except (Exception, SystemExit) as error:
                stops.setdefault(False, brief(describe_error(error)))
                break
            try:
                if trial.run(2).finite() and trial.optimizer.param_groups:
                    return replace(way, cls=None), _needs(way, form, kwargs)
                raise ArithmeticError("two updates leave parameters that are not finite")
            except (Exception, SystemExit) as error:
                stops.setdefault(True, brief(describe_error(error)))
    why = stops.get(True) or stops.get(False, "")
    if ACCELERATOR.search(why):
        return None, note("accelerator", f"it does not run on a CPU: {why}")
    return None, fault("nothing works", f"no way to build it and to make an update was found: {why}")


def way_of(cls: Any, kwargs: dict[str, Any], path: str = "") -> Way:
    """Return the way that ``find_way`` finds; where it finds none, a ConfigError says why."""
    way, fact = find_way(cls, kwargs)
    if way is None:
        raise ConfigError(fact.why, path)
    return replace(way, cls=cls)


def _needs(way: Way, form: str, kwargs: dict[str, Any]) -> Fact:
    modes = callable(getattr(way.cls, "train", None)) and callable(getattr(way.cls, "eval", None))
    drive = {"returned": "loss", "step": ""}.get(way.drive, way.drive)
    made = [str(value)[1:] for value in way.kwargs.values() if str(value).startswith("@")]
    handed = {"params": "", "groups": "group_keys"}.get(way.handed, way.handed)
    needs = " ".join(filter(None, dict.fromkeys((drive, handed, form, "modes" if modes else "", *made))))
    filled = {key: value for key, value in way.kwargs.items() if key not in kwargs} | way.keys
    given = ", ".join(f"{key}={value!r}" for key, value in filled.items() if not str(value).startswith("@"))
    why = f"built with {given}" if given else ""
    return (
        note(needs, why or "it takes more, or less, than step() over any parameters") if needs else fine("nothing", why)
    )


def _fills(cls: Any, kwargs: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the arguments to try: those given, with numbers for what is required, and with usual ones."""
    others = list(Way(cls).signature.values())[1:]
    named = {p.name: p.default for p in others if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    wanted = [name for name, default in named.items() if default is inspect.Parameter.empty and name not in kwargs]
    tries = [{name: VALUES.get(name, other) for name in wanted} | kwargs for other in OTHERS]
    tries.append({name: VALUES[name] for name in ("lr", "momentum") if name in named} | tries[0])
    return [one for index, one in enumerate(tries) if one not in tries[:index]]


class _Asked(dict[str, Any]):
    """A group that notes which keys are looked for in it."""

    missed: list[str]

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        self.missed += [] if found or key in ("params", "param_names") else [str(key)]
        return found

    def __missing__(self, key: str) -> Any:
        self.missed.append(key)
        raise KeyError(key)


def _keys(cls: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the keys that the constructor looks for in its groups before it gives up, each as True."""
    group = _Asked(params=[torch.nn.Parameter(torch.zeros(MATRIX))])
    group.missed = []
    try:
        cls([group], **kwargs)
    except Exception:
        return dict.fromkeys(group.missed, True)
    return {}


def _driven(way: Way) -> Iterator[Way]:
    yield from (replace(way, drive=drive) for drive in DRIVES[:-1])
    for name in dir(way.cls):
        method = inspect.getattr_static(way.cls, name, None)
        own = not name.startswith("_") and not hasattr(torch.optim.Optimizer, name)
        if own and isinstance(method, types.FunctionType) and inspect.isgeneratorfunction(inspect.unwrap(method)):
            switches = {n: True for n, p in inspect.signature(method).parameters.items() if p.default is False}
            yield from (replace(way, drive="context", context=(name, given)) for given in ({}, switches))
