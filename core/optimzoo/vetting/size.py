"""How far one update moves a matrix of the size that networks have."""

from __future__ import annotations

from typing import Any

from optimzoo import calls
from optimzoo.errors import ConfigError
from optimzoo.names.zoo import OPTIMIZERS
from optimzoo.values import number
from optimzoo.vetting.child import ChildError, in_child
from optimzoo.vetting.learning import without_decay
from optimzoo.vetting.trial import AGAIN, Slope
from optimzoo.vetting.way import way_of

MATRIX = (1024, 1024)
LR = 0.01


def step_size(target: Any, *, seconds: float = 120.0, **kwargs: Any) -> tuple[float, dict[str, Any]]:
    """Return the root mean square of the first update that moves a matrix of 1024 x 1024, and with which arguments.

    Weights and gradients are of size 1, and nothing decays.

    Args:
        target: A registered name, ``package.module:Class``, or the class.
        seconds: When to give up.
        **kwargs: Arguments of the optimizer; ``lr`` is 0.01 if it takes one.

    Raises:
        ConfigError: There is no such name or argument, it cannot be driven, or the time is up.

    Example:
        >>> from optimzoo.vetting.size import step_size
        >>> size, given = step_size("AdamW")
        >>> round(size, 6), given
        (0.01, {'lr': 0.01})
    """
    cls, name = OPTIMIZERS.get(target), target if isinstance(target, str) else target.__qualname__
    signature = calls.parameters(cls)
    kwargs = ({"lr": LR} if "lr" in signature else {}) | kwargs
    required = tuple(n for n, p in signature.items() if p.default is p.empty and n not in kwargs)
    given = dict(calls.read(cls, kwargs, given=required, label=name, ranged=True).kwargs)
    try:
        size: float = in_child(_measured, cls, given, seconds=number(seconds, "seconds", 0))
    except ChildError as error:
        raise ConfigError(f"the step of {name} cannot be measured: {error}") from error
    return size, given


def _measured(cls: Any, kwargs: dict[str, Any]) -> float:
    way = way_of(cls, kwargs)
    trial = Slope(way, (MATRIX,), **without_decay(way))
    sizes = (float(trial.move(k).square().mean().sqrt()) for k in range(AGAIN))
    return next((size for size in sizes if size), 0.0)
