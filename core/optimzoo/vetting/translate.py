"""``translate``: the settings of one optimizer under which its steps are those of another, found by trying.

Shared arguments are copied, then changed one at a time, whichever change brings the steps nearest: first with next to
no decay and up to a constant factor, which the learning rate then takes; then the decay, in each convention. Every
candidate is measured; nothing follows from a name but which arguments to copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from optimzoo import calls
from optimzoo.errors import ConfigError
from optimzoo.names.entry import NEEDS, REFUSED
from optimzoo.names.zoo import OPTIMIZERS
from optimzoo.traces import describe_error
from optimzoo.values import is_number, number
from optimzoo.vetting.agreement import (
    ANY,
    MATRICES,
    NO_DECAY,
    Course,
    Moves,
    Pair,
    Slack,
    agree,
    apart,
    by_shape,
    constant,
    difference,
    farthest,
    moves,
    pairs,
)
from optimzoo.vetting.candidates import (
    DECAY,
    MOMENTA,
    RATES,
    Settings,
    copied,
    rate_in,
    renumbered,
    switched,
    values_of,
)
from optimzoo.vetting.child import ChildError, in_child
from optimzoo.vetting.learning import decay
from optimzoo.vetting.trial import Shapes, Way
from optimzoo.vetting.way import way_of

ROUNDS = 8
"""How many arguments may be changed, one after the other."""
PLAIN = Course(decay=NO_DECAY)


@dataclass(frozen=True)
class Translation:
    """What a search found.

    Args:
        source: The name that was translated, and
        target: the name to use instead.
        given: The settings of the first.
        settings: Those of the second under which its steps are the same, or come nearest.
        groups: What each of its groups has to say besides, such as ``use_muon``.
        difference: Why no settings do; empty where these do.
        notes: How far their steps may still differ, and why no config can name the second.
        steps: Every step that was compared at the end.
    """

    source: str
    target: str
    given: Settings
    settings: Settings
    groups: Settings
    difference: str = ""
    notes: tuple[str, ...] = ()
    steps: tuple[Pair, ...] = field(default=(), repr=False)

    @property
    def agrees(self) -> bool:
        """Whether there are such settings."""
        return not self.difference

    @property
    def line(self) -> str:
        """What to write in a config."""
        return f"dict({', '.join(f'{key}={value!r}' for key, value in {'type': self.target, **self.settings}.items())})"

    @property
    def shapes(self) -> dict[tuple[int, ...], tuple[float, float]]:
        """The ratio of the sizes that is farthest from 1 and the least cosine, by shape."""
        return {
            shape: (max((p.ratio for p in each), key=lambda ratio: abs(ratio - 1)), min(p.cosine for p in each))
            for shape, each in by_shape(self.steps).items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Return what ``optimzoo translate --json`` prints."""
        kept = ("source", "target", "given", "agrees", "settings", "groups", "line", "difference", "notes")
        told = [{"shape": shape, "size": ratio, "cosine": cosine} for shape, (ratio, cosine) in self.shapes.items()]
        return {**{key: getattr(self, key) for key in kept}, "shapes": told}


def translate(source: Any, target: Any, *, seconds: float = 300.0, **kwargs: Any) -> Translation:
    """Find the settings of ``target`` under which its steps are those of ``source``.

    Args:
        source: A registered name, ``package.module:Class``, or the class.
        target: Another.
        seconds: When to give up.
        **kwargs: Arguments of ``source``, or what its groups say beside them.

    Raises:
        ConfigError: There is no such name or argument, one of the two cannot be driven, or the time is up.

    Example:
        >>> from optimzoo.vetting import translate
        >>> translate("Adam", "AdamW", lr=1e-3, weight_decay=0.0).line
        "dict(type='AdamW', lr=0.001, weight_decay=0.0)"
    """
    classes = [OPTIMIZERS.get(name) for name in (source, target)]
    names = [name if isinstance(name, str) else str(name.__qualname__) for name in (source, target)]
    groups = {key: value for key, value in kwargs.items() if key in _group_keys(classes[0])}
    kwargs = {key: value for key, value in kwargs.items() if key not in groups}
    first = next(iter(calls.parameters(classes[0])), "params")
    given = dict(calls.read(classes[0], kwargs, given=(first,), label=names[0], ranged=True).kwargs)
    try:
        found: Translation = in_child(_translated, classes, names, given, groups, seconds=number(seconds, "seconds", 0))
    except ChildError as error:
        raise ConfigError(f"{names[0]} and {names[1]} cannot be compared: {error}") from error
    entry = OPTIMIZERS.entry_of(classes[1])
    refused = [f"a build refuses {names[1]}, which {NEEDS[n]}" for n in (entry.needs if entry else ()) if n in REFUSED]
    return replace(found, notes=(*found.notes, *refused))


