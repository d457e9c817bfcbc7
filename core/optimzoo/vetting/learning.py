"""Whether it learns, and what the learning rate, the decay and the scale of the gradients do."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Any

import torch

from optimzoo.vetting.record import Fact, fault, fine, measures, note, unmeasured
from optimzoo.vetting.trial import AGAIN, TWO, Slope, Trial, Way, far

NO_LR = unmeasured("its groups have no learning rate that is a number")
WD = 0.125
LONG = 60
"""Updates in which a decay that acts only with gradients shows, of optimizers that find their own step."""


def without_decay(way: Way) -> dict[str, Any]:
    """Return the argument that turns the decay off, if the class has it."""
    return {"weight_decay": 0.0} if isinstance(way.setting("weight_decay"), (int, float)) else {}


@measures("trains")
def trains(way: Way) -> Fact:
    """Lower the loss of a small network, with the rate as it is or with others."""
    rates = (0.1, 0.01, 0.001, 1.0) if "lr" in way.signature and "lr" not in way.kwargs else ()
    for lr in (None, *rates):
        ratio = _regression(way if lr is None else replace(way, kwargs=way.kwargs | {"lr": lr}))
        if ratio < 0.9:
            return fine("yes", f"the loss falls to {ratio:.2g} of the first{f' with lr={lr}' if lr else ''}")
    why = f"50 updates leave {ratio:.3g} of the loss of a small regression"
    return note("slowly", why) if ratio < 1 else fault("no", why)


def _regression(way: Way) -> float:
    """Return the loss of a regression after 50 updates, relative to that before."""
    trial = Trial(way, size=0.125)
    x, y = trial.numbers(1, TWO)

    def loss(*_: Any) -> torch.Tensor:
        if way.sparse:
            return (torch.nn.functional.embedding(torch.arange(64), trial.weights[0], sparse=True) - y).square().mean()
        return (torch.tanh(x @ trial.weights[0] + sum(trial.weights[1:])) - torch.tanh(x @ y / 8)).square().mean()

    first = loss().item()
    trial.loss = loss  # type: ignore[assignment,method-assign]
    trial.run(50)
    if callable(getattr(trial.optimizer, "eval", None)):
        trial.optimizer.eval()
    return loss().item() / first


@measures("trains.twin")
def twin(way: Way) -> Fact:
    """Find other classes of its library that move to the same bits, with a decay and a momentum if they take them."""
    library = way.cls.__module__.partition(".")[0]
    modules = [m for n, m in list(sys.modules.items()) if m and n.split(".")[0] == library and n.count(".") < 2]
    members = {c for m in modules for c in list(vars(m).values()) if isinstance(c, type)}
    others = {c for c in members if issubclass(c, torch.optim.Optimizer)} - {way.cls, torch.optim.Optimizer}

    def course(cls: Any, updates: int = 5) -> torch.Tensor:
        usual = {"lr": way.setting("lr"), "weight_decay": 0.1, "momentum": 0.9} | way.kwargs
        kwargs = {key: value for key, value in usual.items() if key in Way(cls).signature and value is not None}
        return Trial(replace(way, cls=cls, kwargs=kwargs)).run(updates).values()

    first, mine, same = course(way.cls, 1), course(way.cls), []
    for other in sorted(others, key=lambda cls: cls.__name__):
        try:
            same += [other.__name__] * (torch.equal(course(other, 1), first) and torch.equal(course(other), mine))
        except Exception:  # it is built or driven in another way
            continue
    why = f"with equal arguments it moves as {', '.join(same)} of its library, bit for bit"
    return note(" ".join(same), why) if same else fine("none")


@measures("lr")
def lr(way: Way) -> Fact:
    """Halve the rate as a schedule does, after some updates, and compare the next two updates."""
    whole, half = Trial(way).run(AGAIN), Trial(way).run(AGAIN)
    if not whole.lr:
        return NO_LR
    half.multiply_lr(0.5)
    one, two = (float(half.move(k).norm() / whole.move(k).norm()) for k in (AGAIN, AGAIN + 1))
    if one != one:
        return unmeasured(f"it does not move in {AGAIN} updates")
    if abs(one - 0.5) < 0.02:
        return fine("live")
    if abs(one - 1) < 1e-3 and abs(two - 0.5) < 0.02:
        return fault("late", "an update uses the rate of the one before")
    if not torch.equal(half.values(), whole.values()):
        return note("by method", f"half the rate is {one:.3g} of the update, then {two:.3g}")
    if whole.values().norm() * 1e-5 > whole.move(AGAIN + 2).norm():
        return unmeasured("its updates are so small that half of one cannot be told from rounding")
    read = "lr" in way.signature and Trial(way, lr=whole.lr / 2).move(0).norm() < 0.9 * Trial(way).move(0).norm()
    when = "is read at the construction or first update only" if read else "is never read"
    return fault("ignored", f"half the rate changes nothing, since it {when}")


@measures("lr.zero", error="note")
def lr_zero(way: Way) -> Fact:
    """Set the rate to 0 before the first update, and after eight."""
    first, later = Trial(way, **without_decay(way)), Trial(way, **without_decay(way)).run(8)
    if not first.lr:
        return NO_LR
    for trial in (first, later):
        trial.multiply_lr(0.0)
    moved = float(first.move(0).norm() / first.values().norm())
    if moved > 1e-6:  # less is rounding
        return fault("moves", f"the first update at lr=0 changes the parameters by {moved:.2g} of their size")
    left = bool(later.move(8).any())
    return note("moves later", "at lr=0 an update moves on by what earlier ones left") if left else fine("stands still")


@measures("lr.tensor", error="note", decaying=True)
def lr_tensor(way: Way) -> Fact:
    """Give the rate as a tensor, and halve it in place on the way."""
    number = Trial(way)
    start, rate = number.values(), number.lr
    if not rate or "lr" not in way.signature:
        return unmeasured("it has no argument lr") if rate else NO_LR
    tensor, number = Trial(way, lr=torch.tensor(rate)).run(8), number.run(8)
    if number.lr == rate and abs(tensor.lr - rate) > 1e-6 * rate:
        return fault(
            "written into", f"after eight updates the tensor is {tensor.lr:.4g} instead of {rate:.4g}", lr=rate
        )
    apart, start = [far(tensor.values(), number.values(), start)], number.values()
    for trial in (number, tensor):
        trial.multiply_lr(0.5)
    end = number.run(1, 8).values()
    apart.append(far(tensor.run(1, 8).values(), end, start))
    if max(apart) < 2e-4 or max(apart) < 2 * _apart_by_rounding(way, rate, end, start):
        return fine("as a number")
    why = f"a tensor moves the parameters {apart[0]:.2g} of the way elsewhere, {apart[1]:.2g} once halved in place"
    return fault("other numbers", why, lr=rate) if max(apart) > 1e-3 else note("near", why)


def _apart_by_rounding(way: Way, rate: float, end: torch.Tensor, start: torch.Tensor) -> float:
    """Return how far rates that are the same but for rounding lead from each other: far, where signs or bits flip."""
    trials = [Trial(way, lr=rate * (1 + ulps * 2**-23)).run(8) for ulps in (-2, -1, 1, 2)]
    for trial in trials:
        trial.multiply_lr(0.5)
    return max(far(trial.run(1, 8).values(), end, start) for trial in trials)


@measures("lr.written")
def lr_written(way: Way) -> Fact:
    """Look at the rate of the group after some updates."""
    trial = Trial(way)
    before, after = trial.lr, trial.run(3).lr
    if before == after:
        return fine("kept") if before else NO_LR
    why = f"the step itself sets the rate: {before:.4g} becomes {after:.4g}"
    return fault("written", why)


@measures("lr.groups", error="note")
def lr_groups(way: Way) -> Fact:
    """Give the second of two groups a rate of 0."""
    trial, usual = (Trial(way, TWO, split=True, **without_decay(way)) for _ in range(2))
    if not trial.lr:
        return NO_LR
    trial.optimizer.param_groups[1]["lr"] = 0.0
    first, second = trial.run(2).move(2).chunk(2)
    if second.any():
        if torch.equal(second, usual.run(2).move(2).chunk(2)[1]):
            return note("shared", "a group with a rate of 0 moves, to the same bits as with the rate of the other")
        return note("moves", "a group with a rate of 0 moves, if otherwise than at the rate of the other")
    return fine("each its own") if first.any() else note("all stop", "a group with a rate of 0 stops the other too")


@measures("scale")
def scale(way: Way) -> Fact:
    """Multiply all gradients by 1024, and then each update's by another factor."""
    plain, large, mixed = Slope(way), Slope(way), Slope(way)
    start = plain.values()
    for k, factor in enumerate((1024.0, 1.0, 1 / 64, 1.0) * 2):
        plain.update(k)
        large.update(k, scale=1024.0)
        mixed.update(k, scale=factor)
    if far(mixed.values(), plain.values(), start) < 1e-2:
        return note("each", "the size of a single gradient changes nothing")
    if far(large.values(), plain.values(), start) < 1e-2:
        return fine("invariant", "the common size of all gradients changes nothing")
    grown = float((large.values() - start).norm() / (plain.values() - start).norm())
    return fine(f"{grown:.3g}", f"gradients 1024 times as large are {grown:.3g} times the update")


