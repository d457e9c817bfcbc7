# Written by `python -m optimzoo.schedules.stubs`; do not edit.
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from optimzoo.wrappers import BaseOptimWrapper

from .base import ParamScheduler as ParamScheduler
from .group import SchedulerGroup as SchedulerGroup
from .windows import INF as INF

_ParamScheduler = ParamScheduler

__all__: list[str]


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


class CosineRestartLR(ParamScheduler):
    r"""Anneal each group's initial value along half a cosine, once per period, each beginning anew.
    
    ``value[t] = minimum + (weight * initial - minimum) * (1 + cos(pi * t / period)) / 2``  with ``t`` counted from the
    begin of the period; after the last period the value stays.
    
    Args:
        periods: Steps of each period.
        restart_weights: The factor of the initial value at the begin of each period; 1 by default.
        eta_min: The minimum, 0 by default.
        eta_min_ratio: The minimum as a fraction of each group's initial value, instead of ``eta_min``.
    
    Reference:
        Loshchilov and Hutter, *SGDR*, https://arxiv.org/abs/1608.03983.
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        periods: Sequence[int],
        restart_weights: Sequence[float] | None = None,
        eta_min: float | None = None,
        eta_min_ratio: float | None = None,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class CosineRestartMomentum(ParamScheduler):
    r"""Anneal each group's initial value along half a cosine, once per period, each beginning anew.
    
    ``value[t] = minimum + (weight * initial - minimum) * (1 + cos(pi * t / period)) / 2``  with ``t`` counted from the
    begin of the period; after the last period the value stays.
    
    Args:
        periods: Steps of each period.
        restart_weights: The factor of the initial value at the begin of each period; 1 by default.
        eta_min: The minimum, 0 by default.
        eta_min_ratio: The minimum as a fraction of each group's initial value, instead of ``eta_min``.
    
    Reference:
        Loshchilov and Hutter, *SGDR*, https://arxiv.org/abs/1608.03983.
    
    The value is the momentum (the first of the betas, for optimizers like Adam); see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        periods: Sequence[int],
        restart_weights: Sequence[float] | None = None,
        eta_min: float | None = None,
        eta_min_ratio: float | None = None,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class CosineRestartParamScheduler(ParamScheduler):
    r"""Anneal each group's initial value along half a cosine, once per period, each beginning anew.
    
    ``value[t] = minimum + (weight * initial - minimum) * (1 + cos(pi * t / period)) / 2``  with ``t`` counted from the
    begin of the period; after the last period the value stays.
    
    Args:
        periods: Steps of each period.
        restart_weights: The factor of the initial value at the begin of each period; 1 by default.
        eta_min: The minimum, 0 by default.
        eta_min_ratio: The minimum as a fraction of each group's initial value, instead of ``eta_min``.
    
    Reference:
        Loshchilov and Hutter, *SGDR*, https://arxiv.org/abs/1608.03983.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        periods: Sequence[int],
        restart_weights: Sequence[float] | None = None,
        eta_min: float | None = None,
        eta_min_ratio: float | None = None,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class ExponentialLR(ParamScheduler):
    r"""Multiply the value by ``gamma`` on every step.
    
    ``value[t] = value[0] * gamma ** t``
    
    Args:
        gamma: The factor.
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        gamma: float,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class ExponentialMomentum(ParamScheduler):
    r"""Multiply the value by ``gamma`` on every step.
    
    ``value[t] = value[0] * gamma ** t``
    
    Args:
        gamma: The factor.
    
    The value is the momentum (the first of the betas, for optimizers like Adam); see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        gamma: float,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class ExponentialParamScheduler(ParamScheduler):
    r"""Multiply the value by ``gamma`` on every step.
    
    ``value[t] = value[0] * gamma ** t``
    
    Args:
        gamma: The factor.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        gamma: float,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class InverseSqrtLR(ParamScheduler):
    r"""Raise the value linearly for some steps, then let it fall with the square root of the step.
    
    ``value[t] = value[0] * min((t + 1) / warmup, sqrt(warmup / (t + 1)))``
    
    Args:
        warmup: Steps until the value is reached; at least 1.
    
    Reference:
        Vaswani et al., *Attention Is All You Need*, https://arxiv.org/abs/1706.03762, section 5.3; there the value
        reached is ``(d_model * warmup) ** -0.5``.
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        warmup: int,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class InverseSqrtMomentum(ParamScheduler):
    r"""Raise the value linearly for some steps, then let it fall with the square root of the step.
    
    ``value[t] = value[0] * min((t + 1) / warmup, sqrt(warmup / (t + 1)))``
    
    Args:
        warmup: Steps until the value is reached; at least 1.
    
    Reference:
        Vaswani et al., *Attention Is All You Need*, https://arxiv.org/abs/1706.03762, section 5.3; there the value
        reached is ``(d_model * warmup) ** -0.5``.
    
    The value is the momentum (the first of the betas, for optimizers like Adam); see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        warmup: int,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class InverseSqrtParamScheduler(ParamScheduler):
    r"""Raise the value linearly for some steps, then let it fall with the square root of the step.
    
    ``value[t] = value[0] * min((t + 1) / warmup, sqrt(warmup / (t + 1)))``
    
    Args:
        warmup: Steps until the value is reached; at least 1.
    
    Reference:
        Vaswani et al., *Attention Is All You Need*, https://arxiv.org/abs/1706.03762, section 5.3; there the value
        reached is ``(d_model * warmup) ** -0.5``.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        warmup: int,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class LambdaLR(ParamScheduler):
    r"""Multiply the value by a function of the step.
    
    ``value[t] = value[0] * function(t)``
    
    Args:
        function: Takes the step of the window, 0 being the first, and returns the factor. It is not part of the state:
            a resumed run uses the function it is given.
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        function: Callable[[int], float],
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class LambdaMomentum(ParamScheduler):
    r"""Multiply the value by a function of the step.
    
    ``value[t] = value[0] * function(t)``
    
    Args:
        function: Takes the step of the window, 0 being the first, and returns the factor. It is not part of the state:
            a resumed run uses the function it is given.
    
    The value is the momentum (the first of the betas, for optimizers like Adam); see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        function: Callable[[int], float],
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class LambdaParamScheduler(ParamScheduler):
    r"""Multiply the value by a function of the step.
    
    ``value[t] = value[0] * function(t)``
    
    Args:
        function: Takes the step of the window, 0 being the first, and returns the factor. It is not part of the state:
            a resumed run uses the function it is given.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        function: Callable[[int], float],
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