def _group_keys(cls: Any) -> tuple[str, ...]:
    entry = OPTIMIZERS.entry_of(cls)
    return entry.group_keys if entry else ()


def _translated(classes: list[Any], names: list[str], given: Settings, groups: Settings) -> Translation:
    source, target = (_way(*each) for each in zip(names, classes, (given, {})))
    if groups:
        source = replace(source, handed="groups", keys=source.keys | groups)
    search = _Search(source, target)
    told = search.run().replace("{0}", names[0]).replace("{1}", names[1])
    notes = () if told else tuple(search.notes)
    found = search.written(), search.groups(), told, notes, tuple(search.steps())
    return Translation(names[0], names[1], given | groups, *found)


def _way(name: str, cls: Any, kwargs: Settings) -> Way:
    way = way_of(cls, kwargs, name)
    around = way.handed in ("inner", "model") or any(str(value).startswith("@") for value in way.kwargs.values())
    if around or way.sparse:
        takes = "a model or another optimizer" if around else "sparse gradients"
        raise ConfigError(f"{name} takes {takes}, and cannot be compared with one that does not")
    return way


class _Search:
    """The settings of ``target`` that come nearest to ``source``, in ``best``, and what is measured of them."""

    def __init__(self, source: Way, target: Way) -> None:
        self.source, self.target = source, target
        self.shapes, self.refusal = self._shapes(), ""
        self.values = values_of(source)
        self.group_keys = _group_keys(target.cls)
        self.courses = [PLAIN]
        self.slack, self.notes = Slack(), list[str]()
        self._moves: dict[Course, Moves] = {}
        self.best: Settings = {}

    def _shapes(self) -> Shapes:
        """Return shapes that both take."""
        try:
            for way in (self.source, self.target):
                moves(way, {}, PLAIN, ANY)
        except (Exception, SystemExit):
            return MATRICES
        return ANY

    def run(self) -> str:
        """Search, and return the difference that is left, if one is, with the two names as ``{0}`` and ``{1}``."""
        told = self._begin() or self._find_method() or self._find_rate() or self._find_decay()
        if not told:
            self._forget_what_is_idle()
            self._find_eps()
        return told

    def found(self, settings: Settings, course: Course = PLAIN, **of_source: Any) -> list[Pair]:
        """Return the steps of both, side by side; none if the target refuses the settings."""
        if course not in self._moves:
            self._moves[course] = moves(self.source, {}, course, self.shapes)
        try:
            ours = moves(self.target, settings, course, self.shapes)
        except (Exception, SystemExit) as error:
            self.refusal = describe_error(error).partition("\n")[0]
            return []
        first = moves(self.source, of_source, course, self.shapes) if of_source else self._moves[course]
        return pairs(first, ours, self.shapes)

    def steps(self) -> list[Pair]:
        """Return those of the best settings on all courses."""
        return [pair for course in self.courses for pair in self.found(self.best, course)]

    def agrees(self, settings: Settings) -> bool:
        """Whether all steps agree on all courses."""
        return all(agree(self.found(settings, course), slack=self.slack) for course in self.courses)

    def written(self) -> Settings:
        """Return what a config says: the rate, the decay, and what differs from the defaults."""
        defaults, always = {n: p.default for n, p in self.target.signature.items()}, (*RATES, DECAY)
        told = {n: self.best[n] for n in always if n in self.best} | self.target.kwargs | self.best
        return {n: v for n, v in told.items() if n in defaults and (n in always or defaults[n] != v)}

    def groups(self) -> Settings:
        """Return what each group has to say that is no argument."""
        return self.target.keys | {n: v for n, v in self.best.items() if n not in self.target.signature}

    def _begin(self) -> str:
        """Copy what both have, each with a switch turned if it must be; what is refused all the same stays away."""
        everything = copied(self.values, self.target)
        if self.found(everything):
            self.best = self.copied = everything
            return ""
        for name, value in everything.items():
            tried = [self.best | {name: value}, *(s | {name: value} for s in self._switched())]
            self.best = next((settings for settings in tried if self.found(settings)), self.best)
        self.copied = self.best
        return "" if self.found(self.best) else f"{{1}} refuses all settings that were tried: {self.refusal}"

    def _switched(self) -> Iterable[Settings]:
        return switched(self.best, self.target, self.group_keys)

    def _find_method(self) -> str:
        """Find the settings for which the steps agree up to a constant factor, with next to no decay."""

        def distance(settings: Settings) -> float:
            found = self.found(settings)
            return apart(found, constant(found))

        for _ in range(ROUNDS):
            if self._is_method(self.best):
                return ""
            others = (*self._switched(), *renumbered(self.best, self.target, self.values))
            nearest = min(others, key=distance, default=self.best)
            if distance(nearest) >= 0.9 * distance(self.best):
                break
            self.best = nearest
        return "" if self._is_method(self.best) or self._is_method_by_rounding() else self._why()

    def _is_method(self, settings: Settings, **of_source: Any) -> bool:
        found = self.found(settings, PLAIN, **of_source)
        return agree(found, constant(found), self.slack)

    def _is_method_by_rounding(self) -> bool:
        """Whether the steps are as near as rounding allows: twice as far as rounded gradients move one of them."""
        for way, settings in ((self.source, {}), (self.target, self.best)):
            each = [moves(way, settings, replace(PLAIN, rounded=rounded), self.shapes) for rounded in (False, True)]
            own = farthest(pairs(each[0], each[1], self.shapes))
            self.slack = Slack(max(self.slack.size, 2 * own.size), max(self.slack.turn, 2 * own.turn))
        if not self._is_method(self.best):
            return False
        found = self.found(self.best)
        most = farthest(found, constant(found))
        self.notes.append(
            f"single steps are up to {most.size:.2%} of their size and a cosine of {1 - most.turn:.4f} apart, which is "
            "no more than twice what rounding its gradients to bfloat16 changes in one of them"
        )
        return True

    def _why(self) -> str:
        """Return what differs, after a look at what would make the steps agree."""
        found, steady = self.found(self.best), self.found(self.best, replace(PLAIN, steady=True))
        told = difference(found)
        if farthest(found).turn >= self.slack.turn > farthest(steady).turn:
            told += ". While the gradients keep their size the directions agree, so one of the two clips or scales them"
            if not agree(steady, constant(steady), self.slack):
                told += f"; and then {difference(steady)}"
        for name, tiny in (("eps", 1e-30), *((name, 0.0) for name in MOMENTA[:-1])):
            both = is_number(self.values.get(name)) and is_number(self.best.get(name))
            if both and self._is_method(self.best | {name: tiny}, **{name: tiny}):
                told += f". With {name}={tiny:g} in both the steps agree: its place or convention differs"
        return told

    def _find_rate(self) -> str:
        """Let the learning rate take the constant factor."""
        factor, rate = constant(self.found(self.best)), rate_in(self.best)
        if abs(factor - 1) > self.slack.size / 2 and rate:
            self.best = self.best | {rate: float(f"{self.best[rate] / factor:.4g}")}
        found = self.found(self.best)
        if agree(found, slack=self.slack):
            return ""
        return f"the steps of {{1}} are {constant(found):.4g} times as large, and no learning rate was found that helps"

    def _find_decay(self) -> str:
        """Find the decay, with a switch if need be, on a course where it is about as much as the rest of a step."""
        if not self.values.get(DECAY):
            return ""
        if DECAY not in self.best:
            return "{0} has a decay and {1} has none"
        busy = Course(decay=self._busy())
        self.courses += [busy, Course(size=1 / 16)]
        kept = self.best
        for tried in ([kept], self._switched()):
            every = [settings | {DECAY: each} for settings in tried for each in self._decays(settings, busy)]
            for settings in sorted(every, key=lambda settings: apart(self.found(settings, busy)))[:3]:
                if self.agrees(settings):
                    self.best = settings
                    return ""
        told = f"without a decay the steps agree; with one, {difference(self.found(kept, busy))}"
        kinds = [self._kind_of_decay(way, settings) for way, settings in ((self.source, {}), (self.target, kept))]
        return told if kinds[0] == kinds[1] else f"{told}. The decay of {{0}} is {kinds[0]}, that of {{1}} {kinds[1]}"

    def _busy(self) -> float:
        """Return by what to multiply the source's decay for it to be as much of the first step as the rest."""
        none, some = (moves(self.source, {}, Course(decay=times), self.shapes)[0] for times in (NO_DECAY, 1.0))
        share = max(float((b - a).norm() / a.norm()) for a, b in zip(none, some))
        return min(max(1 / share, 1e-3), 1e4) if share > 1e-6 else 1.0

    def _decays(self, settings: Settings, busy: Course) -> list[float]:
        """Return decays to try: by the usual conventions, and by what is measured, if that is none of them."""
        given = self.values[DECAY]
        ours, theirs = (s.get(rate_in(s), 1.0) or 1.0 for s in (settings, self.values))
        usual = [given * factor for factor in dict.fromkeys((1.0, theirs / ours, theirs, 1 / ours))]
        try:
            parts = [
                [b - a for a, b in zip(*(moves(way, s, course, self.shapes)[0] for course in (PLAIN, busy)))]
                for way, s in ((self.source, {}), (self.target, settings | {DECAY: given}))
            ]
        except (Exception, SystemExit):
            return usual
        measured = given / constant(pairs([parts[0]], [parts[1]], self.shapes))
        if 0 < measured < math.inf and all(abs(measured / each - 1) > self.slack.size for each in usual):
            usual.append(float(f"{measured:.4g}"))
        return usual

    @staticmethod
    def _kind_of_decay(way: Way, settings: Settings) -> str:
        try:
            return str(decay(replace(way, kwargs=way.kwargs | settings)).value)
        except (Exception, SystemExit) as error:
            return f"not to be measured ({type(error).__name__})"

    def _forget_what_is_idle(self) -> None:
        """Take back each change without which the steps agree as well."""
        for name in [name for name in self.best if name not in (*RATES, DECAY)]:
            without = {n: v for n, v in self.best.items() if n != name}
            without |= {name: self.copied[name]} if name in self.copied else {}
            self.best = without if without != self.best and self.agrees(without) else self.best

    def _find_eps(self) -> None:
        """Look at gradients as small as ``eps``, which may stand at another place."""
        given: Any = self.values.get("eps")
        eps = float(given) if is_number(given) else 0.0
        if not 1e-12 < eps < 1:
            return
        small = replace(PLAIN, gradient=eps)
        tried = [self.best, *(self.best | {"eps": other} for other in (eps**2, eps**0.5) if "eps" in self.best)]
        for settings in tried:
            if agree(self.found(settings, small), slack=self.slack) and self.agrees(settings):
                self.best = settings
                return
        found = self.found(self.best, small)
        if found:
            most = farthest(found)
            self.notes.append(
                f"where gradients are as small as eps={eps:g} the steps are up to {most.size:.2g} of their size and a "
                f"cosine of {1 - most.turn:.3f} apart: eps stands at another place"
            )