def _decayed(way: Way, first: int = 0, at: float = 1.0, wd: float = WD, **settings: Any) -> tuple[torch.Tensor, ...]:
    """Return the parameters, and how far an update with a zero gradient moves them, its rate multiplied by ``at``.

    It is the first update, or comes after ``first`` others of its kind.
    """
    trial = Trial(way, weight_decay=wd, **settings)
    with torch.no_grad():
        trial.weights[0].view(-1)[:8] = torch.tensor([1, -1, 0, 5, -5, 0.25, -0.25, 0])
    trial.run(first, scale=0.0)
    if at != 1:
        trial.multiply_lr(at)
    return trial.values(), trial.move(first, scale=0.0)


def _still(moved: torch.Tensor, without: torch.Tensor) -> bool:
    """Whether nothing but rounding moves the weights without a decay."""
    return bool(without.abs().max() <= 1e-5 * moved.abs().max())


def _first_decay(way: Way, **settings: Any) -> int:
    """Return the first of ``AGAIN`` updates with zero gradients in which a decay matters; ``AGAIN`` if none is."""
    some, none = (Trial(way, weight_decay=decay, **settings) for decay in (WD, 0.0))
    differ = ((some.move(k, scale=0.0) != none.move(k, scale=0.0)).any() for k in range(AGAIN))
    return next((k for k, differs in enumerate(differ) if differs), AGAIN)


