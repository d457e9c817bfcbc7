"""Looking at what was built and what it did: parameter groups, and the curves of a run."""

from optimzoo.inspect.curves import plot_history
from optimzoo.inspect.groups import GroupRow, group_rows, group_table

__all__ = ["GroupRow", "group_rows", "group_table", "plot_history"]
