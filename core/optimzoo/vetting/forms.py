"""The gradients, shapes, dtypes and kernels that it takes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from optimzoo.vetting.record import Fact, fault, fine, measures, note, refusal, unless_refused, unmeasured
from optimzoo.vetting.trial import AGAIN, MATRIX, TWO, Even, Slope, Trial, Way, far

SHAPES = {"0-d": (), "one element": (1,), "1-d": (5,), "2-d": (3, 7), "conv": (4, 3, 3, 3), "empty": (0,)}
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


@measures("gradients.after_step", decaying=True)
def after_step(way: Way) -> Fact:
    """Compare the gradients after a step with those that it was given."""
    given, trial = Trial(way, **way.busy).run(1), Trial(way, **way.busy).run(2)
    given.backward(1)
    pairs = [(a.grad, b.grad) for a, b in zip(trial.weights, given.weights)]
    if any(grad is None for grad, _ in pairs):
        return note("cleared", "after a step the gradients are None")
    same = all(torch.equal(a.to_dense(), b.to_dense()) for a, b in pairs if a is not None and b is not None)
    return fine("untouched") if same else note("overwritten", "what is read after a step is not the gradient")


@measures("gradients.zero_grad", error="note")
def zero_grad(way: Way) -> Fact:
    """Call ``zero_grad``."""
    trial = Trial(way).run(1)
    trial.backward(1)
    trial.optimizer.zero_grad()
    left = any(w.grad is not None and bool(w.grad.to_dense().any()) for w in trial.weights)
    return fault("kept", "zero_grad leaves gradients, so that they add up") if left else fine("cleared")


@measures("gradients.missing", error="fault")
def missing(way: Way) -> Fact:
    """Give one of two parameters no gradient, and look at both; then one of its own that differs."""

    def second(first: float | None) -> Tensor:
        """Return how the second moves, then the random state, if the first is moved and gets a gradient or none."""
        trial = Trial(way, TWO, **way.decaying).run(3)
        with torch.no_grad():
            trial.weights[0].mul_(first or 1.0)
        moved = trial.move(3, without=[0] * (first is None))[MATRIX[0] ** 2 :]
        return torch.cat((moved, torch.get_rng_state().double()))  # a method that draws numbers draws fewer

    first, other = Trial(way, TWO, **way.decaying).move(0, AGAIN, without=[0]).chunk(2)
    if first.any():
        return fault("moves", "a parameter without a gradient moves", settings=way.decaying)
    if not other.any():
        return fault(
            "stops others",
            "where one parameter has no gradient, another that has one does not move",
            settings=way.decaying,
        )
    usual, moved = second(1.0), second(None)
    as_random = torch.equal(usual[MATRIX[0] ** 2 :], moved[MATRIX[0] ** 2 :])
    if as_random and torch.equal(usual, second(0.5)) and not torch.equal(usual, moved):
        return fault(
            "changes others",
            "a parameter moves otherwise where another one has no gradient",
            settings=way.decaying,
            alone=True,
        )
    return fine("stands still")


@measures("gradients.late")
def late(way: Way) -> Fact:
    """Give one of two parameters its first gradient in the third update, with every kernel of the class."""
    first = Trial(way, TWO[:1], **way.busy).move(2, AGAIN).norm()
    for kernel in ({}, *way.kernels.values()):
        settings = kernel | way.busy
        with_what = f" with {', '.join(f'{key}={value}' for key, value in kernel.items())}" if kernel else ""
        try:
            trial = Trial(way, TWO, **settings).run(2, without=[0])
        except Exception as error:
            if not kernel:
                return unmeasured(f"a missing gradient is an error: {error}")
            continue
        try:
            moved = trial.move(2, AGAIN)[: MATRIX[0] ** 2].norm()
        except Exception as error:
            why = f"a parameter whose first gradient comes later is an error{with_what}: {refusal(error)}"
            return fault(f"fails{with_what}", why, settings=settings)
        if not trial.finite() or not moved:
            why = f"a parameter that gets its gradient later is not trained{with_what}"
            return fault("not trained", why, settings=settings)
        if moved > 2 * first:
            return note(f"{moved / first:.1f} times", f"it moves {moved / first:.1f} times as far as from the start")
    return fine("trained")


@measures("gradients.zero", error="note")
def zero(way: Way) -> Fact:
    """Begin with a gradient of zero, then go on."""
    trial = Trial(way).run(1, scale=0.0).run(2, first=1)
    return fine("taken") if trial.finite() else fault("not finite", "a gradient of zero makes NaN")


@measures("gradients.nonfinite", error="note")
def nonfinite(way: Way) -> Fact:
    """Put an infinite number into the gradient of one of two parameters."""
    if way.drive not in ("step", "graph") or way.sparse:
        return unmeasured("its gradients cannot be set from outside")
    trial = Trial(way, TWO).run(2)
    trial.backward(2)
    trial.weights[0].grad[0, 0] = float("inf")  # type: ignore[index]
    trial.optimizer.step()
    hurt, other = (int((~torch.isfinite(w)).sum()) for w in trial.weights)
    if other:
        return note("spreads", "an infinite number in the gradient of one parameter spoils the others")
    value = {0: "nothing", 1: "one number"}.get(hurt, "one parameter")
    return fine(value, "what an infinite number in it spoils at once")


@measures("gradients.skipped")
def skipped(way: Way) -> Fact:
    """Let a GradScaler skip a step, with every kernel, and look at the parameters and the state."""
    if way.drive != "step" or way.sparse:
        return unmeasured("a GradScaler cannot drive it")
    for kernel in ({}, *way.kernels.values()):
        try:
            trial = Trial(way, **kernel, **way.busy).run(2)
        except Exception:
            if not kernel:
                raise
            continue  # the kernel is refused
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
        trial.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(scaler.scale(trial.loss(2).float()))
        trial.weights[0].grad.view(-1)[0] = float("inf")  # type: ignore[union-attr]
        before = repr((trial.weights, trial.optimizer.state))
        scaler.step(trial.optimizer)
        if before != repr((trial.weights, trial.optimizer.state)):
            return note("changes", "a step that GradScaler skips changes the parameters or the state")
    return fine("leaves no trace")


def _each(way: Way, trials: Mapping[str, dict[str, Any]], updates: int = 5, loud: str = "") -> Fact:
    """Make some trials, each with arguments of ``Trial``; ``loud`` may end in NaN by nature."""
    refused, broken = {}, []
    for name, arguments in trials.items():
        try:
            is_finite = Trial(way, **arguments).run(updates).finite()
        except Exception as error:
            refused[name] = refusal(error)
            continue
        if not is_finite and name == loud:
            refused[name] = "it ends in NaN"
        elif not is_finite:
            broken.append(name)
    if broken:
        why = f"after some updates not finite, or huge: {', '.join(broken)}"
        return fault(f"not {', '.join(broken)}", why, of=broken[0], shape=SHAPES.get(broken[0]))
    return unless_refused(refused, "all")


@measures("shapes")
def shapes(way: Way) -> Fact:
    """Make three updates over a parameter of each shape, beside the usual one."""
    return _each(way, {name: {"shapes": (MATRIX, shape)} for name, shape in SHAPES.items()}, updates=3)


@measures("dtypes")
def dtypes(way: Way) -> Fact:
    """Make five updates in each dtype; float16 alone may overflow by nature."""
    return _each(way, {name: {"dtype": dtype, "size": 0.25} for name, dtype in DTYPES.items()}, loud="float16")


@measures("dtypes.small", error="note")
def small(way: Way) -> Fact:
    """Make updates with gradients of 1, of 0.001 and of 0 in float16, in which the square of 0.001 is nearly 0.

    How much further those of 1 lead than those of 0.001 must be as in float32, with every kernel.
    """
    wrong = {}
    for name, kernel in {"loop": way.loop, **way.kernels}.items():
        try:
            found = [*filter(None, (_of_small(way, shape, kernel) for shape in reversed(way.shapes)))]
        except Exception:
            if name == "loop":
                raise
            continue  # the kernel, or float16 by it, is refused
        if found:
            wrong[name] = found[0]
    if not wrong:
        return fine("taken")
    why = ", ".join(f"{name} {where}" for name, where in wrong.items())
    why = f"in float16, gradients of 0.001 lead the {why}"
    return note(" ".join(wrong), why)


def _of_small(way: Way, shape: tuple[int, ...], kernel: dict[str, Any]) -> str:
    """Return where small gradients lead a parameter in float16, if it is elsewhere than in float32."""

    def moved(scale: float, dtype: torch.dtype, updates: int = 60) -> float:
        return float(Even(way, (shape,), dtype=dtype, size=0.25, **kernel).move(0, updates, scale=scale).norm())

    both = (torch.float32, torch.float16)
    wide, narrow = ([moved(scale, dtype) for scale in (1.0, 1e-3)] for dtype in both)
    at_0 = [math.isfinite(moved(0.0, dtype, 1)) for dtype in both]
    if math.isfinite(wide[0]) and not math.isfinite(narrow[0]):
        return "to NaN, or those of 1 do"
    if not (wide[1] and narrow[0] and math.isfinite(narrow[0])):
        return ""
    times = narrow[1] / narrow[0] * wide[0] / wide[1]
    if not times <= 3:
        return f"{times:.2g} times as far as in float32" if math.isfinite(times) else "to NaN"
    return "to NaN where one is 0" if at_0 == [True, False] else ""


@measures("dtypes.complex")
def complexes(way: Way) -> Fact:
    """Make five updates of complex numbers."""
    return _each(way, {"complex64": {"dtype": torch.complex64, "size": 0.25}})


@measures("dtypes.sparse")
def sparse(way: Way) -> Fact:
    """Make five updates with sparse gradients."""
    return _each(replace(way, sparse=True), {"sparse": {"shapes": (MATRIX,), "size": 0.25}})


@measures("shapes.layout", error="note")
def layout(way: Way) -> Fact:
    """Look at the strides of a transposed and of a channels-last parameter after some updates."""
    convolution = torch.randn(8, 4, 16, 16).to(memory_format=torch.channels_last)
    undone = []
    for name, tensor in {"transposed": torch.randn(64, 128).t(), "channels_last": convolution}.items():
        weight = torch.nn.Parameter(tensor.to(way.dtype))
        before = weight.stride(), weight.data_ptr()
        Trial(way, weights=[weight]).run(2)
        undone += [name] * ((weight.stride(), weight.data_ptr()) != before)
    why = f"a step moves such a parameter to other memory, in the usual order: {', '.join(undone)}"
    return fault(f"undoes {' '.join(undone)}", why) if undone else fine("kept")


@measures("shapes.size")
def size(way: Way) -> Fact:
    """Repeat the same numbers: a longer parameter must move as a shorter one, or differ from the first length on."""
    if len(way.shapes) == 1:
        return unmeasured("it takes matrices only")

    def moved(count: int) -> float:
        return float(Trial(way, ((count,),), size=2**-8, tile=256, **way.busy).move(0, 3)[:256].norm())

    short, middle, long = map(moved, (256, 1024, 16384))
    times = long / (middle or 1e-30)
    if abs(short - middle) < 0.01 * middle and not 0.67 < times < 1.5:
        why = f"in a parameter of 16384 the same numbers move {times:.3g} times as far as in one of 1024, or of 256"
        return fault("changes", why, settings=way.busy)
    return fine("same" if abs(times - 1) < 0.1 else "by method")


@measures("dtypes.bfloat16")
def bfloat16(way: Way) -> Fact:
    """Compare the size of each tensor of state with that in float32, and with each switch turned."""
    switches = [n for n, p in way.signature.items() if isinstance(p.default, bool) and n not in way.kwargs]
    for switch in ({}, *({name: not way.setting(name)} for name in switches)):
        settings = way.busy | switch
        try:
            states = [Trial(way, dtype=d, **settings).run(8).optimizer.state for d in (torch.float32, torch.bfloat16)]
        except (Exception, SystemExit):  # bfloat16 or the switch is refused
            continue
        for key, wide, narrow in _pairs(*states):
            if wide > 1e-3 and not 0.5 < narrow / wide < 2:
                of, told = ("".join(f" with {n}={v}" for n, v in each.items()) for each in (settings, switch))
                why = f"in bfloat16{of} the state {key!r} is {narrow / wide:.2g} times that in float32"
                return fault(f"another state{told}", why, settings=settings, key=key)
    return fine("as in float32")


def _pairs(*states: Any) -> Iterator[tuple[Any, float, float]]:
    """Yield the name of each entry of two states, and the sizes of both."""
    for one, other in zip(*([own for own in state.values() if isinstance(own, dict)] for state in states)):
        for key in sorted(one.keys() & other.keys(), key=str):
            yield key, _size(one[key]), _size(other[key])


def _size(value: Any) -> float:
    is_whole = isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 1
    return float(value.double().square().mean().sqrt()) if is_whole else 0.0


@measures("dtypes.forgets")
def forgets(way: Way) -> Fact:
    """Make an update with gradients 100 times as large, then 2000 others, and compare the state with float32's."""
    if "bfloat16" in dtypes(way).value:
        return unmeasured("it does not take bfloat16")
    count, begun = 0, time.monotonic()
    wide, narrow = (Slope(way, way.shapes[-1:], dtype=d, **way.busy) for d in (torch.float32, torch.bfloat16))
    while count < 2000 and time.monotonic() < begun + 12:
        for trial in (wide, narrow):
            trial.update(count, scale=1.0 if count else 100.0)
        count += 1
    if count < 1000:
        return unmeasured(f"12 seconds are {count} updates")
    for key, one, other in _pairs(wide.optimizer.state, narrow.optimizer.state):
        if one and other > 2 * one:
            why = f"{count} updates after a large one its state {key!r} is {other / one:.2g} times that in float32"
            return note("no", f"in bfloat16, {why}: rounding keeps it from falling")
    return fine("yes")