@measures("decay")
def decay(way: Way) -> Fact:
    """Tell the kind of decay from where single numbers go, in the first update in which it moves any."""
    if "weight_decay" not in way.signature:
        return unmeasured("it has no argument weight_decay")
    rate: dict[str, Any] = {"lr": 0.125} if "lr" in way.signature and Trial(way).lr else {}
    first = 0
    for dtype in (torch.float64, torch.float32):  # there are kernels without float64, and some that round it
        way = replace(way, dtype=dtype)
        try:
            weights, moved = _decayed(way, **rate)
            if _still(moved, _decayed(way, wd=0.0, **rate)[1]):
                break
        except Exception:
            if dtype == torch.float32:
                raise
    else:
        return unmeasured("its parameters move without a gradient and a decay")
    if not moved.any():
        way = replace(way, dtype=torch.float32)  # not all go on in float64
        first = _first_decay(way, **rate)
        if first == AGAIN:
            still = f"in {AGAIN} updates with zero gradients weight_decay moves nothing"
            some, none = (Trial(way, weight_decay=wd).run(LONG).values() for wd in (WD, 0.0))
            if (some != none).any():
                return note("with gradients", still)
            return note("none", f"{still}, nor in {LONG} with gradients")
        weights, moved = _decayed(way, first, **rate)
        if not _still(moved, _decayed(way, first, wd=0.0, **rate)[1]):
            return unmeasured("its parameters move without a gradient and a decay")
    shapes = [tuple(parameter.shape) for parameter in Trial(way).weights]
    parts = torch.split(moved, [*map(math.prod, shapes)])
    decayed = torch.cat([part.any().expand(part.numel()) for part in parts]) & (weights != 0)
    found = _kind_of_decay(way, first, rate, weights, moved, decayed)
    left = [f"a parameter of shape {shape} is not decayed" for shape, part in zip(shapes, parts) if not part.any()]
    if left and found.verdict == "fine":
        found = replace(found, verdict="note")
    later = [f"of updates with zero gradients it moves nothing before number {first + 1}"] if first else []
    return replace(found, why="; ".join(filter(None, (found.why, *left, *later))))


