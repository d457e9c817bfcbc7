"""Whether an optimizer can step buffers: what is known of it, and a trial with the arguments that it has."""

from __future__ import annotations

import copy
import math
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optimzoo import calls
from optimzoo.errors import ConfigError
from optimzoo.flat.chunk import ROW, is_part
from optimzoo.flat.layouts import Shapes, course, layouts
from optimzoo.flat.tape import Tape
from optimzoo.names.entry import NEEDS
from optimzoo.names.zoo import needs_of
from optimzoo.optimizers.heeded import known_facts
from optimzoo.optimizers.parts import Parts
from optimzoo.traces import describe_error

HARMLESS = ("one_group", "whole", "whole_if_unknown")
NO_PART_OF_A_TRIAL = ("state", "param_groups", "step", "grad_scale", "found_inf")


def check_facts(optimizer: Optimizer) -> None:
    """Check that nothing that is known of the optimizer forbids to flatten it.

    Raises:
        ConfigError: Something does.
    """
    cls = type(optimizer)
    for need in sorted(needs_of(optimizer).difference(HARMLESS)):
        raise ConfigError(f"{cls.__name__} {NEEDS[need]}. It cannot be flattened: leave it out", "flatten")
    facts = known_facts(cls)
    row = facts.rows.get("elementwise") if facts else None
    if row and row[1] == "no":
        raise ConfigError(f"{cls.__name__}: {row[2]}", "flatten")


def check_compiled(optimizer: Optimizer) -> None:
    """Check that it is one optimizer, and that there is what torch compiles with.

    Raises:
        ConfigError: It is not so.
    """
    if isinstance(optimizer, Parts):
        raise ConfigError("the step of an optimizer of several parts is not compiled: leave it out", "compile")
    if any(parameter.device.type == "cpu" for group in optimizer.param_groups for parameter in group["params"]):
        from torch._inductor.cpp_builder import get_cpp_compiler

        try:
            get_cpp_compiler()
        except Exception as error:
            raise ConfigError(
                "torch compiles steps on a CPU with a C++ compiler, and finds none: install g++ or clang++, name it in "
                f"the environment variable CXX, or leave it out ({describe_error(error)})",
                "compile",
            ) from error


def check_group(optimizer: Optimizer, group: Mapping[str, Any], compiled: bool = False) -> None:
    """Step a copy of the optimizer over small parameters, and over one that is all of them, with a group's settings.

    Args:
        optimizer: The optimizer.
        group: The group.
        compiled: Whether its steps are noted down too.

    Raises:
        ConfigError: They move differently, the state is not one number for each number, or a step cannot be noted.
    """
    name, ends = type(optimizer).__name__, _ends(optimizer, group)
    apart = next(ends)
    if compiled and not group.get("fused"):
        tape = Tape(lambda graph: graph)
        noted = next(_ends(optimizer, group, tape))
        if tape.why_not or not torch.equal(noted, apart):
            why = tape.why_not or "has a step that comes to other results where its operations are noted down"
            raise ConfigError(f"{name} {why}: it cannot be compiled, so leave it out", "compile")
    if not all(torch.equal(apart, whole) for whole in ends):
        cls: Any = type(optimizer)
        plain = {k: p.default for k, p in calls.parameters(cls).items() if p.default is not p.empty}
        given = [k for k in plain.keys() & group.keys() - {"lr"} if group[k] != plain[k]]
        others = {k: _ends(optimizer, {**group, k: plain[k]}) for k in given}
        to_blame = [k for k, (first, *rest) in others.items() if all(torch.equal(first, end) for end in rest)]
        told = f"{to_blame[0]}={group[to_blame[0]]!r}" if to_blame else "the arguments that it has"
        raise ConfigError(
            f"{name}, with {told}, moves a number otherwise in another parameter: it cannot be flattened", "flatten"
        )


def _ends(optimizer: Optimizer, group: Mapping[str, Any], tape: Tape | None = None) -> Iterator[Tensor]:
    """Yield where copies of the optimizer move the numbers, in each layout."""
    name, like = type(optimizer).__name__, group["params"][0]
    device = torch.device("cpu") if like.is_meta else like.device
    row = ROW // like.element_size()
    values, *grads = course(row)

    def moved(shapes: Shapes) -> list[tuple[nn.Parameter, Any]]:
        def of_trial(numbers: Tensor) -> list[Tensor]:  # copies, since some write into gradients
            parts = zip(torch.split(numbers, [*map(math.prod, shapes)]), shapes)
            return [part.view(shape).to(device, like.dtype, copy=True) for part, shape in parts]

        params = [nn.Parameter(value) for value in of_trial(values)]
        twin = _twin(optimizer, group, params)
        torch.manual_seed(0)
        for step in grads:
            for parameter, grad in zip(params, of_trial(step)):
                parameter.grad = grad
            if tape is None:
                twin.step()
                continue
            tape.begin(params)
            try:
                twin.step()
            finally:
                tape.finish([*twin.state.values(), *twin.param_groups], failed=sys.exc_info()[0] is not None)
        return [(parameter, twin.state[parameter]) for parameter in params]

    devices = [like.device.index or 0] if like.device.type == "cuda" else []
    for shapes in layouts(row):
        try:
            with torch.random.fork_rng(devices), torch.enable_grad():
                found = moved(shapes)
        except Exception as error:
            raise ConfigError(
                f"a copy of {name} fails in a trial on buffers: {describe_error(error)}",
                "compile" if tape else "flatten",
            ) from error
        for parameter, state in found:
            _check_state(name, parameter, state)
        yield torch.cat([parameter.detach().flatten() for parameter, _ in found])


def _check_state(name: str, parameter: Tensor, state: Mapping[str, Any]) -> None:
    for key, value in state.items():
        if isinstance(value, (list, dict)) or (
            isinstance(value, Tensor) and value.ndim and not (is_part(value, parameter) and value.is_floating_point())
        ):
            of = f"{value.dtype} of the shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value)
            raise ConfigError(f"the state of {name} is not one number for each number: {key!r} is {of}", "flatten")


def _twin(optimizer: Optimizer, group: Mapping[str, Any], params: list[nn.Parameter]) -> Any:
    twin: Any = object.__new__(type(optimizer))
    for key, value in vars(optimizer).items():
        if key not in NO_PART_OF_A_TRIAL:
            vars(twin)[key] = OrderedDict() if key.endswith("_hooks") else copy.deepcopy(value)
    settings = {key: value for key, value in group.items() if key not in ("params", "param_names")}
    twin.state, twin.param_groups = defaultdict(dict), [{**copy.deepcopy(settings), "params": params}]
    return twin
