"""Measuring works in turns, and the row that a comparison makes."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Work = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """One comparison; a mark is the most that optimzoo may take.

    Args:
        work: What was measured.
        ours: Seconds, bytes, ... that optimzoo takes.
        peer: What it is compared with.
        theirs: What the peer takes.
        unit: Of both; a key of ``SCALES``.
        times: The mark as a multiple of the peer.
        plus: The mark as an addition to the peer, in the unit's base.
        value: The mark as a value of its own.
        by_clock: The ratio by the clock, where ours and the peer's are CPU time.
    """

    work: str
    ours: float
    peer: str
    theirs: float
    unit: str = "ms"
    times: float | None = None
    plus: float | None = None
    value: float | None = None
    by_clock: float | None = None

    @property
    def mark(self) -> tuple[str, bool] | None:
        """The mark in words, and whether it is met."""
        if self.times is not None:
            words = f"at most {self.times:.4g}x" if self.times >= 1 else f"at least {1 / self.times:.4g}x faster"
            return words, self.ours <= self.times * self.theirs
        if self.plus is not None:
            return f"at most + {show(self.plus, self.unit)}", self.ours - self.theirs <= self.plus
        if self.value is not None:
            return f"under {show(self.value, self.unit)}", self.ours < self.value
        return None

    def cells(self) -> list[str]:
        """Return the row as cells of a table."""
        mark = ("-", "-") if self.mark is None else (self.mark[0], "yes" if self.mark[1] else "**no**")
        values = show(self.ours, self.unit), self.peer, show(self.theirs, self.unit)
        by_clock = "-" if self.by_clock is None else f"{self.by_clock:.3g}"
        return [self.work, *values, f"{self.ours / self.theirs:.3g}", by_clock, *mark]


SCALES = {"us": 1e6, "ms": 1e3, "s": 1.0, "MB": 1e-6}


def show(value: float, unit: str) -> str:
    """Return ``value``, in seconds or bytes, in ``unit``."""
    return f"{value * SCALES[unit]:.3g} {unit}"


def in_turns(
    works: Mapping[str, Work],
    rounds: int = 15,
    calls: int = 1,
    before: Work | None = None,
) -> dict[str, float]:
    """Return the median seconds per call of each work; they run in turns, each first equally often.

    Args:
        works: What to measure, by name.
        rounds: Measurements of each.
        calls: Calls in one measurement.
        before: What to do before each measurement.
    """
    return _medians(_measure(works, rounds, calls, before))


def compared(
    work: str,
    ours: Work,
    peer: str,
    theirs: Work,
    times: float | None = None,
    rounds: int = 25,
    calls: int = 2,
    cpu: bool = True,
) -> Row:
    """Measure two works in turns, and return the row that compares their CPU time, with the ratio by the clock beside.

    CPU time does not count what others do on the machine. With ``cpu=False`` the row is of the clock alone: several
    threads wait busily for each other.
    """
    of_cpu: dict[str, list[float]] = {}
    by_clock = _medians(_measure({"ours": ours, "theirs": theirs}, rounds, calls, cpu=of_cpu))
    found = _medians(of_cpu) if cpu else by_clock
    ratio = by_clock["ours"] / by_clock["theirs"] if cpu else None
    return Row(work, found["ours"], peer, found["theirs"], times=times, by_clock=ratio)


def rebuilt(
    makers: Mapping[str, Callable[[], Work]], rounds: int = 10, calls: int = 5, builds: int = 4
) -> dict[str, float]:
    """Return the median seconds per call of what each maker builds, over several builds.

    Where in memory a build's tensors happen to lie makes it some percent faster or slower for as long as it lives.

    Args:
        makers: What builds each work, by name.
        rounds: Measurements of each build.
        calls: Calls in one measurement.
        builds: How often each is built.
    """
    names = list(makers)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(builds):
        built = {name: makers[name]() for name in (names if turn % 2 else reversed(names))}
        for name, values in _measure(built, rounds, calls).items():
            seconds[name] += values
    return _medians(seconds)


def _medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in seconds.items()}


def _measure(
    works: Mapping[str, Work],
    rounds: int,
    calls: int,
    before: Work | None = None,
    cpu: dict[str, list[float]] | None = None,
) -> dict[str, list[float]]:
    """Return the seconds of each measurement by the clock, and add those of the processor to ``cpu``."""
    names = list(works)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    of_cpu = {} if cpu is None else cpu
    of_cpu.update({name: [] for name in names})
    for name in names:
        works[name]()
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                work = works[name]
                if before is not None:
                    before()
                start, began = time.perf_counter(), time.process_time()
                for _ in range(calls):
                    work()
                of_cpu[name].append((time.process_time() - began) / calls)
                seconds[name].append((time.perf_counter() - start) / calls)
    finally:
        gc.enable()
    return seconds