def _goes_on(way: Way, first: int, rate: dict[str, Any], size: float, decayed: torch.Tensor) -> bool:
    """Whether a decay moves the weights once more after it is set to 0: then a momentum holds it."""
    trial = Trial(way, weight_decay=WD, **rate, **way.busy).run(first + 1, scale=0.0)
    for group in trial.optimizer.param_groups:
        if not isinstance(group.get("weight_decay"), (int, float)):
            return False
        group["weight_decay"] = 0.0
    weights = trial.values()
    again = float((-trial.move(first + 1, scale=0.0) / weights)[decayed].mean()) / size
    return again > 0.01 and abs(again - 1) > 0.01  # as much again: the group's decay is not read


def _kind_of_decay(
    way: Way, first: int, rate: dict[str, Any], weights: torch.Tensor, moved: torch.Tensor, decayed: torch.Tensor
) -> Fact:
    """Tell the kind of decay of the numbers that are ``decayed``, which are not 0, and of parameters that move."""
    mixes = moved[weights == 0].any() or not (moved * weights <= 0).all()
    if mixes and not float(moved @ weights / (moved.norm() * weights.norm())) < -0.5:  # not a share of each, nor of all
        why = "the decay does not point to zero: weights of one sign grow, or zeros move, or it is not finite"
        return fault("a constant", why)
    ratio = (-moved / weights)[decayed]
    size = float(ratio.mean())
    if mixes or float(ratio.max() - ratio.min()) > 1e-3 * size or _goes_on(way, first, rate, size, decayed):
        return fine("coupled", "it goes through the method, as a part of the gradient")
    runs = (_decayed(way, first, at=0.5, **rate), _decayed(way, first, lr=0.0625)) if rate else ((weights, moved),) * 2
    scheduled, built = (float((-m / w)[decayed].mean()) / size for w, m in runs)
    if abs(scheduled - 1) < 0.01 and abs(built - 0.5) < 0.01:
        return fault("by the lr it is built with", "half the rate that a schedule sets is as much of a decay")
    if abs(scheduled - 1) < 0.01:
        return note("wd·w", f"an update takes {size:.3g} of each weight, whatever the learning rate")
    halves = abs(scheduled - 0.5) < 0.01
    if halves and abs(built - 1) < 0.01:
        why = f"an update takes {size:.3g} of each weight, whatever lr it is built with: only a change of it counts"
        return fault("relative to the first lr", why)
    factor = size / (0.125 * WD)
    if halves and abs(built - 0.5) < 0.01:
        why = f"an update takes {factor:.3g} times lr·weight_decay of each weight"
        return fine("lr·wd·w") if abs(factor - 1) < 0.01 else note(f"{factor:.3g}·lr·wd·w", why)
    why = f"half the rate is {scheduled:.3g} of the decay if a schedule sets it, and {built:.3g} at the construction"
    if 0.02 < scheduled < 1 and abs(scheduled - built) < 0.01:
        return fault(f"lr^{-math.log2(scheduled):.2g}·wd·w", f"{why}: it is not proportional to the rate")
    return note("by method", why)


@measures("decay.groups", error="note")
def decay_groups(way: Way) -> Fact:
    """Build one of two groups with a weight_decay of 0, as norms and biases get it, and give zero gradients."""
    if "weight_decay" not in way.signature:
        return unmeasured("it has no argument weight_decay")

    def moved(first: float, second: float) -> list[bool]:
        groups = [{"weight_decay": wd} for wd in (first, second)]
        return [bool(half.any()) for half in Trial(way, TWO, split=groups, weight_decay=WD).move(0, scale=0.0).chunk(2)]

    if any(moved(0.0, 0.0)) and not Trial(way, TWO, weight_decay=0.0).move(0, scale=0.0).any():
        return fault("shared", "groups with weight_decay=0 decay: what a group says is not read")
    first, second = moved(WD, 0.0)
    if first and not second:
        return fine("each its own")
    if first and not any(moved(0.0, 0.0)) and not any(moved(0.0, WD)):
        return fault("shared", "every group decays as the first one says")
    return unmeasured("where the gradient is zero a weight_decay does nothing, or another thing moves the weights")


@measures("decay.frozen")
def frozen(way: Way) -> Fact:
    """Make 20 updates with zero gradients, as masked or idle layers get them."""
    trial = Trial(way)
    first, last = (float(trial.run(count, scale=0.0).values().abs().max()) for count in (0, 20))
    if last <= 1.5 * first:
        return fine("kept or smaller")
    return fault("grow", f"after 20 updates with zero gradients the largest weight is {last:.3g}, from {first:.3g}")
