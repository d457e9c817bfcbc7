"""A fact, what a measurement returns, and the table of measurements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
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


def brief(text: str, most: int = 300) -> str:
    """Return the first line of an error, and the next one where the first ends in a colon."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[: 1 + text.partition("\n")[0].rstrip().endswith(":")])[:most]


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


def measures(name: str, error: str = "unmeasured") -> Callable[[Measure], Measure]:
    """Enter a function of a ``Way`` into ``MEASUREMENTS``; an ``error`` in it is such a verdict."""

    def enter(function: Measure) -> Measure:
        MEASUREMENTS[name] = function, error
        return function

    return enter
