"""Schedules of hyperparameters: each curve for the learning rate, the momentum, and any key (``param_name=``)."""

from optimzoo.builtin import CURVES, families_of
from optimzoo.schedulers import curves, families, plateau, sequence
from optimzoo.schedulers.base import ParamScheduler
from optimzoo.schedulers.group import SchedulerGroup
from optimzoo.schedulers.windows import INF

_ParamScheduler = ParamScheduler  # its name in mmengine, for curves that were written against it

__all__ = ["INF", "ParamScheduler", "SchedulerGroup"]

for _curve in CURVES:
    _general = f"{_curve}ParamScheduler"
    _class = next(getattr(module, _general) for module in (curves, plateau, sequence) if hasattr(module, _general))
    for _name in families_of(_curve):
        _derived = families.derive(_class, _name)
        globals()[_derived.__name__] = _derived
        __all__ += [_derived.__name__]
