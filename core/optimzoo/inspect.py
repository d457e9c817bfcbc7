"""Looking at what a config does: parameter groups as a table, schedules before a run, the history after it."""

from optimzoo.groups.table import GroupRow, group_rows, group_table
from optimzoo.run.store.curves import plot_history
from optimzoo.schedules.preview import Course, plot_schedules, schedule_courses, schedule_table

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
