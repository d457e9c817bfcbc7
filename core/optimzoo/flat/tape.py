"""Steps of an optimizer noted down, operation by operation, and from then on run as one compiled function."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import getitem
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from optimzoo.errors import OptimzooError
from optimzoo.traces import describe_error

MOST = 8
"""Steps after one another that may each take a course of their own: each course waits for a compiler."""
NUMBER, SMALL = object(), object()
"""In the place of a number, which may be another in each step, and of a tensor of one number on the CPU."""
_UNFIT = {
    torch.Tag.data_dependent_output: "reads numbers of tensors, which are not there before the whole step is run",
    torch.Tag.dynamic_output_shape: "makes tensors whose shapes depend on numbers",
    torch.Tag.nondeterministic_seeded: "draws random numbers",
}
_STAND = "steps tensors that stand for others, as FSDP2's do"
_EXPONENTS = ("aten::pow", "aten::_foreach_pow", "aten::pow_", "aten::_foreach_pow_")

Compiler = Callable[[fx.GraphModule], Callable[..., Any]]


class Program:
    """The operations of a step, the first to take this course.

    Attributes:
        ops: For each its function and its arguments; a tensor is its number: an input's below 0, a result's from 0.
        outs: What each returns: an argument, by its place among the tensors, or a new result, by its number.
        forms: Shape, strides, dtype and device of each new result.
        fakes: What stands for the results of a step that has not run yet; between steps nobody else holds it.
        kept: The results that outlive the step.
    """

    def __init__(self, ops: list[Any], outs: list[Any], forms: list[Any], kept: list[int]) -> None:
        self.ops, self.outs, self.forms, self.kept = ops, outs, forms, kept
        self.fakes = [*map(_fake, forms)]
        self._counts: list[int] = []
        self.number_of = {id(fake): number for number, fake in enumerate(self.fakes)}
        self._compiled: Callable[..., Any] | None = None

    @property
    def has_run(self) -> bool:
        """Whether it is compiled."""
        return self._compiled is not None

    def is_held(self) -> bool:
        """Whether somebody else holds a fake; views of one, which count too, have no object that refers to it."""
        counts = [*map(sys.getrefcount, self.fakes)]
        if counts == self._counts:
            return False
        if self._has_holder():
            gc.collect()
            if self._has_holder():
                return True
        self._counts = [*map(sys.getrefcount, self.fakes)]
        return False

    def _has_holder(self) -> bool:
        return any(holder is not self.fakes for holder in gc.get_referrers(*self.fakes))

    def run(self, inputs: Sequence[Tensor], smalls: Sequence[Tensor], numbers: list[float], to: Compiler) -> list[Any]:
        """Run it, compiled at the first time, and return what outlives it."""
        given = *inputs, *smalls, torch.tensor(numbers, dtype=torch.float64)
        if self._compiled is not None:
            return list(self._compiled(*given))
        compiled = to(self._graph(len(inputs), len(smalls), len(numbers)))
        with torch._dynamo.config.patch(capture_scalar_outputs=True):
            results = list(compiled(*given))
        self._compiled = compiled
        return results

    def _graph(self, inputs: int, smalls: int, numbers: int) -> fx.GraphModule:
        graph = fx.Graph()
        values: dict[int, Any] = {-1 - n: graph.placeholder(f"x{n}") for n in range(inputs)}
        of_smalls = [graph.placeholder(f"z{n}") for n in range(smalls)]
        given = graph.placeholder("numbers")
        of_numbers = [graph.call_method("item", (graph.call_method("select", (given, 0, n)),)) for n in range(numbers)]

        def call(function: Any, args: Any, kwargs: Any) -> fx.Node:
            if function in _WEIGHTED and isinstance(args[2], fx.Node) and args[2].target == "item":
                return graph.call_function(_WEIGHTED[function], (*args[:2], args[2].args[0]))
            return graph.call_function(function, args, kwargs)

        interpret(self.ops, self.outs, values, iter(of_smalls), iter(of_numbers), call)
        graph.output([values[number] for number in self.kept])
        return fx.GraphModule(torch.nn.Module(), graph)


def _lerp(start: Any, end: Any, weight: Tensor) -> Any:
    if isinstance(start, list):
        return [_lerp(*pair, weight) for pair in zip(start, end)]
    precise = torch.promote_types(start.dtype, torch.float32)  # as torch computes halves, with a number as weight
    return torch.lerp(start.to(precise), end.to(precise), weight.to(precise)).to(start.dtype)


def _lerp_(start: Any, end: Any, weight: Tensor) -> Any:
    pairs = zip(start, _lerp(start, end, weight)) if isinstance(start, list) else [(start, _lerp(start, end, weight))]
    return [one.copy_(other) for one, other in pairs]


_WEIGHTED = dict.fromkeys((torch.ops.aten.lerp.Scalar, torch.ops.aten._foreach_lerp.Scalar), _lerp)
_WEIGHTED |= dict.fromkeys((torch.ops.aten.lerp_.Scalar, torch.ops.aten._foreach_lerp_.Scalar), _lerp_)
"""Operations whose number the compiler compares with another, by those that take it as a tensor."""


def interpret(
    ops: Iterable[Any],
    outs: Iterable[Any],
    values: dict[int, Any],
    smalls: Iterator[Any],
    numbers: Iterator[Any],
    call: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any],
) -> None:
    """Go through operations, and add their results to ``values``."""

    def given(noted: Any) -> Any:
        if noted is NUMBER:
            return next(numbers)
        if noted is SMALL:
            return next(smalls)
        kind, value, *_ = noted
        return [given(each) for each in value] if kind is list else values[value] if kind is Tensor else value

    for (function, args, kwargs), out in zip(ops, outs):
        result = call(function, tuple(map(given, args)), {key: given(value) for key, value in kwargs})
        if isinstance(out, list):
            values.update((number, call(getitem, (result, n), {})) for n, (is_new, number) in enumerate(out) if is_new)
        elif out is not None and out[0]:
            values[out[1]] = result


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what an optimizer does in a step.

    A step that begins as the one before is expected to go on so: nothing is run before its end, and then all at once.

    Args:
        compiler: Makes a function of the noted operations.

    Attributes:
        why_not: Why steps are not noted any more, if so.
    """

    def __init__(self, compiler: Compiler | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.why_not = ""
        self._compiler: Compiler = compiler or _compiled
        self._programs: dict[Any, Program] = {}
        self._expected: Program | None = None
        self._unexpected = 0
        self._held: list[tuple[Tensor, Tensor]] = []
        self._clear()

    def _clear(self) -> None:
        self._ops: list[Any] = []
        self._outs: list[Any] = []
        self._forms: list[Any] = []
        self._inputs: dict[Any, tuple[int, Tensor]] = {}
        self._smalls: list[Tensor] = []
        self._numbers: list[float] = []
        self._values: dict[int, Any] = {}  # of results that the optimizer has fakes of
        self._results: dict[int, tuple[weakref.ref[Tensor], int]] = {}  # by identity
        self._waits = self._expected is not None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [*_tensors((*args, *kwargs.values()))]
        if all(map(self._is_small, tensors)):
            return func(*args, **kwargs)
        if func._schema.is_mutable:
            for small in filter(self._is_small, [*_tensors(args[:1])]):
                self._inputs[_key(small)] = -1 - len(self._inputs), small
        stand = any(hasattr(kind, "__tensor_flatten__") for kind in types)
        why = self.why_not or _STAND * stand or next((why for tag, why in _UNFIT.items() if tag in func.tags), "")
        if why:
            self._give_up(why)
            return self._execute(func, args, kwargs, tensors)
        fixed = func._schema.name in _EXPONENTS
        noted = (
            func,
            tuple(self._note(each, fixed) for each in args),
            tuple((key, self._note(value, fixed)) for key, value in kwargs.items()),
        )
        place = len(self._ops)
        if self._waits and self._expected is not None:
            if place < len(self._expected.ops) and noted == self._expected.ops[place]:
                out = self._expected.outs[place]
                self._ops.append(noted)
                self._outs.append(out)
                return _shown(out, tensors, self._expected.fakes)
            self._catch_up()
        result = self._execute(func, args, kwargs, tensors)
        if not self.why_not:
            self._ops.append(noted)
        return result

    def begin(self, params: Iterable[Tensor]) -> None:
        """Begin a step, of the parameters that the optimizer moves."""
        self._held = [(parameter, parameter.data) for parameter in params]
        self.__enter__()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def finish(self, kept_in: Sequence[dict[str, Any]], failed: bool = False) -> None:
        """End a step.

        Args:
            kept_in: The dicts in which the optimizer keeps what outlives the step.
            failed: Whether it has raised an error.

        Raises:
            OptimzooError: It has put another tensor into a parameter, or kept one elsewhere, before that was run.
        """
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        expected = self._expected
        try:
            lost = [(parameter, data) for parameter, data in self._held if parameter.is_meta]
            for parameter, data in lost:
                parameter.data = data
            if lost:
                raise OptimzooError("the optimizer puts other tensors in the place of parameters: leave compile out")
            whole = self._waits and not failed and expected and len(self._ops) == len(expected.ops)
            if whole and expected:
                asked = (expected.number_of.get(id(value)) for value in _entries(kept_in))
                whole = {number for number in asked if number is not None} <= {*expected.kept}
            if whole and expected:
                self._run(expected)
            elif self._waits:
                self._catch_up()
            if expected:
                _replace(kept_in, {id(expected.fakes[number]): each for number, each in self._values.items()})
                in_grads = any(isinstance(parameter.grad, FakeTensor) for parameter, _ in self._held)
                if not failed and (in_grads or expected.is_held()):
                    raise OptimzooError("the optimizer keeps tensors elsewhere than in its state: leave compile out")
            if not (whole or failed or self.why_not):
                self._learn(kept_in)
        finally:
            self._clear()

    def _run(self, program: Program) -> None:
        inputs = [tensor.detach() for _, tensor in self._inputs.values()]  # alike whether or not they are trained
        try:
            results = program.run(inputs, self._smalls, self._numbers, self._compiler)
        except Exception as error:
            if program.has_run and not type(error).__module__.startswith("torch._dynamo."):  # nothing has run
                raise
            self._give_up(f"cannot be compiled: {describe_error(error)}")
        else:
            self._values = dict(zip(program.kept, results))
            self._unexpected = 0

    def _learn(self, kept_in: Sequence[dict[str, Any]]) -> None:
        """Expect the next step to be as this one."""
        there = {id(each): number for ref, number in self._results.values() if (each := ref()) is not None}
        values = {id(value): number for number, value in self._values.items()}
        kept = {number for value in _entries(kept_in) if (number := {**values, **there}.get(id(value))) is not None}
        if {*there.values()} - kept:
            self.why_not = "keeps tensors elsewhere than in its state"
            return
        self._unexpected += 1
        if self._unexpected > MOST:
            self.why_not = f"took another course in each of {MOST} steps"
            return
        key = tuple(self._ops)
        if key not in self._programs and len(self._programs) > MOST:
            self._programs.pop(next(iter(self._programs)))
        before = self._programs.get(key)
        if before is None or not kept <= {*before.kept}:
            kept.update(before.kept if before else ())
            self._programs[key] = Program(self._ops, self._outs, self._forms, sorted(kept))
        self._expected = self._programs[key]

    def _is_small(self, tensor: Tensor) -> bool:
        """Whether it has one number, which is there and not yet to be another one."""
        if tensor.ndim or isinstance(tensor, FakeTensor) or tensor.device.type != "cpu":
            return False
        return self._number_of(tensor) is None and _key(tensor) not in self._inputs

    def _number_of(self, tensor: Tensor) -> int | None:
        """Return the number of a result."""
        if isinstance(tensor, FakeTensor):
            return self._expected.number_of[id(tensor)] if self._expected else None
        ref, number = self._results.get(id(tensor), (None, 0))
        return number if ref is not None and ref() is tensor else None

    def _note(self, value: Any, fixed: bool) -> Any:
        if isinstance(value, Tensor):
            number = self._number_of(value)
            if number is not None:
                return Tensor, number
            if self._is_small(value):
                self._smalls.append(value.clone())  # it may be another before the end of the step
                return SMALL
            key = _key(value)
            number, _ = self._inputs.setdefault(key, (-1 - len(self._inputs), value))
            return (Tensor, number, *key[1:], value.device)
        if isinstance(value, (list, tuple)):
            return list, tuple(self._note(each, fixed) for each in value)
        if isinstance(value, float) and not fixed:
            self._numbers.append(value)
            return NUMBER
        return type(value), value

    def _execute(self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> Any:
        """Run an operation now, and note what it returns."""
        result = func(*self._real(args), **self._real(kwargs))
        if self.why_not:
            return result
        given = [id(self._real(each)) for each in tensors]
        outs = []
        for each in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(each, Tensor) and id(each) in given:
                outs.append((False, given.index(id(each))))
            elif isinstance(each, Tensor):
                outs.append((True, len(self._forms)))
                self._results[id(each)] = weakref.ref(each), len(self._forms)
                self._forms.append((each.shape, each.stride(), each.dtype, each.device))
            elif each is not None:
                self._give_up("asks for what is no tensor")
                return result
        single = outs[0] if outs else None
        self._outs.append(outs if isinstance(result, (list, tuple)) else single)
        return result

    def _real(self, value: Any) -> Any:
        """Return arguments with the results that fakes stand for."""
        if isinstance(value, FakeTensor) and self._expected:
            return self._values[self._expected.number_of[id(value)]]
        if isinstance(value, (list, tuple)):
            return [*map(self._real, value)]
        if isinstance(value, dict):
            return {key: self._real(each) for key, each in value.items()}
        return value

    def _catch_up(self) -> None:
        """Run what was expected so far."""
        self._waits = False
        if self._expected is None:
            return
        self._values = dict(self._inputs.values())
        numbers = iter(self._smalls), iter(self._numbers)
        interpret(self._ops, self._outs, self._values, *numbers, lambda function, a, k: function(*a, **k))
        self._values = {number: tensor for number, tensor in self._values.items() if number >= 0}
        self._forms = self._expected.forms[: len(self._values)]

    def _give_up(self, why: str) -> None:
        if self._waits:
            self._catch_up()
        self.why_not = why


def _key(tensor: Tensor) -> tuple[Any, ...]:
    """Return what tells a tensor from others, whatever object shows it."""
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


def _compiled(graph: fx.GraphModule) -> Callable[..., Any]:
    return torch.compile(graph, fullgraph=True, dynamic=False)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _shown(out: Any, tensors: Sequence[Tensor], fakes: Sequence[Tensor]) -> Any:
    """Return what stands for the results of an operation."""
    if isinstance(out, list):
        return [_shown(each, tensors, fakes) for each in out]
    return None if out is None else fakes[out[1]] if out[0] else tensors[out[1]]


def _fake(form: Any) -> Tensor:
    shape, strides, dtype, device = form
    with FakeTensorMode():
        return torch.empty_strided(shape, strides, dtype=dtype, device=device)


def _entries(kept_in: Iterable[dict[str, Any]]) -> Iterator[Any]:
    return (value for entries in kept_in for value in entries.values())


def _replace(kept_in: Iterable[dict[str, Any]], by: dict[int, Any]) -> None:
    for entries in kept_in if by else ():
        entries.update({key: by[id(value)] for key, value in entries.items() if id(value) in by})
