"""Whether every number of a parameter moves, whatever its shape and whichever the kernel."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from optimzoo.vetting.learning import without_decay
from optimzoo.vetting.record import Fact, fault, fine, measures, note, unmeasured
from optimzoo.vetting.trial import AGAIN, MATRIX, Shapes, Steep, Way

MATRICES: Shapes = ((3, 7), (67, 5), (17, 241))
ALL: Shapes = ((), (1,), (5,), (67,), *MATRICES, (4, 3, 3, 3))
"""Few numbers, and counts that no vector of a processor and no block of a kernel divides.

A vector of thousands would take some methods minutes.
"""
EQUAL = (4,)


@measures("shapes.moved")
def moved(way: Way) -> Fact:
    """Count the numbers that stand still in every one of some updates, by shape and with every kernel.

    A method may move a few numbers at a time: then some of the usual matrix stand still too. One that takes a mean or
    a direction out of a parameter leaves nothing of a single number: then equal numbers stand still too.
    """
    if way.sparse:
        return unmeasured("its gradients have no row for some of the numbers")
    for name, kernel in {"loop": way.loop, **way.kernels}.items():
        settings = kernel | without_decay(way)
        try:
            still = _still(way, MATRICES if len(way.shapes) == 1 else ALL, settings)
        except Exception:
            if name == "loop":
                raise
            continue  # the kernel is refused
        if name == "loop" and still[MATRIX]:
            count = MATRIX[0] * MATRIX[1]
            left = count - still[MATRIX]
            return note("some" if left else "nothing", f"{left} of {count} numbers of a matrix move in {AGAIN} updates")
        wrong = {shape: number for shape, number in still.items() if number}
        if wrong:
            counts = (f"{number} of {torch.Size(shape).numel()} in {shape}" for shape, number in wrong.items())
            with_what = "" if name == "loop" else f" with {name}=True"
            why = f"numbers stand still in {AGAIN} updates{with_what}: {', '.join(counts)}"
            value = f"not {', '.join(map(str, wrong))}"
            single = all(torch.Size(shape).numel() == 1 for shape in wrong)
            if single and _counted(way, (EQUAL,), settings, tile=1)[EQUAL]:
                return note(value, f"{why}, as numbers do that are all the same")
            return fault(value, why, shapes=(*still,), settings=settings)
    return fine("every number")


def _still(way: Way, shapes: Shapes, settings: dict[str, Any]) -> dict[tuple[int, ...], int]:
    """Return how many numbers of each shape stand still, beside a matrix; of each that is taken, if not all are."""
    with contextlib.suppress(Exception):
        return _counted(way, (MATRIX, *shapes), settings)
    found = _counted(way, (MATRIX,), settings)
    for shape in shapes:
        with contextlib.suppress(Exception):  # the fact shapes tells what is refused
            found[shape] = _counted(way, (MATRIX, shape), settings)[shape]
    return found


def _counted(way: Way, shapes: Shapes, settings: dict[str, Any], tile: int = 0) -> dict[tuple[int, ...], int]:
    # The weights are small beside the gradients, so that few steps are lost in rounding.
    trial = Steep(way, shapes, size=2**-12, tile=tile, **settings)
    still = torch.stack([trial.move(k) == 0 for k in range(AGAIN)]).all(dim=0)
    parts = torch.split(still, [weight.numel() for weight in trial.weights])
    return {shape: int(part.sum()) for shape, part in zip(shapes, parts)}
