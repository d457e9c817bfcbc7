"""Pictures that show themselves: a figure of matplotlib that a notebook draws without pyplot having been set up."""

from __future__ import annotations

import io
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DPI = 120
COLOURS = 10
"""Curves that have a colour each; more go from dark to bright."""
LETTERS = 110
"""Small letters that fit in a line."""
FEW = 6
"""Labels that fit into a panel; more stand below it."""


class Picture(Figure):
    """A figure whose panels stand one below the other.

    Args:
        panels: How many.
        height: The height of each in inches.
        title: What stands above all of them.
    """

    def __init__(self, panels: int, height: float = 2.5, title: str = "") -> None:
        super().__init__(figsize=(8, height * max(1, panels) + 0.3), dpi=DPI, layout="constrained")
        self.suptitle(title)
        self.panels: list[Axes] = [*self.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]] if panels else []
        for panel in self.panels:
            panel.grid(alpha=0.3)

    def label(self) -> None:
        """Say in each panel which curve is which: inside, or of many below it."""
        self.align_ylabels(self.panels)
        for panel in self.panels:
            lines = [line for line in panel.get_lines() if not str(line.get_label()).startswith("_")]
            count = len(lines)
            for number, line in enumerate(lines) if count > COLOURS else ():
                line.set_color(colormaps["viridis"](number / count))
            if count > FEW:
                width, height = self.get_size_inches()
                pad = 5 if panel is self.panels[-1] else 0.5  # in heights of a letter: the numbers and their name
                below: dict[str, Any] = dict(loc="upper center", bbox_to_anchor=(0.5, 0.0), borderaxespad=pad)
                columns = max(1, min(4, LETTERS // (8 + max(len(str(line.get_label())) for line in lines))))
                panel.legend(fontsize="x-small", ncols=columns, frameon=False, **below)
                self.set_size_inches(width, height + 0.16 * -(-count // columns))
            elif count > 1:
                panel.legend(fontsize="small")

    def _repr_png_(self) -> bytes:
        """Return the picture as a notebook shows it."""
        written = io.BytesIO()
        self.savefig(written, format="png")
        return written.getvalue()
