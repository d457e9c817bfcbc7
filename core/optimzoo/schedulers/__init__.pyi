# Written by `python -m optimzoo.schedulers.stubs`; do not edit.
from collections.abc import Sequence

from torch.optim import Optimizer

from optimzoo.wrappers import BaseOptimWrapper

from .base import INF as INF
from .base import ParamScheduler as ParamScheduler
from .group import SchedulerGroup as SchedulerGroup

__all__: list[str]


class ConstantParamScheduler(ParamScheduler):
    r"""Multiply the value by a constant factor inside the window, and give it back on the window's last step.
    
    ``value[t] = value[0] * factor``  for  ``t < end - begin - 1``
    
    Args:
        factor: The factor, from 0 to 1.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        factor: float = 0.3333333333333333,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class ConstantLR(ParamScheduler):
    r"""Multiply the value by a constant factor inside the window, and give it back on the window's last step.
    
    ``value[t] = value[0] * factor``  for  ``t < end - begin - 1``
    
    Args:
        factor: The factor, from 0 to 1.
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        factor: float = 0.3333333333333333,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class ConstantMomentum(ParamScheduler):
    r"""Multiply the value by a constant factor inside the window, and give it back on the window's last step.
    
    ``value[t] = value[0] * factor``  for  ``t < end - begin - 1``
    
    Args:
        factor: The factor, from 0 to 1.
    
    The value is the momentum (the first of the betas, for optimizers like Adam); see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        factor: float = 0.3333333333333333,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class CosineAnnealingParamScheduler(ParamScheduler):
    r"""Anneal the value to a minimum along half a cosine, and back again if the window is longer than ``T_max``.
    
    ``value[t] = minimum + (value[0] - minimum) * (1 + cos(pi * t / T_max)) / 2``
    
    Args:
        T_max: Steps to the minimum; the window's length by default.
        eta_min: The minimum, 0 by default.
        eta_min_ratio: The minimum as a fraction of each group's initial value, instead of ``eta_min``.
    
    Reference:
        Loshchilov and Hutter, *SGDR*, https://arxiv.org/abs/1608.03983; the annealing, without the restarts.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        T_max: int | None = None,
        eta_min: float | None = None,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        eta_min_ratio: float | None = None,
        by: str | None = None,
    ) -> None: ...


class CosineAnnealingLR(ParamScheduler):
    r"""Anneal the value to a minimum along half a cosine, and back again if the window is longer than ``T_max``.
    
    ``value[t] = minimum + (value[0] - minimum) * (1 + cos(pi * t / T_max)) / 2``
    
    Args:
        T_max: Steps to the minimum; the window's length by default.
        eta_min: The minimum, 0 by default.
        eta_min_ratio: The minimum as a fraction of each group's initial value, instead of ``eta_min``.
    
    Reference:
        Loshchilov and Hutter, *SGDR*, https://arxiv.org/abs/1608.03983; the annealing, without the restarts.
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        T_max: int | None = None,
        eta_min: float | None = None,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        eta_min_ratio: float | None = None,
        by: str | None = None,
    ) -> None: ...


class CosineAnnealingMomentum(ParamScheduler):
    r"""Anneal the value to a minimum along half a cosine, and back again if the window is longer than ``T_max``.
    
    ``value[t] = minimum + (value[0] - minimum) * (1 + cos(pi * t / T_max)) / 2``
    
    Args:
        T_max: Steps to the minimum; the window's length by default.
        eta_min: The minimum, 0 by default.
        eta_min_ratio: The minimum as a fraction of each group's initial value, instead of ``eta_min``.
    
    Reference:
        Loshchilov and Hutter, *SGDR*, https://arxiv.org/abs/1608.03983; the annealing, without the restarts.
    
    The value is the momentum (the first of the betas, for optimizers like Adam); see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        T_max: int | None = None,
        eta_min: float | None = None,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        eta_min_ratio: float | None = None,
        by: str | None = None,
    ) -> None: ...


class LinearParamScheduler(ParamScheduler):
    r"""Multiply the value by a factor that goes linearly from ``start_factor`` to ``end_factor`` over the window.
    
    ``value[t] = value[0] * (start_factor + (end_factor - start_factor) * t / (end - begin - 1))``
    
    Args:
        start_factor: The factor on the first step, from 0 to 1.
        end_factor: The factor on the last step, from 0 to 1.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        start_factor: float = 0.3333333333333333,
        end_factor: float = 1.0,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class LinearLR(ParamScheduler):
    r"""Multiply the value by a factor that goes linearly from ``start_factor`` to ``end_factor`` over the window.
    
    ``value[t] = value[0] * (start_factor + (end_factor - start_factor) * t / (end - begin - 1))``
    
    Args:
        start_factor: The factor on the first step, from 0 to 1.
        end_factor: The factor on the last step, from 0 to 1.
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        start_factor: float = 0.3333333333333333,
        end_factor: float = 1.0,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class LinearMomentum(ParamScheduler):
    r"""Multiply the value by a factor that goes linearly from ``start_factor`` to ``end_factor`` over the window.
    
    ``value[t] = value[0] * (start_factor + (end_factor - start_factor) * t / (end - begin - 1))``
    
    Args:
        start_factor: The factor on the first step, from 0 to 1.
        end_factor: The factor on the last step, from 0 to 1.
    
    The value is the momentum (the first of the betas, for optimizers like Adam); see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        start_factor: float = 0.3333333333333333,
        end_factor: float = 1.0,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class MultiStepParamScheduler(ParamScheduler):
    r"""Multiply the value by ``gamma`` at each milestone.
    
    ``value[t] = value[0] * gamma ** (number of milestones up to t)``
    
    Args:
        milestones: Steps of the window; one that is listed twice counts twice.
        gamma: The factor.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        milestones: Sequence[int],
        gamma: float = 0.1,
        last_step: int = -1,
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class MultiStepLR(ParamScheduler):
    r"""Multiply the value by ``gamma`` at each milestone.
    
    ``value[t] = value[0] * gamma ** (number of milestones up to t)``
    
    Args:
        milestones: Steps of the window; one that is listed twice counts twice.
        gamma: The factor.
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        milestones: Sequence[int],
        gamma: float = 0.1,
        last_step: int = -1,
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class MultiStepMomentum(ParamScheduler):
    r"""Multiply the value by ``gamma`` at each milestone.
    
    ``value[t] = value[0] * gamma ** (number of milestones up to t)``
    
    Args:
        milestones: Steps of the window; one that is listed twice counts twice.
        gamma: The factor.
    
    The value is the momentum (the first of the betas, for optimizers like Adam); see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        milestones: Sequence[int],
        gamma: float = 0.1,
        last_step: int = -1,
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...
