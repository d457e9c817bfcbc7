"""Schedules of hyperparameters: each curve for the learning rate, the momentum, and any key (``param_name=``)."""

from optimzoo.names.builtin import CURVES, families_of
from optimzoo.schedules import families
from optimzoo.schedules.base import ParamScheduler
from optimzoo.schedules.curves import annealing, factors, heights, one_cycle, plateau, sequence
from optimzoo.schedules.group import SchedulerGroup
from optimzoo.schedules.windows import INF

_ParamScheduler = ParamScheduler  # its name in mmengine, for curves that were written against it

__all__ = ["INF", "ParamScheduler", "SchedulerGroup"]

_found = {
    name: found
    for module in (annealing, factors, heights, one_cycle, plateau, sequence)
    for name, found in vars(module).items()
}

for _curve in CURVES:
    _class = _found[f"{_curve}{families.GENERAL}"]
    for _name in families_of(_curve):
        _derived = families.derive(_class, _name)
        globals()[_derived.__name__] = _derived
        __all__ += [_derived.__name__]