@measures("kernels")
def kernels(way: Way) -> Fact:
    """Make ten updates with the loop, with foreach and with fused, and compare, as a whole and number by number."""
    shapes = (MATRIX, *TWO) if len(way.shapes) == 1 else (MATRIX, *TWO, (64,), (37,))
    start, loop, refused = Trial(way, shapes).values(), Trial(way, shapes, **way.loop, **way.busy).run(10).values(), []
    for name, kernel in way.kernels.items():
        try:
            end = Trial(way, shapes, **kernel, **way.busy).run(10).values()
        except Exception as error:
            refused.append(f"{name}: {refusal(error)}")
            continue
        usual = (loop - start).square().mean().sqrt()
        apart, most = far(end, loop, start), float((end - loop).abs().max() / usual)
        if apart > 1e-4 or most > 0.01:
            why = f"with {name}=True ten updates end {apart:.2g} of the way elsewhere than the loop, "
            why += f"and a single number {most:.2g} of the usual way"
            return fault(f"{name} differs", why, plain=way.loop | way.busy, other=kernel | way.busy, shapes=shapes)
    return note("refused", "; ".join(refused)) if refused else fine(f"{' '.join(('loop', *way.kernels))}")


@measures("kernels.half")
def halves(way: Way) -> Fact:
    """Make ten updates of numbers in half precision with foreach and with fused, and see how far from float32 they end.

    The loop ends elsewhere too, for rounding: a kernel may be three times as far off.
    """
    if not way.kernels or way.dtype is not torch.float32:
        return unmeasured("it names no kernels")

    def off(dtype: torch.dtype, **kernel: Any) -> float:
        exact, trial = (
            Trial(way, way.shapes, dtype=d, size=2**-8, **way.busy, **k) for d, k in ((None, way.loop), (dtype, kernel))
        )
        start = trial.values()
        return far(trial.run(10).values(), exact.run(10).values(), start)

    refused = {}
    for word in ("bfloat16", "float16"):
        for name, kernel in way.kernels.items():
            try:
                apart, usual = off(DTYPES[word], **kernel), off(DTYPES[word], **way.loop)
            except Exception as error:
                refused[f"{name} {word}"] = refusal(error)
                continue
            if usual < 0.3 and apart > 0.1 + 3 * usual:
                end = f"{apart:.2g} of the way elsewhere than in float32" if math.isfinite(apart) else "in NaN"
                why = f"ten updates in {word} end {end} with {name}=True, and with the loop {usual:.2g}"
                settings = {"plain": way.loop | way.busy, "other": kernel | way.busy}
                return fault(f"{name} differs in {word}", why, **settings, half=f"torch.{word}")
    return unless_refused(refused, "as the loop")


@measures("kernels.compile", error="note")
def compiled(way: Way) -> Fact:
    """Compile the step with torch.compile down to its operators (backend "aot_eager"), and compare."""
    if way.drive != "step":
        return unmeasured("it takes more than step()")
    os.environ.pop("TORCHDYNAMO_DISABLE")
    import torch._dynamo

    torch._dynamo.config.disable = False
    start, plain, traced = (Trial(way, way.shapes[:1]) for _ in range(3))
    step: Callable[[], Any] = torch.compile(traced.optimizer.step, backend="aot_eager")
    for k in range(3):
        traced.backward(k)
        step()
    apart = far(traced.values(), plain.run(3).values(), start.values())
    return fine("agrees") if apart < 1e-4 else note("differs", f"a compiled step ends {apart:.2g} of the way elsewhere")
