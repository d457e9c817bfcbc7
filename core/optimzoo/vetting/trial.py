"""The bench: parameters drawn to points that move with each update, an optimizer over them, one update at a time."""

from __future__ import annotations

import contextlib
import inspect
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from optimzoo.flat.layouts import ROWS, course

Shapes = Sequence[tuple[int, ...]]
Split = bool | Sequence[dict[str, Any]]

AGAIN = 12
"""Updates after which every method has begun to move: some hold still in their first ones."""
MATRIX = (64, 64)
TWO = (MATRIX, MATRIX)
DRIVES = ("step", "closure", "graph", "returned", "loss", "context")
"""The ways to make an update: ``step()``, with a closure, after a backward pass that keeps its graph, with a closure
that returns the loss only, with the loss, after a backward pass inside a context that the optimizer gives."""


@dataclass(frozen=True)
class Way:
    """How a class is built and driven.

    Args:
        cls: The class.
        kwargs: The arguments that the user gives, and values for required ones; ``"@model"`` stands for what is made
            of the parameters, as ``handed`` does, and ``"@inner_class"`` for a class to put inside.
        handed: What it is built over: ``params``, ``named`` pairs, ``groups``, the ``model``, an ``inner`` optimizer.
        drive: One of ``DRIVES``.
        shapes: The parameters to try: a matrix of 4096 elements (8-bit states begin there) and a vector, if it can.
        dtype: The dtype of the parameters.
        sparse: Whether the gradients are sparse.
        context: The method that returns the context, and its arguments.
        keys: Keys that each group must have.
        processes: Whether it wants a process group; it gets one of a single process.
    """

    cls: Any
    kwargs: dict[str, Any] = field(default_factory=dict)
    handed: str = "params"
    drive: str = "step"
    shapes: Shapes = (MATRIX, (64,))
    dtype: torch.dtype = torch.float32
    sparse: bool = False
    context: tuple[str, dict[str, Any]] = ("", {})
    keys: dict[str, Any] = field(default_factory=dict)
    processes: bool = False

    @property
    def signature(self) -> dict[str, inspect.Parameter]:
        """The arguments of the constructor, by name."""
        return dict(inspect.signature(self.cls).parameters)

    def setting(self, name: str) -> Any:
        """Return the argument's value here: the one given, or the default; None where there is none."""
        default = self.signature[name].default if name in self.signature else None
        return self.kwargs.get(name, None if default is inspect.Parameter.empty else default)

    @property
    def busy(self) -> dict[str, Any]:
        """The arguments that give it a momentum, if it can have one but does not by itself."""
        return {"momentum": 0.9} if self.setting("momentum") == 0 and "momentum" not in self.kwargs else {}

    @property
    def decaying(self) -> dict[str, Any]:
        """Those, and a decay: so that every argument has something to do."""
        return self.busy | ({"weight_decay": 0.1} if isinstance(self.setting("weight_decay"), (int, float)) else {})

    @property
    def loop(self) -> dict[str, Any]:
        """The arguments that have it step parameter by parameter."""
        return {"foreach": False} if "foreach" in self.kernels else {}

    @property
    def kernels(self) -> dict[str, dict[str, Any]]:
        """The arguments of each kind of step that the class names."""
        named = [name for name in ("foreach", "fused") if name in self.signature]
        return {name: {name: True} for name in named if not {"foreach", "fused"} & self.kwargs.keys()}

    def build(self, params: Sequence[Tensor], split: Split = False, **settings: Any) -> Any:
        """Return the optimizer over ``params``: in one group, or in one for each parameter, with keys of its own."""
        if self.processes and not dist.is_initialized():
            dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
        weights: list[Any] = list(params)
        own = [{}] * len(weights) if split is True else split or ()
        groups = [{"params": [weight], **self.keys, **more} for weight, more in zip(weights, own)]
        made: dict[str, Callable[[], Any]] = {
            "@params": lambda: weights,
            "@named": lambda: [(f"w{index}", weight) for index, weight in enumerate(weights)],
            "@groups": lambda: [{"params": weights, **self.keys}],
            "@model": lambda: nn.ParameterList(weight for weight in weights if isinstance(weight, nn.Parameter)),
            "@inner": lambda: torch.optim.SGD(groups or weights, lr=0.01),
            "@inner_class": lambda: torch.optim.SGD,
        }
        kwargs = {k: made[v]() if isinstance(v, str) and v in made else v for k, v in (self.kwargs | settings).items()}
        first = groups if groups and self.handed != "inner" else made[f"@{self.handed}"]()
        optimizer = self.cls(first, **kwargs)
        if callable(getattr(optimizer, "train", None)):
            optimizer.train()
        return optimizer


