"""The curves of a run as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimzoo.run.store.history import MEASURED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from optimzoo.run.store.history import History


def plot_history(history: History, title: str = "") -> Figure:
    """Draw each column of ``history`` against the iterations: losses in one panel, every other value in its own.

    A metric of averaged weights is in the panel of the trained ones', the groups' learning rates are in that of ``lr``.

    Args:
        history: The values of a run.
        title: The picture's title.

    Returns:
        The picture; ``savefig("curves.png")`` writes it.
    """
    from matplotlib.figure import Figure  # slow to import, and seldom needed

    columns = [name for name in history.columns if name not in ("iter", "epoch")]
    losses = [name for name in columns if "loss" in name]
    panels: dict[str, list[str]] = {"loss": losses} if losses else {}
    for name in columns:
        if name not in losses:
            whole = name.partition("[")[0] if name.endswith("]") else name  # of a group, or an element of a tuple
            panels.setdefault(MEASURED.sub("val_", whole), []).append(name)
    figure = Figure(figsize=(8, 2.4 * max(1, len(panels))), dpi=120, layout="constrained")
    if not panels:
        return figure
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (label, names) in zip(axes, panels.items()):
        for name in names:
            steps, values = zip(*history.column(name))
            marker = "o" if MEASURED.match(name) else None  # measured now and then
            axis.plot(steps, values, label=name, linewidth=1.2, marker=marker, markersize=3)
        axis.set_ylabel(label if len(names) > 1 else names[0])
        axis.grid(alpha=0.3)
        if len(names) > 1:
            axis.legend(fontsize="small" if len(names) < 6 else "xx-small", ncols=1 + len(names) // 8)
        if names == losses and all(value > 0 for name in names for _, value in history.column(name)):
            axis.set_yscale("log")
    axes[-1].set_xlabel("iteration")
    figure.suptitle(title)
    return figure
