"""A fact, what a measurement returns, and the table of measurements."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimzoo.vetting.trial import Way

WORDS = (
    *("needs", "trains", "lr", "decay", "resume", "state", "groups", "gradients", "shapes", "dtypes"),
    *("elementwise", "scale", "kernels", "arguments", "manners"),
)
"""The first word of each fact, in the order of a report."""


@dataclass(frozen=True)
class Fact:
    """One fact about an optimizer.

    Args:
        fact: A word of ``WORDS``, with a dot and a detail where one word has several facts.
        verdict: ``fine``, ``note`` (by design, or told by an error), ``fault`` (wrong without a word), ``unmeasured``.
        value: What was found, in a word or a number.
        why: A sentence, where the value does not say it all.
        reproduction: Of a fault: lines to run, which end in an error.
        optimzoo: What optimzoo does about it; empty where it is fine.
        fill: What the lines of the reproduction are completed with.
    """

    fact: str
    verdict: str
    value: Any
    why: str = ""
    reproduction: str = ""
    optimzoo: str = field(default="", compare=False)
    fill: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


def fine(value: Any, why: str = "") -> Fact:
    """Return what is as a user expects; the runner adds the name."""
    return Fact("", "fine", value, why)


def note(value: Any, why: str) -> Fact:
    """Return what a user should know."""
    return Fact("", "note", value, why)


def fault(value: Any, why: str, **fill: Any) -> Fact:
    """Return what goes wrong without a word; ``fill`` completes the reproduction of that name."""
    return Fact("", "fault", value, why, fill=fill)


def unmeasured(why: str) -> Fact:
    """Return that a measurement does not apply."""
    return Fact("", "unmeasured", None, why)


def refusal(error: BaseException, most: int = 150) -> str:
    """Return the type and the beginning of an error."""
    return brief(f"{type(error).__name__}: {error}", most)


def unless_refused(refused: Mapping[str, str], otherwise: str) -> Fact:
    """Return a note of what raised which error, or that all is as ``otherwise`` says."""
    why = "; ".join(f"{name}: {error}" for name, error in refused.items())
    return note(f"not {', '.join(refused)}", why) if refused else fine(otherwise)


def brief(text: str, most: int = 300) -> str:
    """Return the first line of an error, and the next one where the first ends in a colon; it ends with a word."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = lines[: 1 + text.partition("\n")[0].rstrip().endswith(":")]
    return textwrap.shorten(" ".join(told), most, placeholder=" ...")


@dataclass(frozen=True)
class Report:
    """The facts about one class, and what they were measured with."""

    name: str
    cls: str
    library: str
    version: str
    torch: str
    facts: tuple[Fact, ...]

    @property
    def faults(self) -> list[Fact]:
        """The facts that are faults."""
        return [fact for fact in self.facts if fact.verdict == "fault"]

    def __getitem__(self, name: str) -> Fact:
        """Return the fact of that name."""
        return next(fact for fact in self.facts if fact.fact == name)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``optimzoo vet --json`` prints."""
        told = {"class" if key == "cls" else key: value for key, value in asdict(self).items()}
        kept = ("fact", "verdict", "value", "why", "reproduction")
        return told | {"facts": [{key: fact[key] for key in kept} for fact in told["facts"]]}


Measure = Callable[["Way"], Fact]
MEASUREMENTS: dict[str, tuple[Measure, str]] = {}
"""Each measurement, and what an error in it is, by the name of its fact."""


def measures(name: str, error: str = "unmeasured", decaying: bool = False) -> Callable[[Measure], Measure]:
    """Enter a function of a ``Way`` into ``MEASUREMENTS``.

    Args:
        name: The name of the fact.
        error: What verdict an error in it is.
        decaying: Whether to measure once more, with a decay, what is fine where a class has a decay that is off.
    """

    def enter(function: Measure) -> Measure:
        MEASUREMENTS[name] = partial(_with_decay, function) if decaying else function, error
        return function

    return enter


def _with_decay(measure: Measure, way: Way) -> Fact:
    found = measure(way)
    if found.verdict != "fine" or way.setting("weight_decay") != 0:
        return found
    more = {"weight_decay": 0.1}
    with contextlib.suppress(Exception):  # a decay may be refused
        other = measure(replace(way, kwargs=way.kwargs | more))
        if other.verdict in ("note", "fault"):
            value, fill = f"{other.value} with weight_decay", other.fill | {"more": more}
            return replace(other, value=value, why=f"with a weight_decay, {other.why}", fill=fill)
    return found