class Trial:
    """Parameters and an optimizer over them, the same at every start.

    In update ``k`` each parameter is pulled to a point that depends on ``k`` alone, by half the squared distance: its
    gradient is the distance. So do the global random numbers. The numbers of several parameters are consecutive parts
    of one list.

    Args:
        way: How the optimizer is built and driven.
        shapes: The shapes of the parameters; those of ``way`` by default.
        split: One group for each parameter, perhaps with keys of its own.
        dtype: Their dtype; that of ``way`` by default.
        size: What the parameters are multiplied by.
        tile: Repeat the first ``tile`` numbers of the list.
        weights: The parameters, instead of new ones.
        **settings: Further arguments of the optimizer.
    """

    def __init__(
        self,
        way: Way,
        shapes: Shapes = (),
        split: Split = False,
        dtype: torch.dtype | None = None,
        size: float = 1.0,
        tile: int = 0,
        weights: Sequence[Tensor] = (),
        **settings: Any,
    ) -> None:
        self.way, self.tile, self.dtype = way, tile, dtype or way.dtype
        self.weights = list(weights) or [nn.Parameter(w * size) for w in self.numbers(0, shapes or way.shapes)]
        self.optimizer = way.build(self.weights, split, **settings)

    def numbers(self, seed: int, shapes: Any) -> list[Tensor]:
        """Return tensors of the ``shapes``, filled with one list of random numbers."""
        counts = [math.prod(shape) for shape in shapes]
        parts = torch.split(self.drawn(seed, sum(counts)), counts)
        return [part.reshape(shape).to(self.dtype) for part, shape in zip(parts, shapes)]

    def drawn(self, seed: int, count: int) -> Tensor:
        """Return a list of random numbers."""
        generator = torch.Generator().manual_seed(seed)
        flat = torch.randn(self.tile or count, generator=generator, dtype=torch.float64)
        return flat.repeat(-(-count // self.tile))[:count] if self.tile else flat

    def loss(self, k: int, scale: float = 1.0, without: Sequence[int] = ()) -> Tensor:
        """Return half the squared distance, of the parameters that are not left out, times ``scale``."""
        total = torch.zeros((), dtype=torch.float64)
        points = self.numbers(k + 1, [w.shape for w in self.weights])
        for index, (weight, point) in enumerate(zip(self.weights, points)):
            if self.way.sparse:
                rows = torch.arange(0, len(weight), 2)
                weight, point = nn.functional.embedding(rows, weight, sparse=True), point[rows]
            if index not in without:
                total = total + (scale * self.pull(weight, point)).sum()
        return total

    def pull(self, weight: Tensor, point: Tensor) -> Tensor:
        """Return what each number adds to the loss."""
        return (weight - point).abs().square() / 2

    def backward(self, k: int, scale: float = 1.0, without: Sequence[int] = ()) -> Tensor:
        """Set the gradients of update ``k``, and return its loss."""
        for weight in self.weights:
            weight.grad = None
        loss = self.loss(k, scale, without)
        torch.autograd.backward(loss, create_graph=self.way.drive == "graph")
        return loss

    def update(self, k: int, scale: float = 1.0, without: Sequence[int] = ()) -> None:
        """Make update ``k`` with gradients that are multiplied by ``scale``; ``without`` some of the parameters."""
        torch.manual_seed(k), random.seed(k), np.random.seed(k)
        drive = self.way.drive
        if drive == "closure":
            self.backward(k, scale, without)  # some begin with the gradients that are there
            self.optimizer.step(lambda: self.backward(k, scale, without))
            return
        name, kwargs = self.way.context
        with getattr(self.optimizer, name)(**kwargs) if name else contextlib.nullcontext():
            loss = self.backward(k, scale, without)
        self.optimizer.step(*{"loss": (loss,), "returned": (lambda: loss,)}.get(drive, ()))

    def run(self, count: int, first: int = 0, **how: Any) -> Trial:
        """Make ``count`` updates, from update ``first`` on, each as ``update`` is told."""
        for k in range(first, first + count):
            self.update(k, **how)
        return self

    def move(self, first: int, count: int = 1, **how: Any) -> Tensor:
        """Make update ``first``, or ``count`` updates from it on, and return how far each number moved."""
        before = self.values()
        return self.run(count, first, **how).values() - before

    def values(self) -> Tensor:
        """Return a copy of all parameters as one list of numbers in double precision."""
        flat = [w.detach().flatten() for w in self.weights]
        return torch.cat([torch.view_as_real(w).flatten() if w.is_complex() else w for w in flat]).double()

    def finite(self) -> bool:
        """Whether every number is finite and not huge."""
        return bool((self.values().abs() < 1e5).all())  # false of NaN too

    def multiply_lr(self, factor: float) -> None:
        """Multiply the learning rate of every group, as a schedule does; a tensor in place, once for all groups."""
        done: set[int] = set()
        for group in self.optimizer.param_groups:
            lr = group["lr"]
            if not isinstance(lr, Tensor):
                group["lr"] = lr * factor
            elif id(lr) not in done:
                done.add(id(lr))
                lr.mul_(factor)

    @property
    def lr(self) -> float:
        """The learning rate of the first group; 0 if it has none that is a number."""
        lr = self.optimizer.param_groups[0].get("lr")
        return float(lr) if isinstance(lr, (int, float, Tensor)) else 0.0


class Slope(Trial):
    """One whose gradients do not depend on where the parameters are: nothing can diverge."""

    def pull(self, weight: Tensor, point: Tensor) -> Tensor:
        """Return what each number adds to the loss."""
        return -weight * point


class Even(Trial):
    """One whose gradients are all 1 or -1."""

    def pull(self, weight: Tensor, point: Tensor) -> Tensor:
        """Return what each number adds to the loss."""
        return -weight * torch.where(point < 0, -1.0, 1.0)


class Steep(Trial):
    """One whose points are 1 or more from 0, so that small parameters have no small gradients."""

    def pull(self, weight: Tensor, point: Tensor) -> Tensor:
        """Return what each number adds to the loss."""
        return super().pull(weight, point + point.sign())


class Bent(Trial):
    """One where each number of a parameter acts on the next: what estimates second derivatives needs its samples."""

    def pull(self, weight: Tensor, point: Tensor) -> Tensor:
        """Return what each number adds to the loss."""
        return super().pull(weight, point) + 0.05 * weight * weight.roll(1)


class Course(Trial):
    """One that makes the updates of a trial of flat steps: its first gradients are those, and the others near them.

    There are more of them, so that a step size matters that doubles in each update from 1e-6 on.
    """

    UPDATES = 40

    def drawn(self, seed: int, count: int) -> Tensor:
        """Return the numbers, or in an update the points whose distance to them is its gradient."""
        numbers = course(count // sum(ROWS), self.UPDATES)
        return numbers[0] - numbers[seed] if seed else numbers[0]


def far(one: Tensor, other: Tensor, start: Tensor | float = 0.0) -> float:
    """Return the distance of two ends, relative to the way from ``start`` to the second."""
    if torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0)):
        return 0.0
    apart = float((one - other).norm() / (other - start).norm())
    return apart if apart == apart else math.inf
