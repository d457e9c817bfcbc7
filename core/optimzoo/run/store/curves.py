"""The curves of a run as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from optimzoo.run.store.history import History


def plot_history(history: History, title: str = "") -> Figure:
    """Draw each column of ``history`` against the iterations: losses in one panel, every other value in its own.

    Args:
        history: The values of a run.
        title: The picture's title.

    Returns:
        The picture; ``savefig("curves.png")`` writes it.
    """
    from matplotlib.figure import Figure  # slow to import, and seldom needed

    columns = [name for name in history.columns if name not in ("iter", "epoch")]
    losses = [name for name in columns if "loss" in name]
    panels = [*([losses] if losses else []), *([name] for name in columns if name not in losses)]
    figure = Figure(figsize=(8, 2.4 * max(1, len(panels))), dpi=120, layout="constrained")
    if not panels:
        return figure
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, names in zip(axes, panels):
        for name in names:
            steps, values = zip(*history.column(name))
            marker = "o" if name.startswith("val_") else None  # measured now and then
            axis.plot(steps, values, label=name, linewidth=1.2, marker=marker, markersize=3)
        axis.set_ylabel(names[0] if len(names) == 1 else "loss")
        axis.grid(alpha=0.3)
        if len(names) > 1:
            axis.legend()
        if names == losses and all(value > 0 for name in names for _, value in history.column(name)):
            axis.set_yscale("log")
    axes[-1].set_xlabel("iteration")
    figure.suptitle(title)
    return figure
