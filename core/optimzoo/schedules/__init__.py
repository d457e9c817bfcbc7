"""Schedules of hyperparameters: each curve for the learning rate, the momentum, and any key (``param_name=``)."""

from optimzoo.bundled import bundled_schedules
from optimzoo.schedules.base import LRSchedulerMixin, MomentumSchedulerMixin, ParamScheduler
from optimzoo.schedules.curves import *  # noqa: F403
from optimzoo.schedules.group import SchedulerGroup
from optimzoo.schedules.windows import INF

_ParamScheduler = ParamScheduler  # its name in mmengine, for curves that were written against it

__all__ = ["INF", "LRSchedulerMixin", "MomentumSchedulerMixin", "ParamScheduler", "SchedulerGroup"]
__all__ += [schedule.name for schedule in bundled_schedules()]
