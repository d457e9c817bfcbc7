"""Which arguments are refused or do nothing, and what a class and its library do beside optimizing."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from optimzoo.vetting.look import look
from optimzoo.vetting.record import Fact, brief, fault, fine, measures, note, refusal, unless_refused, unmeasured
from optimzoo.vetting.trial import Trial, Way

OF_EXECUTION = ("foreach", "fused", "capturable", "differentiable")
"""Torch's arguments that choose how a step runs, not what it computes."""
CLASSIC = ("amsgrad", "betas", "dampening", "maximize", "momentum", "nesterov", "weight_decay")
"""Arguments of torch's own optimizers, whose effect nobody doubts."""
LOOK = Path(__file__).with_name("look.py")


@measures("arguments.misspelt")
def misspelt(way: Way) -> Fact:
    """Pass an argument that does not exist."""
    try:
        Trial(way, wieght_decay_=0.1)
    except Exception:
        return fine("refused")
    return fault("taken", "an argument that does not exist is taken without a word, and so is each misspelt one")


@measures("arguments.lr")
def bad_lr(way: Way) -> Fact:
    """Pass a negative rate, and NaN."""
    if "lr" not in way.signature:
        return unmeasured("it has no argument lr")
    taken = []
    for name, lr in {"negative": -1.0, "NaN": float("nan")}.items():
        try:
            Trial(way, lr=lr)
            taken.append(name)
        except Exception:
            continue
    why = f"a rate that is {' or '.join(taken)} is taken"
    return note(f"takes {' '.join(taken)}", why) if taken else fine("refused")


def _course(way: Way, settings: dict[str, Any], updates: int = 10, **of_groups: Any) -> torch.Tensor:
    """Return where some updates end that have a peak, since some switches matter after one only."""
    trial = Trial(way, **settings)
    for group in trial.optimizer.param_groups:
        group |= of_groups
    return trial.run(5).run(updates - 5, first=5, scale=1e-3).values()


def _idle(
    way: Way, usual: torch.Tensor, names: Iterable[str], course: Callable[[str, Any], torch.Tensor]
) -> dict[str, Any]:
    """Return other values, by the argument's name, with which the course is the usual one."""
    idle = {}
    for name in names:
        other = _other(way.decaying.get(name, way.setting(name)))
        try:
            if other is not None and torch.equal(course(name, other), usual):
                idle[name] = other
        except (Exception, SystemExit):  # the value is refused, or excluded by another: it is read
            continue
    return idle


@measures("arguments.effect")
def effect(way: Way) -> Fact:
    """Change each argument that is a switch or a number, and look for the bits of ten updates to change."""
    base, names = way.decaying, [name for name in list(way.signature)[1:] if name not in OF_EXECUTION]
    idle = _idle(way, _course(way, base), names, lambda name, other: _course(way, base | {name: other}))
    one_list = "@params" not in way.kwargs.values()  # what has two may treat one of them otherwise
    dead = _still_idle(way, base, {name: other for name, other in idle.items() if name in CLASSIC and one_list})
    if dead:
        return fault(
            " ".join(dead), f"taken without an effect in sixty updates: {', '.join(dead)}", base=base, other=base | dead
        )
    why = f"changing these changes nothing in ten updates here: {', '.join(idle)}"
    return note(" ".join(idle), why) if idle else fine("all")


def _still_idle(way: Way, base: dict[str, Any], idle: dict[str, Any]) -> dict[str, Any]:
    """Return which of those do nothing in sixty updates in double precision either.

    Some methods come to it later, as amsgrad does that waits for a variance to fall, or by little at first.
    """

    def found(dtype: torch.dtype) -> dict[str, Any]:
        long = partial(_course, replace(way, dtype=dtype), updates=60)
        return _idle(way, long(base), idle, lambda name, other: long(base | {name: other}))

    try:
        return found(torch.float64) if idle else {}
    except Exception:  # there are kernels without float64
        return found(way.dtype)


@measures("groups.settings")
def settings(way: Way) -> Fact:
    """Change what torch's optimizers read from their groups in the groups, after the construction."""
    base = way.decaying
    usual, names = _course(way, base), [name for name in CLASSIC if name in way.signature]
    idle = _idle(way, usual, names, lambda name, other: _course(way, base, **{name: other}))
    idle = {n: other for n, other in idle.items() if not torch.equal(_course(way, base | {n: other}), usual)}
    why = f"read at the construction: a group's own value, or a schedule, does nothing: {', '.join(idle)}"
    return note(" ".join(idle), why) if idle else fine("live")


def _other(value: Any) -> Any:
    """Return another value of the same kind; None where no other is sure to be meant."""
    if isinstance(value, tuple) and value and all(isinstance(v, float) for v in value):
        return tuple(v * 0.5 for v in value)
    if isinstance(value, bool):
        return not value
    return value * 0.5 + 0.01234 if isinstance(value, float) and abs(value) < 1e3 else 0.25 if value == 0 else None


@measures("manners.import")
def importing(way: Way) -> Fact:
    """Import the module in a fresh process after torch, and look at what it prints and changes."""
    module = way.cls.__module__
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.json")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
        command = [sys.executable, str(LOOK), module, str(out)]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)
        if done.returncode:
            return unmeasured(f"{module} cannot be imported by itself")
        seen = json.loads(out.read_text())
        files = sorted(path.name for path in Path(folder).iterdir() if path != out)
    what = [f"changes {name}" for name in seen["changed"]] + ["warns"] * seen["warns"]
    what += ["prints"] * bool(done.stdout.strip()) + ["writes to the error stream"] * bool(done.stderr.strip())
    what += [f"takes {seen['seconds']:.0f} s"] * (seen["seconds"] > 5) + [f"leaves the file {name}" for name in files]
    return note(", ".join(what), f"importing its module {', '.join(what)}") if what else fine("quiet")


