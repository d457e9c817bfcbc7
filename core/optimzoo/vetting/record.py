"""A fact, what a measurement returns, and the table of measurements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimzoo.vetting.trial import Way

WORDS = {
    "needs": "how it is built and driven",
    "trains": "whether it lowers the loss of a small regression in 50 updates",
    "lr": "what the learning rate does",
    "decay": "what weight_decay does where the gradient is zero",
    "resume": "whether a run goes on from a saved state as if it had not stopped",
    "state": "bytes of state per parameter, and what the state consists of",
    "groups": "whether two equal groups are one, and what becomes of groups",
    "gradients": "what a step does to the gradients, and which it takes",
    "shapes": "the shapes of parameters it takes",
    "dtypes": "the dtypes of parameters it takes",
    "elementwise": "whether two parameters in one move as the two alone, to the bit",
    "scale": "what gradients 1024 times as large change",
    "kernels": "whether the loop, foreach, fused and compiled steps agree",
    "arguments": "which arguments are refused, and which do nothing",
    "manners": "what it does beside optimizing",
}
"""The first word of each fact."""

DOES = {
    "lr": "warns where a schedule would do nothing",
    "lr.tensor": "warns where the learning rate is a tensor",
    "resume": "warns at the build that a resumed run goes another way",
    "state.weights_only": "warns at the build that its checkpoints cannot be read with weights_only=True",
    "groups.merge": "warns where parameter-wise settings make several groups",
    "scale": "warns where gradients are clipped for nothing",
    "arguments.misspelt": "refuses keys that its constructors do not read",
}
"""What optimzoo does about a fact that is not fine."""


@dataclass(frozen=True)
class Fact:
    """One fact about an optimizer.

    Args:
        fact: A word of ``WORDS``, with a dot and a detail where one word has several facts.
        verdict: ``fine``, ``note`` (by design, or told by an error), ``fault`` (wrong without a word), ``unmeasured``.
        value: What was found, in a word or a number.
        why: A sentence, where the value does not say it all.
        reproduction: Of a fault: lines to run, which end in an error.
        fill: What the lines of the reproduction are completed with.
    """

    fact: str
    verdict: str
    value: Any
    why: str = ""
    reproduction: str = ""
    fill: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def optimzoo(self) -> str:
        """What optimzoo does about it; empty where it is fine or nothing can be done."""
        return DOES.get(self.fact, "") if self.verdict in ("note", "fault") else ""


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
        return told | {"facts": [{k: v for k, v in fact.items() if k != "fill"} for fact in told["facts"]]}


MEASUREMENTS: dict[str, tuple[Callable[[Way], Fact], str]] = {}
"""Each measurement, and what an error in it is, by the name of its fact, in the order of the report."""


def measures(name: str, error: str = "unmeasured") -> Callable[[Callable[[Way], Fact]], Callable[[Way], Fact]]:
    """Enter a function of a ``Way`` into ``MEASUREMENTS``; an ``error`` in it is such a verdict."""

    def enter(function: Callable[[Way], Fact]) -> Callable[[Way], Fact]:
        MEASUREMENTS[name] = function, error
        return function

    return enter
