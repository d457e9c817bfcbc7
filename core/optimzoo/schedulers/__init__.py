"""Schedules of hyperparameters: each curve for the learning rate, the momentum, and any key (``param_name=``)."""

from optimzoo.builtin import CURVES
from optimzoo.schedulers import curves, families
from optimzoo.schedulers.base import INF, ParamScheduler
from optimzoo.schedulers.group import SchedulerGroup

__all__ = ["INF", "ParamScheduler", "SchedulerGroup"]

for _curve in CURVES:
    _class = getattr(curves, f"{_curve}{families.GENERAL}")
    for _derived in (_class, families.derive(_class, families.LR), families.derive(_class, families.MOMENTUM)):
        globals()[_derived.__name__] = _derived
        __all__ += [_derived.__name__]
