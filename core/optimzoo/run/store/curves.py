"""The curves of a run as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from optimzoo.run.store.history import MEASURED

if TYPE_CHECKING:
    from optimzoo.pictures import Picture
    from optimzoo.run.store.history import History

SMOOTHED = 25
"""A loss or a norm is smoothed over one part in so many of the run, if that is more than one value."""
MOST_EPOCHS = 12
"""Epochs that are numbered; of more, every second, fifth, tenth, ..."""


def plot_history(history: History, title: str = "") -> Picture:
    """Draw each column of ``history`` against the iterations: losses in one panel, every other value in its own.

    A metric of averaged weights is in the panel of the trained ones', the groups' learning rates are in that of ``lr``;
    curves that are the same are one, with all their names. A long loss or norm of gradients is drawn faintly, with the
    mean over a twenty-fifth of the run in full. The epochs stand above.

    Args:
        history: The values of a run.
        title: The picture's title.

    Returns:
        The picture, a figure of matplotlib; ``savefig("curves.png")`` writes it, and a notebook shows it.
    """
    from optimzoo.pictures import Picture  # matplotlib is slow to import, and seldom needed

    columns = [name for name in history.columns if name not in ("iter", "epoch")]
    losses = [name for name in columns if "loss" in name]
    panels: dict[str, list[str]] = {"loss": losses} if losses else {}
    for name in columns:
        if name not in losses:
            whole = name.partition("[")[0] if name.endswith("]") else name  # of a group, or an element of a tuple
            panels.setdefault(MEASURED.sub("val_", whole), []).append(name)
    figure = Picture(len(panels), title=title)
    for axis, (label, names) in zip(figure.panels, panels.items()):
        same: dict[tuple[tuple[int, float], ...], list[str]] = {}
        for name in names:
            same.setdefault(tuple(history.column(name)), []).append(name)
        for column, (name, *others) in same.items():
            steps, values = zip(*column)
            named = ", ".join([name, *(other[other.find("[") :] if other[-1] == "]" else other for other in others)])
            (line,) = axis.plot(steps, values, label=named, linewidth=1.2)
            if MEASURED.match(name):
                line.set(marker="o", markersize=3)  # measured now and then
            elif (name in losses or "grad_norm" in name) and len(values) > 2 * SMOOTHED:
                axis.plot(steps, values, color=line.get_color(), linewidth=0.6, alpha=0.35, zorder=1)
                line.set_ydata(smoothed(values, len(values) // SMOOTHED))
        axis.set_ylabel(label if len(names) > 1 else names[0])
        if names == losses and all(value > 0 for name in names for _, value in history.column(name)):
            axis.set_yscale("log")
    if figure.panels:
        figure.panels[-1].set_xlabel("iteration")
        ends = history.epoch_ends()
        if len(ends) > 1:
            above = figure.panels[0].secondary_xaxis("top")
            told = [(at, epoch) for epoch, at in ends.items() if epoch % stride(len(ends)) == 0]
            above.set_xticks([at for at, _ in told], [str(epoch) for _, epoch in told])
            above.set_xlabel("epoch")
    figure.label()
    return figure


def smoothed(values: Sequence[float], width: int) -> list[float]:
    """Return for each value the mean over it and those before it, ``width`` in all, of those that are finite.

    Examples:
        >>> smoothed([1.0, 3.0, 5.0, math.inf, 7.0], 2)
        [1.0, 2.0, 4.0, 5.0, 7.0]
    """
    means, total, count = [], 0.0, 0
    for end, value in enumerate(values):
        for sign, each in ((1, value), *[(-1, values[end - width])] * (end >= width)):
            if math.isfinite(each):
                total, count = total + sign * each, count + sign
        means.append(total / count if count else math.nan)
    return means


def stride(epochs: int) -> int:
    """Return every how many epochs one is numbered.

    Examples:
        >>> stride(12), stride(13), stride(50), stride(300)
        (1, 2, 5, 50)
    """
    sizes = (size * int(10**power) for power in range(12) for size in (1, 2, 5))
    return next(size for size in sizes if epochs <= MOST_EPOCHS * size)
