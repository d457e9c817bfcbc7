"""Which arguments are refused or do nothing, and what a class and its library do beside optimizing."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from optimzoo.vetting.record import Fact, fault, fine, measures, note, unmeasured
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
    return (
        note(f"takes {' '.join(taken)}", f"a rate that is {' or '.join(taken)} is taken") if taken else fine("refused")
    )


@measures("arguments.effect")
def effect(way: Way) -> Fact:
    """Change each argument that is a switch or a number, and look for the bits of ten updates to change."""
    base = way.busy | ({"weight_decay": 0.1} if isinstance(way.setting("weight_decay"), (int, float)) else {})

    def course(settings: dict[str, Any]) -> torch.Tensor:
        trial = Trial(way, **settings)
        for k in range(10):  # some switches matter after a peak only
            trial.update(k, scale=1.0 if k < 5 else 1e-3)
        return trial.values()

    usual, idle = course(base), {}
    for name in [name for name in list(way.signature)[1:] if name not in OF_EXECUTION]:
        other = _other(base.get(name, way.setting(name)))
        try:
            if other is not None and torch.equal(course(base | {name: other}), usual):
                idle[name] = other
        except (Exception, SystemExit):  # the value is refused, or excluded by another: it is read
            continue
    dead = {name: other for name, other in idle.items() if name in CLASSIC}
    if dead:
        return fault(" ".join(dead), f"taken without an effect: {', '.join(dead)}", base=base, other=base | dead)
    why = f"changing these changes nothing in ten updates here: {', '.join(idle)}"
    return note(" ".join(idle), why) if idle else fine("all")


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
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, str(LOOK), module, str(out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        if done.returncode:
            return unmeasured(f"{module} cannot be imported by itself")
        seen = json.loads(out.read_text())
    what = [f"changes {name}" for name in seen["changed"]] + ["warns"] * seen["warns"]
    what += ["prints"] * bool(done.stdout.strip()) + ["writes to the error stream"] * bool(done.stderr.strip())
    what += [f"takes {seen['seconds']:.0f} s"] * (seen["seconds"] > 5)
    return note(", ".join(what), f"importing its module {', '.join(what)}") if what else fine("quiet")


@measures("manners.quiet")
def quiet(way: Way) -> Fact:
    """Build and update, and look at what is printed and warned."""
    sys.stdout.seek(0), sys.stdout.truncate()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Trial(way).run(3)
    sys.stdout.flush()
    with open(f"/dev/fd/{sys.stdout.fileno()}") as file:
        printed = file.read().strip()
    warned = [str(w.message) for w in caught if "create_graph" not in str(w.message)]
    if printed or warned:
        return note("prints" if printed else "warns", (printed or warned[0]).splitlines()[0][:160])
    return fine("quiet")


@measures("manners.random")
def random(way: Way) -> Fact:
    """Compare the state of the global generator before and after an update."""
    trial, generator = Trial(way).run(1), torch.manual_seed(1)
    before = generator.get_state()
    trial.update(1)  # which seeds with the same number
    drawn = not torch.equal(before, generator.get_state())
    return (
        note("draws", "a step draws from the global random numbers: all that follow are others")
        if drawn
        else fine("none")
    )


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
    """Call ``step(closure)``: the closure must be called, with gradients, and its loss returned."""
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
    return fine("called")


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
            failed |= {} if torch.equal(ends[0], ends[1]) else {name: "the copy goes another way"}
        except Exception as raised:
            failed[name] = f"{type(raised).__name__}: {raised}".partition("\n")[0][:120]
    why = "; ".join(f"{name}: {text}" for name, text in failed.items())
    return note(f"not {', '.join(failed)}", why) if failed else fine("survives")
