"""Schedules of hyperparameters: each curve for the learning rate, the momentum, and any key (``param_name=``)."""

from optimzoo.builtin import CURVES, families_of
from optimzoo.schedulers import families
from optimzoo.schedulers.base import ParamScheduler
from optimzoo.schedulers.curves import annealing, factors, heights, one_cycle, plateau, sequence
from optimzoo.schedulers.group import SchedulerGroup
from optimzoo.schedulers.windows import INF

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
