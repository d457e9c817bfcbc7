"""How far the steps of two optimizers agree: the same gradients for both, and the sizes and directions of each step.

Gradients do not depend on the weights, and change their direction and size from update to update, so that a momentum, a
bias correction or a clip shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from optimzoo.vetting.candidates import DECAY
from optimzoo.vetting.trial import Shapes, Slope, Way

ANY: Shapes = ((64, 64), (128, 32), (32, 128), (64,), (16, 8, 3, 3))
MATRICES: Shapes = ((64, 64), (128, 32), (32, 128), (96, 24), (16, 256))
"""The shapes to compare, for methods that take any parameter, and for those that take matrices."""
SCALES = (1.0, 3.0, 0.3, 1.0, 0.1, 2.0)
"""What the gradients of consecutive updates are multiplied by."""
NO_DECAY = 1e-6
"""What a decay is multiplied by to do nothing, while all branches are taken that depend on there being one."""

Moves = list[list[Tensor]]
"""How far each number moved, by update and by shape."""


@dataclass(frozen=True)
class Course:
    """A bench for both.

    Args:
        size: The size of the weights.
        decay: What the decay is multiplied by.
        gradient: What the gradients are multiplied by.
        steady: Whether the gradients keep their size.
        rounded: Whether the gradients are rounded to bfloat16.
    """

    size: float = 1.0
    decay: float = 1.0
    gradient: float = 1.0
    steady: bool = False
    rounded: bool = False


@dataclass(frozen=True)
class Pair:
    """One step of one parameter: how much larger that of the second is, and the cosine between them."""

    update: int
    shape: tuple[int, ...]
    ratio: float
    cosine: float


@dataclass(frozen=True)
class Slack:
    """How far two steps that agree may be apart: by what share of their size, and 1 less the cosine."""

    size: float = 0.01
    turn: float = 0.001


class _Rounded(Slope):
    """One whose gradients are rounded to bfloat16."""

    def numbers(self, seed: int, shapes: Any) -> list[Tensor]:
        """Return the usual numbers; those of seed 0 are the weights."""
        return [n.bfloat16().to(n.dtype) if seed else n for n in super().numbers(seed, shapes)]


def moves(way: Way, settings: Mapping[str, Any], course: Course, shapes: Shapes) -> Moves:
    """Return how far each update moves each parameter; ``settings`` that are no arguments are those of its groups."""
    given = {name: value for name, value in settings.items() if name in way.signature}
    keys = {name: value for name, value in settings.items() if name not in way.signature}
    decay = given.get(DECAY, way.setting(DECAY))
    if decay:
        given[DECAY] = decay * course.decay
    way = replace(way, handed="groups", keys=way.keys | keys) if keys else way
    trial = (_Rounded if course.rounded else Slope)(way, shapes, size=course.size, **given)
    counts = [math.prod(shape) for shape in shapes]
    scales = [course.gradient * (1.0 if course.steady else scale) for scale in SCALES]
    return [[*torch.split(trial.move(k, scale=scale), counts)] for k, scale in enumerate(scales)]


def pairs(first: Moves, second: Moves, shapes: Shapes) -> list[Pair]:
    """Return the steps of both, side by side."""
    return [
        Pair(k, tuple(shape), *_compared(one, other))
        for k, (ones, others) in enumerate(zip(first, second))
        for shape, one, other in zip(shapes, ones, others)
    ]


def by_shape(found: Sequence[Pair]) -> dict[tuple[int, ...], list[Pair]]:
    """Return the steps of each shape."""
    shapes = dict.fromkeys(pair.shape for pair in found)
    return {shape: [pair for pair in found if pair.shape == shape] for shape in shapes}


def _compared(one: Tensor, other: Tensor) -> tuple[float, float]:
    if not one.any() and not other.any():
        return 1.0, 1.0
    a, b = float(one.norm()), float(other.norm())
    if not (0 < a < math.inf and 0 < b < math.inf):
        return math.nan, 0.0
    return b / a, float(torch.dot(one, other)) / (a * b)


def constant(found: Sequence[Pair]) -> float:
    """Return the usual ratio of the sizes."""
    return median(pair.ratio for pair in found) if found else math.nan


def apart(found: Sequence[Pair], by: float = 1.0) -> float:
    """Return how far they are from agreeing, if the first were ``by`` times as large."""
    total, near = 0.0, Slack()
    for pair in found:
        if not pair.ratio / by > 0:
            return math.inf
        total += min((1 - pair.cosine) / near.turn, 500.0) + min(abs(math.log(pair.ratio / by)) / near.size, 500.0)
    return total / len(found) if found else math.inf


def agree(found: Sequence[Pair], by: float = 1.0, slack: Slack = Slack()) -> bool:  # it is frozen
    """Whether every step does, if the first were ``by`` times as large."""
    return bool(found) and all(abs(p.ratio / by - 1) <= slack.size and 1 - p.cosine < slack.turn for p in found)


def farthest(found: Sequence[Pair], by: float = 1.0) -> Slack:
    """Return how far the farthest are apart, if the first were ``by`` times as large."""
    return Slack(max(abs(p.ratio / by - 1) for p in found), max(1 - p.cosine for p in found))


def difference(found: Sequence[Pair]) -> str:
    """Return a sentence on steps that differ by more than a constant."""
    turn, size = Slack().turn, Slack().size
    if not all(pair.ratio > 0 for pair in found):
        return "one of them stands still, or is not finite, where the other moves"
    first = min((pair for pair in found if pair.update == 0), key=lambda pair: pair.cosine)
    worst = min(found, key=lambda pair: pair.cosine)
    if 1 - first.cosine >= turn:
        return (
            f"the first update has another direction (for {first.shape} the cosine is {first.cosine:.4f}): another "
            "method, or other constants in it"
        )
    if 1 - worst.cosine >= turn:
        return (
            f"the first update is the same, and later ones have another direction (the cosine is {worst.cosine:.4f} in "
            f"update {worst.update + 1}): what they keep of earlier gradients differs"
        )
    ratios_of = {shape: [pair.ratio for pair in each] for shape, each in by_shape(found).items()}
    if all(max(ratios) < (1 + 2 * size) * min(ratios) for ratios in ratios_of.values()):
        told = ", ".join(f"{sum(ratios) / len(ratios):.3g} for {shape}" for shape, ratios in ratios_of.items())
        return f"a factor that depends on the shape: {told}"
    ratios = [pair.ratio for pair in found]
    what = f"the ratio of their sizes changes from update to update, from {min(ratios):.3g} to {max(ratios):.3g}"
    return f"{what}: a bias correction, a warm-up or a clip"