def _installed_beside(module: str) -> set[str]:
    """Return the packages at the top that the distribution of ``module`` brings; none where it has none."""
    try:
        found = metadata.distribution(module)
    except metadata.PackageNotFoundError:
        names = metadata.packages_distributions().get(module)
        if not names:
            return set()
        found = metadata.distribution(names[0])
    tops = found.read_text("top_level.txt")
    files = (file for file in (() if tops else found.files or ()) if file.suffix == ".py" and file.parts[1:])
    return set(tops.split()) if tops else {file.parts[0] for file in files}


@measures("manners.litter")
def litter(way: Way) -> Fact:
    """Look for files that a build and updates leave, and for packages that its distribution brings beside its own."""
    own = way.cls.__module__.partition(".")[0]
    Trial(way).run(2)
    left = [f"the file {name}" for name in sorted(os.listdir())]
    strange = (t for t in _installed_beside(own) if t.isidentifier() and own.casefold() not in t.casefold())
    left += [f"the package {top}" for top in sorted(strange) if not top.startswith("_")]
    return note(", ".join(left), f"it leaves or installs {', '.join(left)}") if left else fine("none")


@measures("manners.quiet")
def quiet(way: Way) -> Fact:
    """Build and update, and look at what is printed, warned and changed."""
    sys.stdout.seek(0), sys.stdout.truncate()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trial = Trial(way)
        before = look() | {"the seed": 2}
        trial.run(3)
        changed = [name for name, value in look().items() if value != before[name]]
    sys.stdout.flush()
    with open(f"/dev/fd/{sys.stdout.fileno()}") as file:
        printed = file.read().strip()
    warned = [str(w.message) for w in caught if "create_graph" not in str(w.message)]
    if printed or warned:
        return note("prints" if printed else "warns", brief(printed or warned[0], 160))
    return note("changes", f"updates change {', '.join(changed)}") if changed else fine("quiet")


@measures("manners.random")
def randomness(way: Way) -> Fact:
    """Repeat a run from the same seeds, and compare the states of the global generators around an update."""
    if not torch.equal(Trial(way).run(4).values(), Trial(way).run(4).values()):
        return fault("not repeatable", "the same run from the same seeds goes another way")

    def states() -> dict[str, Any]:
        torchs, numpys = torch.get_rng_state().tolist(), np.random.get_state(legacy=False)
        return {"torch": torchs, "random": random.getstate(), "numpy": repr(numpys)}

    trial = Trial(way).run(1)
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    before = states()
    trial.update(1)  # which seeds with the same number
    drawn = [name for name, state in states().items() if state != before[name]]
    why = f"a step draws from the global random numbers of {', '.join(drawn)}: all that follow are others"
    return note("draws", why) if drawn else fine("none")


@measures("manners.instances")
def instances(way: Way) -> Fact:
    """Run an optimizer alone, and beside another of its class."""
    alone, one, other = Trial(way).run(4), Trial(way), Trial(way, size=0.5)
    for k in range(4):
        one.run(1, k), other.run(1, k + 1)
    if torch.equal(alone.values(), one.values()):
        return fine("independent")
    return fault("share", "two optimizers of the class share something: each changes what the other does")


@measures("manners.error")
def error(way: Way) -> Fact:
    """Make a step fail, and look whether gradients are still recorded."""

    def no_lr(optimizer: Any) -> None:
        for group in optimizer.param_groups:
            group["lr"] = "x"

    def loaded(optimizer: Any) -> None:
        optimizer.load_state_dict(Trial(way).run(1).optimizer.state_dict())

    for harm in (no_lr, loaded):
        trial = Trial(way).run(1)
        try:
            harm(trial.optimizer)
            trial.update(1)
        except Exception as raised:
            if not torch.is_grad_enabled():
                why = f"an error in a step ({type(raised).__name__}) leaves autograd off for the whole process"
                return fault("autograd stays off", why)
    return fine("autograd stays on")


@measures("manners.closure", error="note")
def closure(way: Way) -> Fact:
    """Call ``step(closure)``: the closure must be called once, with gradients, and its loss returned."""
    if way.drive != "step":
        return unmeasured("it is driven otherwise")
    trial, recorded = Trial(way).run(1), []

    def evaluate() -> torch.Tensor:
        recorded.append(torch.is_grad_enabled())
        return trial.loss(1)

    result = trial.optimizer.step(evaluate)
    if not all(recorded):
        return fault("without gradients", "the closure is called with autograd off")
    if not recorded or result is None:
        return note("no loss" if recorded else "ignored", "step takes a closure, but returns no loss")
    count = len(recorded)
    return note(f"{count} times", f"a step evaluates the closure {count} times") if count > 1 else fine("called")


@measures("manners.copies")
def copies(way: Way) -> Fact:
    """Copy it by deepcopy and by pickle, together with its parameters, and make three more updates with each."""
    failed: dict[str, str] = {}
    ways: dict[str, Callable[[Any], Any]] = {
        "deepcopy": copy.deepcopy,
        "pickle": lambda o: pickle.loads(pickle.dumps(o)),
    }
    for name, copied in ways.items():
        trial = Trial(way).run(3)
        twin = copy.copy(trial)
        try:
            twin.weights, twin.optimizer = copied((trial.weights, trial.optimizer))
            ends = [each.run(3, first=3).values() for each in (trial, twin)]
        except Exception as raised:
            failed[name] = refusal(raised, 120)
            continue
        if not torch.equal(ends[0], ends[1]):
            return fault("another way", f"a copy by {name} is made, and goes another way")
    return unless_refused(failed, "survives")
