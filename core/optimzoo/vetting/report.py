"""``vet``: every measurement of one class, each in a process of its own."""

from __future__ import annotations

import inspect
import re
import time
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import Any

import torch

from optimzoo import calls
from optimzoo.errors import ConfigError, did_you_mean, near
from optimzoo.names.entry import Entry, dotted, import_dotted, library_version
from optimzoo.names.zoo import OPTIMIZERS
from optimzoo.optimizers.heeded import HEEDED, is_heeded, known_facts
from optimzoo.traces import describe_error
from optimzoo.values import number
from optimzoo.vetting import forms, learning, manners, memory, moving  # noqa: F401  # each enters its measurements
from optimzoo.vetting.child import ChildError, in_child
from optimzoo.vetting.record import MEASUREMENTS, WORDS, Fact, Report, fault, unmeasured
from optimzoo.vetting.trial import Way
from optimzoo.vetting.way import find_way

EACH = 40.0
"""The most seconds of work that one measurement may take."""
SCRIPTS = tomllib.loads(Path(__file__).with_name("reproductions.toml").read_text(encoding="utf-8"))


def vet(target: Any, *, only: Iterable[str] = (), seconds: float = 120.0, **kwargs: Any) -> Report:
    """Measure what an optimizer does.

    Args:
        target: A registered name, ``package.module:Class``, the class, or a function that makes a class of another,
            which is given ``torch.optim.SGD``.
        only: Words of ``record.WORDS``, or whole names of facts, or a single one; all by default.
        seconds: When to stop: what is not measured by then is reported as unmeasured.
        **kwargs: Arguments of the optimizer.

    Returns:
        The facts; ``report.faults`` is empty for an optimizer without a fault.

    Raises:
        ConfigError: There is no such name, class or argument, or ``only`` holds an unknown word.

    Example:
        >>> from optimzoo.vetting import vet
        >>> vet("SGD", only=["resume", "state"], lr=0.1, momentum=0.9)["state"].value
        4.0
    """
    cls, words = _class_of(target), [only] if isinstance(only, str) else list(only)
    known = [*WORDS, *MEASUREMENTS]
    for word in (word for word in words if word not in known):
        raise ConfigError(f"there is no fact {word!r}.{did_you_mean(near(word, known))}", "only")
    wanted = tuple(name for name, p in calls.parameters(cls).items() if p.default is p.empty)
    kwargs = dict(calls.read(cls, kwargs, given=tuple(n for n in wanted if n not in kwargs), label=cls.__name__).kwargs)
    facts = tuple(_measured(cls, kwargs, words, time.monotonic() + number(seconds, "seconds", 0)))
    library = Entry("", cls).library
    name = target if isinstance(target, str) else dotted(cls)
    return Report(name, dotted(cls), library, library_version(library), torch.__version__, facts)


def _class_of(target: Any) -> Any:
    found = import_dotted(target) if isinstance(target, str) and ":" in target else target
    if not inspect.isfunction(found):
        return OPTIMIZERS.get(target)
    try:
        made: Any = found(torch.optim.SGD)
    except Exception as error:
        said = describe_error(error)
        raise ConfigError(f"{dotted(found)} makes no class of optimizers of torch.optim.SGD: {said}") from error
    made.__module__, made.__qualname__ = found.__module__, f"{found.__qualname__}(torch.optim.SGD)"
    return OPTIMIZERS.get(made)


def _measured(cls: Any, kwargs: dict[str, Any], words: list[str], deadline: float) -> Iterator[Fact]:
    def left() -> float:
        return deadline - time.monotonic()

    way: Way | None = None
    try:
        way, found = in_child(find_way, cls, kwargs, seconds=max(1.0, left()), cpu=EACH)
        way = replace(way, cls=cls) if way else None  # the class itself may be one that cannot be sent
    except ChildError as error:
        found = fault("nothing works", f"building it and making an update failed: {error}")
    if not words or "needs" in words:
        yield _told(way or Way(cls, kwargs), "needs", found)
    for name in sorted(MEASUREMENTS, key=lambda name: WORDS.index(name.partition(".")[0])):
        measure, otherwise = MEASUREMENTS[name]
        if words and name not in words and name.partition(".")[0] not in words:
            continue
        try:
            if way is None or left() < 1:
                found = unmeasured("no time was left" if way else "no way to make an update was found")
            else:
                found = in_child(measure, way, seconds=left(), cpu=EACH)
        except ChildError as error:
            found = Fact("", otherwise, "fails", str(error)) if error.raised else unmeasured(str(error))
        yield _told(way or Way(cls, kwargs), name, found)


def _told(way: Way, name: str, found: Fact) -> Fact:
    """Return the fact with its name, the lines that show a fault, and what optimzoo does."""
    does, lines = "", ""
    if found.verdict in ("note", "fault"):
        is_fault = found.verdict == "fault"
        heeded = [facts[name][0] for facts in HEEDED.values() if name in facts]
        at_build = any((values or is_fault) and is_heeded(found.value, values) for values in heeded)
        case = next((case for case in (f"{name} {found.value}", name) if case in SCRIPTS["does"]), "")
        always = is_fault and case in SCRIPTS["always"]
        does = SCRIPTS["does"][case] if case and (at_build or always) else ""
        if at_build and not always and not known_facts(way.cls):
            does = f"{does}, once the facts are measured at a build: set vet = true in its config"
    if found.verdict == "fault":
        lines = reproduction(way, name, found.fill)
        does = does or SCRIPTS["does"]["nothing"]
    return replace(found, fact=name, reproduction=lines, optimzoo=does)


def _source(value: Any) -> str:
    made = SCRIPTS["handed"].get(value[1:]) if isinstance(value, str) and value.startswith("@") else None
    return made or repr(value)


def reproduction(way: Way, name: str, fill: dict[str, Any]) -> str:
    """Return a program that ends in an error because of the fault ``name``."""
    usual = {
        "module": way.cls.__module__,
        "root": re.split(r"\W", way.cls.__qualname__)[0],
        "name": way.cls.__qualname__,
        "given": "".join(f"{key!r}: {_source(value)}, " for key, value in (way.kwargs | fill.get("more", {})).items()),
        "shapes": way.shapes,
        "dtype": way.dtype,
        "context": f"{way.context[0]}({', '.join(f'{key}={value}' for key, value in way.context[1].items())})",
        "keys": way.keys,
        "graph": way.drive == "graph",
        "bent": " + 0.1 * w * w.roll(1)" if way.drive == "graph" else "",
        "settings": {},
        "processes": SCRIPTS["processes"] if way.processes else "",
        "alone": False,
    }
    usual["handed"] = Template(SCRIPTS["handed"].get(way.handed, "weights")).safe_substitute(usual)
    drive = SCRIPTS["drive"][way.drive].strip().replace("\n", "\n    ")
    modes = SCRIPTS["modes"] if callable(getattr(way.cls, "train", None)) else ""
    text = SCRIPTS["start"].replace("$drive", drive).replace("$modes", modes) + "\n" + SCRIPTS[name]
    return Template(text).safe_substitute(usual | fill).strip()