class OneCycleLR(ParamScheduler):
    r"""Raise the value to a peak and let it fall far below where it began (the 1cycle policy).
    
    Over ``total_steps`` steps the value goes from ``eta_max / div_factor`` to ``eta_max``, and on to
    ``eta_max / div_factor / final_div_factor``. It sets the value, whatever other schedules of the key do.
    
    Args:
        eta_max: The peak, for all groups or one for each (the last is for groups that are added later too); by default
            each group's own value.
        total_steps: The length; the window's by default.
        pct_start: The fraction of the steps, from 0 to 1, in which the value rises.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        div_factor: What the peak is divided by at the beginning.
        final_div_factor: What the first value is divided by at the end.
        three_phase: Whether the value falls to where it began in as many steps as it rose, before it falls further.
    
    Reference:
        Smith and Topin, *Super-Convergence*, https://arxiv.org/abs/1708.07120.
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        eta_max: float | Sequence[float] | None = None,
        total_steps: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = 'cos',
        div_factor: float = 25.0,
        final_div_factor: float = 10000.0,
        three_phase: bool = False,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class OneCycleParamScheduler(ParamScheduler):
    r"""Raise the value to a peak and let it fall far below where it began (the 1cycle policy).
    
    Over ``total_steps`` steps the value goes from ``eta_max / div_factor`` to ``eta_max``, and on to
    ``eta_max / div_factor / final_div_factor``. It sets the value, whatever other schedules of the key do.
    
    Args:
        eta_max: The peak, for all groups or one for each (the last is for groups that are added later too); by default
            each group's own value.
        total_steps: The length; the window's by default.
        pct_start: The fraction of the steps, from 0 to 1, in which the value rises.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        div_factor: What the peak is divided by at the beginning.
        final_div_factor: What the first value is divided by at the end.
        three_phase: Whether the value falls to where it began in as many steps as it rose, before it falls further.
    
    Reference:
        Smith and Topin, *Super-Convergence*, https://arxiv.org/abs/1708.07120.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        eta_max: float | Sequence[float] | None = None,
        total_steps: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = 'cos',
        div_factor: float = 25.0,
        final_div_factor: float = 10000.0,
        three_phase: bool = False,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class PolyLR(ParamScheduler):
    r"""Let the value fall to a minimum as a power of the steps that are left.
    
    ``value[t] = minimum + (value[0] - minimum) * (1 - t / (end - begin - 1)) ** power``
    
    Args:
        eta_min: The minimum, reached on the last step of the window, which must have an end.
        power: The power.
        eta_min_ratio: The minimum as a fraction of each group's initial value, instead of ``eta_min``.
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        eta_min: float = 0,
        power: float = 1.0,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        eta_min_ratio: float | None = None,
        by: str | None = None,
    ) -> None: ...


class PolyMomentum(ParamScheduler):
    r"""Let the value fall to a minimum as a power of the steps that are left.
    
    ``value[t] = minimum + (value[0] - minimum) * (1 - t / (end - begin - 1)) ** power``
    
    Args:
        eta_min: The minimum, reached on the last step of the window, which must have an end.
        power: The power.
        eta_min_ratio: The minimum as a fraction of each group's initial value, instead of ``eta_min``.
    
    The value is the momentum (the first of the betas, for optimizers like Adam); see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        eta_min: float = 0,
        power: float = 1.0,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        eta_min_ratio: float | None = None,
        by: str | None = None,
    ) -> None: ...


