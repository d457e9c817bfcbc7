"""Looking at what was built and what it did: parameter groups, and the curves of a run."""

from optimzoo.inspect.curves import plot_history
from optimzoo.inspect.groups import GroupRow, group_rows, group_table
from optimzoo.inspect.schedules import Course, plot_schedules, schedule_courses, schedule_table

__all__ = [
    "Course",
    "GroupRow",
    "group_rows",
    "group_table",
    "plot_history",
    "plot_schedules",
    "schedule_courses",
    "schedule_table",
]