class PolyParamScheduler(ParamScheduler):
    r"""Let the value fall to a minimum as a power of the steps that are left.
    
    ``value[t] = minimum + (value[0] - minimum) * (1 - t / (end - begin - 1)) ** power``
    
    Args:
        eta_min: The minimum, reached on the last step of the window, which must have an end.
        power: The power.
        eta_min_ratio: The minimum as a fraction of each group's initial value, instead of ``eta_min``.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        eta_min: float = 0,
        power: float = 1.0,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        eta_min_ratio: float | None = None,
        by: str | None = None,
    ) -> None: ...


class QuadraticWarmupLR(ParamScheduler):
    r"""Raise the value along a parabola from nearly zero, and reach it on the last step of the window.
    
    ``value[t] = value[0] * ((t + 1) / (end - begin)) ** 2``
    
    The warm-up of YOLOX. The window must have an end.
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class QuadraticWarmupMomentum(ParamScheduler):
    r"""Raise the value along a parabola from nearly zero, and reach it on the last step of the window.
    
    ``value[t] = value[0] * ((t + 1) / (end - begin)) ** 2``
    
    The warm-up of YOLOX. The window must have an end.
    
    The value is the momentum (the first of the betas, for optimizers like Adam); see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class QuadraticWarmupParamScheduler(ParamScheduler):
    r"""Raise the value along a parabola from nearly zero, and reach it on the last step of the window.
    
    ``value[t] = value[0] * ((t + 1) / (end - begin)) ** 2``
    
    The warm-up of YOLOX. The window must have an end.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class ReduceOnPlateauLR(ParamScheduler):
    r"""Multiply the value by ``factor`` when a metric has not improved for more than ``patience`` validations.
    
    Args:
        monitor: The name of the metric.
        rule: ``"less"`` if a smaller metric is better, ``"greater"`` if a larger one is.
        factor: The factor, from 0 to below 1.
        patience: Validations without improvement that are let pass.
        threshold: By how much a metric must be better than the best to count as an improvement.
        threshold_rule: ``"rel"`` for a threshold that is a fraction of the best, ``"abs"`` for the difference.
        cooldown: Validations after a reduction that are not counted.
        min_value: The least value, for all groups or one for each (the last is for groups that are added later too).
        eps: A change of at most this is not made.
        begin: The step from which on validations count.
        end: The step from which on they no longer do.
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        monitor: str = 'loss',
        rule: str = 'less',
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 0.0001,
        threshold_rule: str = 'rel',
        cooldown: int = 0,
        min_value: float | Sequence[float] = 0.0,
        eps: float = 1e-08,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class ReduceOnPlateauMomentum(ParamScheduler):
    r"""Multiply the value by ``factor`` when a metric has not improved for more than ``patience`` validations.
    
    Args:
        monitor: The name of the metric.
        rule: ``"less"`` if a smaller metric is better, ``"greater"`` if a larger one is.
        factor: The factor, from 0 to below 1.
        patience: Validations without improvement that are let pass.
        threshold: By how much a metric must be better than the best to count as an improvement.
        threshold_rule: ``"rel"`` for a threshold that is a fraction of the best, ``"abs"`` for the difference.
        cooldown: Validations after a reduction that are not counted.
        min_value: The least value, for all groups or one for each (the last is for groups that are added later too).
        eps: A change of at most this is not made.
        begin: The step from which on validations count.
        end: The step from which on they no longer do.
    
    The value is the momentum (the first of the betas, for optimizers like Adam); see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        monitor: str = 'loss',
        rule: str = 'less',
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 0.0001,
        threshold_rule: str = 'rel',
        cooldown: int = 0,
        min_value: float | Sequence[float] = 0.0,
        eps: float = 1e-08,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class ReduceOnPlateauParamScheduler(ParamScheduler):
    r"""Multiply the value by ``factor`` when a metric has not improved for more than ``patience`` validations.
    
    Args:
        monitor: The name of the metric.
        rule: ``"less"`` if a smaller metric is better, ``"greater"`` if a larger one is.
        factor: The factor, from 0 to below 1.
        patience: Validations without improvement that are let pass.
        threshold: By how much a metric must be better than the best to count as an improvement.
        threshold_rule: ``"rel"`` for a threshold that is a fraction of the best, ``"abs"`` for the difference.
        cooldown: Validations after a reduction that are not counted.
        min_value: The least value, for all groups or one for each (the last is for groups that are added later too).
        eps: A change of at most this is not made.
        begin: The step from which on validations count.
        end: The step from which on they no longer do.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        monitor: str = 'loss',
        rule: str = 'less',
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 0.0001,
        threshold_rule: str = 'rel',
        cooldown: int = 0,
        min_value: float | Sequence[float] = 0.0,
        eps: float = 1e-08,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class SequenceLR(ParamScheduler):
    r"""Run curves one after another; each begins with the value that the one before it left.
    
    Args:
        curves: For each, a dict with ``type``, the name of a curve such as ``"Linear"``, its length as ``steps``, and
            its arguments. The last may leave out ``steps``: it goes on to ``end``.
    
    Example:
        >>> import torch
        >>> from optimzoo.schedules import SequenceLR
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> schedule = SequenceLR(
        ...     optimizer, [dict(type="Linear", start_factor=0.5, steps=3), dict(type="Exponential", gamma=0.5)])
        >>> for _ in range(6):
        ...     print(optimizer.param_groups[0]["lr"])
        ...     optimizer.step(), schedule.step()  # doctest: +ELLIPSIS
        0.5
        ...
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        curves: Sequence[Mapping[str, Any]],
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class SequenceMomentum(ParamScheduler):
    r"""Run curves one after another; each begins with the value that the one before it left.
    
    Args:
        curves: For each, a dict with ``type``, the name of a curve such as ``"Linear"``, its length as ``steps``, and
            its arguments. The last may leave out ``steps``: it goes on to ``end``.
    
    Example:
        >>> import torch
        >>> from optimzoo.schedules import SequenceLR
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> schedule = SequenceLR(
        ...     optimizer, [dict(type="Linear", start_factor=0.5, steps=3), dict(type="Exponential", gamma=0.5)])
        >>> for _ in range(6):
        ...     print(optimizer.param_groups[0]["lr"])
        ...     optimizer.step(), schedule.step()  # doctest: +ELLIPSIS
        0.5
        ...
    
    The value is the momentum (the first of the betas, for optimizers like Adam); see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        curves: Sequence[Mapping[str, Any]],
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class SequenceParamScheduler(ParamScheduler):
    r"""Run curves one after another; each begins with the value that the one before it left.
    
    Args:
        curves: For each, a dict with ``type``, the name of a curve such as ``"Linear"``, its length as ``steps``, and
            its arguments. The last may leave out ``steps``: it goes on to ``end``.
    
    Example:
        >>> import torch
        >>> from optimzoo.schedules import SequenceLR
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> schedule = SequenceLR(
        ...     optimizer, [dict(type="Linear", start_factor=0.5, steps=3), dict(type="Exponential", gamma=0.5)])
        >>> for _ in range(6):
        ...     print(optimizer.param_groups[0]["lr"])
        ...     optimizer.step(), schedule.step()  # doctest: +ELLIPSIS
        0.5
        ...
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        curves: Sequence[Mapping[str, Any]],
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class StepLR(ParamScheduler):
    r"""Multiply the value by ``gamma`` every ``step_size`` steps.
    
    ``value[t] = value[0] * gamma ** (t // step_size)``
    
    Args:
        step_size: Steps from one change to the next; at least 1.
        gamma: The factor.
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        step_size: int,
        gamma: float = 0.1,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class StepMomentum(ParamScheduler):
    r"""Multiply the value by ``gamma`` every ``step_size`` steps.
    
    ``value[t] = value[0] * gamma ** (t // step_size)``
    
    Args:
        step_size: Steps from one change to the next; at least 1.
        gamma: The factor.
    
    The value is the momentum (the first of the betas, for optimizers like Adam); see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        step_size: int,
        gamma: float = 0.1,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class StepParamScheduler(ParamScheduler):
    r"""Multiply the value by ``gamma`` every ``step_size`` steps.
    
    ``value[t] = value[0] * gamma ** (t // step_size)``
    
    Args:
        step_size: Steps from one change to the next; at least 1.
        gamma: The factor.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        step_size: int,
        gamma: float = 0.1,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class WSDLR(ParamScheduler):
    r"""Warm up linearly, stay, and decay over the last steps of the window (warm-up, stable, decay).
    
    ``value[t] = value[0] * (t + 1) / warmup``  for  ``t < warmup``, and, with
    ``p = (t + 1 - (end - begin - decay)) / decay``,
    ``value[t] = value[0] * (end_factor + (1 - end_factor) * shape(p))``  for  ``0 < p <= 1``
    
    Args:
        decay: Steps of the decay, the last of the window, which must have an end.
        warmup: Steps of the warm-up; 0 for none.
        end_factor: The factor on the last step, from 0 to 1.
        shape: ``"linear"`` is ``1 - p``, ``"cosine"`` is ``(1 + cos(pi * p)) / 2``, ``"sqrt"`` is ``1 - sqrt(p)``.
    
    Reference:
        Hu et al., *MiniCPM*, https://arxiv.org/abs/2404.06395; Haegele et al., *Scaling Laws and Compute-Optimal
        Training Beyond Fixed Training Durations*, https://arxiv.org/abs/2405.18392, for the square root.
    
    The value is the learning rate; see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        decay: int,
        warmup: int = 0,
        end_factor: float = 0.0,
        shape: str = 'linear',
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class WSDMomentum(ParamScheduler):
    r"""Warm up linearly, stay, and decay over the last steps of the window (warm-up, stable, decay).
    
    ``value[t] = value[0] * (t + 1) / warmup``  for  ``t < warmup``, and, with
    ``p = (t + 1 - (end - begin - decay)) / decay``,
    ``value[t] = value[0] * (end_factor + (1 - end_factor) * shape(p))``  for  ``0 < p <= 1``
    
    Args:
        decay: Steps of the decay, the last of the window, which must have an end.
        warmup: Steps of the warm-up; 0 for none.
        end_factor: The factor on the last step, from 0 to 1.
        shape: ``"linear"`` is ``1 - p``, ``"cosine"`` is ``(1 + cos(pi * p)) / 2``, ``"sqrt"`` is ``1 - sqrt(p)``.
    
    Reference:
        Hu et al., *MiniCPM*, https://arxiv.org/abs/2404.06395; Haegele et al., *Scaling Laws and Compute-Optimal
        Training Beyond Fixed Training Durations*, https://arxiv.org/abs/2405.18392, for the square root.
    
    The value is the momentum (the first of the betas, for optimizers like Adam); see ParamScheduler for the other arguments.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        decay: int,
        warmup: int = 0,
        end_factor: float = 0.0,
        shape: str = 'linear',
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...


class WSDParamScheduler(ParamScheduler):
    r"""Warm up linearly, stay, and decay over the last steps of the window (warm-up, stable, decay).
    
    ``value[t] = value[0] * (t + 1) / warmup``  for  ``t < warmup``, and, with
    ``p = (t + 1 - (end - begin - decay)) / decay``,
    ``value[t] = value[0] * (end_factor + (1 - end_factor) * shape(p))``  for  ``0 < p <= 1``
    
    Args:
        decay: Steps of the decay, the last of the window, which must have an end.
        warmup: Steps of the warm-up; 0 for none.
        end_factor: The factor on the last step, from 0 to 1.
        shape: ``"linear"`` is ``1 - p``, ``"cosine"`` is ``(1 + cos(pi * p)) / 2``, ``"sqrt"`` is ``1 - sqrt(p)``.
    
    Reference:
        Hu et al., *MiniCPM*, https://arxiv.org/abs/2404.06395; Haegele et al., *Scaling Laws and Compute-Optimal
        Training Beyond Fixed Training Durations*, https://arxiv.org/abs/2405.18392, for the square root.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        decay: int,
        warmup: int = 0,
        end_factor: float = 0.0,
        shape: str = 'linear',
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        by: str | None = None,
    ) -> None: ...
