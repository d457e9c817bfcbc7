"""Whether a run goes on from a saved state, what the state is, and what becomes of groups."""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from optimzoo.flat.chunk import ROW
from optimzoo.flat.layouts import layouts
from optimzoo.vetting.record import Fact, fault, fine, measures, note
from optimzoo.vetting.trial import AGAIN, MATRIX, TWO, Bent, Course, Trial, Way, far
from optimzoo.wrappers import attributes
from optimzoo.wrappers.attributes import STANDARD


@measures("resume", error="fault")
def resume(way: Way, shapes: Any = (), file: bool = True, **settings: Any) -> Fact:
    """Stop a run at update 10, after its rate was halved, and go on with new objects, beside one that did not stop."""
    bench = Bent if way.drive == "graph" else Trial
    whole = bench(way, shapes, **settings)
    at_first = attributes.marks(whole.optimizer)
    whole.run(5)
    if whole.lr:
        whole.multiply_lr(0.5)
    saved, state = whole.run(5, first=5).values(), whole.optimizer.state_dict()
    beside = copy.deepcopy(attributes.changed(whole.optimizer, at_first))
    weights, rates = [w.detach().clone() for w in whole.weights], [g.get("lr") for g in whole.optimizer.param_groups]
    kept, buffer = None if file else copy.deepcopy(state), io.BytesIO()
    if file:
        torch.save(state, buffer)

    def read() -> Any:
        buffer.seek(0)
        return torch.load(buffer, weights_only=False) if file else copy.deepcopy(kept)

    def again(load: bool, beside: Any = ()) -> tuple[Tensor, bool]:
        trial = bench(way, weights=[torch.nn.Parameter(w.clone()) for w in weights], **settings)
        if load:
            trial.optimizer.load_state_dict(read())
            attributes.put_back(trial.optimizer, beside)
        if callable(getattr(trial.optimizer, "train", None)):
            trial.optimizer.train()
        same = rates == [g.get("lr") for g in trial.optimizer.param_groups]
        return trial.run(4, first=10).values(), same

    end, (resumed, same) = whole.run(4, first=10).values(), again(load=True)
    apart = far(resumed, end, saved)
    if apart == 0:
        return fine("exact")
    if apart < 1e-5:
        return note("near", f"a resumed run is {apart:.2g} of its way off one that did not stop")
    if not same:
        lost = "the learning rate of its groups"
    elif torch.equal(again(load=False)[0], resumed):
        lost = "its whole state"
    else:
        inside = [key for key, value in _groups(whole.optimizer)[0].items() if isinstance(value, dict)]
        lost = " ".join(_changing(way)) or " ".join(f"group[{key!r}]" for key in inside) or "a part"
    why = f"a resumed run is {apart:.2g} of its way off one that did not stop; lost is {lost}"
    if torch.equal(again(load=True, beside=beside)[0], end):
        return fault("attributes", f"{why}, which the state of an optimizer wrapper has")
    return fault("inexact", why)


def _resumed(way: Way, **how: Any) -> Fact:
    """Return what ``resume`` finds that way: a fault with several groups alone, else a note."""
    found = resume(way, **how)
    told = found.verdict == "fine" or ("split" in how and resume(way).verdict == "fine")
    return found if told else note(found.value, found.why)


measures("resume.memory", error="note")(partial(_resumed, file=False))
measures("resume.groups", error="note")(partial(_resumed, shapes=TWO, split=True))
measures("resume.bfloat16", error="note")(partial(_resumed, dtype=torch.bfloat16))


def _changing(way: Way) -> list[str]:
    """Name what changes on the object in updates, and does not come with its state dict."""
    trial, shown = Trial(way), []
    for k in (0, 2):
        own = vars(trial.run(2, first=k).optimizer).items()
        shown.append({key: _shown(value) for key, value in own if key not in STANDARD})
    names = sorted(key for key in shown[1] if shown[0].get(key) != shown[1][key])
    if names:
        resumed = Trial(way).optimizer
        with contextlib.suppress(Exception):  # a state that cannot be loaded brings nothing
            resumed.load_state_dict(trial.optimizer.state_dict())
        names = [name for name in names if _shown(vars(resumed).get(name)) != shown[1][name]]
    return names


def _shown(value: Any) -> str:
    return repr(value.get_state().tolist() if isinstance(value, torch.Generator) else value)


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Yield each leaf of nested containers, with the keys that lead to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{where}[{key!r}]" if isinstance(key, str) else where)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item, where)
    else:
        yield where, value


def _groups(optimizer: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in group.items() if k not in ("params", "param_names")} for group in optimizer.param_groups]


def _held(value: Any, library: str, seen: dict[int, Any]) -> Iterator[Any]:
    """Yield the tensors and optimizers that a value holds, in containers and in objects of the library, each once."""
    if id(value) in seen:
        return
    seen[id(value)] = value
    if isinstance(value, (Tensor, torch.optim.Optimizer)):
        yield value
    inside: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, (list, tuple, set, deque)):
        inside = value
    elif not isinstance(value, Tensor) and type(value).__module__.partition(".")[0] == library:
        inside = [v for k, v in getattr(value, "__dict__", {}).items() if k not in STANDARD]
    for item in inside:
        yield from _held(item, library, seen)


def _tensors(trial: Trial) -> dict[str, list[Tensor]]:
    """Return the tensors that the optimizer holds beside the parameters, by where they are, each once."""
    library = type(trial.optimizer).__module__.partition(".")[0]
    own = {k: v for k, v in vars(trial.optimizer).items() if k not in STANDARD}
    inner = [v for v in _held(own, library, {}) if isinstance(v, torch.optim.Optimizer)]  # as of Lookahead and ZeRO
    optimizers, seen = [trial.optimizer, *inner], {id(w): w for w in trial.weights}
    states, groups = [dict(each.state) for each in optimizers], [_groups(each) for each in optimizers]
    return {
        place: [v for v in _held(holder, library, seen) if isinstance(v, Tensor)]
        for place, holder in {"state": states, "groups": groups, "object": own}.items()
    }


def _bytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor: of one that is made of others, such as one of few bits, those of these."""
    if hasattr(tensor, "__tensor_flatten__"):
        return sum(_bytes(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
    return tensor.numel() * tensor.element_size()


@measures("state")
def state(way: Way) -> Fact:
    """Count the bytes of tensors in the state, the groups and the object after twelve updates, per parameter."""
    trial = Trial(way, (MATRIX,), **way.busy)

    def sizes(count: int, first: int = 0) -> dict[str, float]:
        found = _tensors(trial.run(count, first=first))
        return {place: sum(map(_bytes, vs)) / 4096 for place, vs in found.items()}

    early = sizes(AGAIN)
    total, places = round(sum(early.values()), 1), " and the ".join(p for p, size in early.items() if size > 0.1)
    dtypes = {str(v.dtype)[6:] for vs in _tensors(trial).values() for v in vs if v.numel() > 1}
    why = f"bytes per parameter, {' and '.join(sorted(dtypes))} in the {places}" if places else "bytes per parameter"
    last = sum(sizes(AGAIN, first=AGAIN).values())
    if last > total + 0.1:
        return note(total, f"{why}: it grows, to {last:.4g} after {2 * AGAIN} updates")
    return fine(total, why) if places in ("", "state") else note(total, f"{why}: not only where torch keeps it")


@measures("state.kinds")
def kinds(way: Way) -> Fact:
    """Look for what is no number and no tensor, and for tensors in the groups."""
    optimizer = Trial(way, **way.busy).run(3).optimizer
    leaves = [*_leaves(dict(optimizer.state), "state"), *_leaves(_groups(optimizer), "group")]
    strings = [where for where, v in leaves if isinstance(v, str) and where.startswith("state")]
    plain = (str, bool, int, float, complex, Tensor, torch.dtype, torch.device, type(None))
    found = {
        "objects": dict.fromkeys(f"{where} ({type(v).__name__})" for where, v in leaves if not isinstance(v, plain)),
        "tensors": dict.fromkeys(where for where, v in leaves if isinstance(v, Tensor) and where.startswith("group")),
    }
    if strings:
        return fault("strings", f"torch's load_state_dict garbles strings in the state: {strings[0]}")
    why = "; ".join(f"{kind} in {', '.join(where)}" for kind, where in found.items() if where)
    return note(" ".join(kind for kind, where in found.items() if where), why) if why else fine("plain")


@measures("state.weights_only", error="note")
def weights_only(way: Way) -> Fact:
    """Read the saved state dict as ``torch.load`` does by itself."""
    torch.save(Trial(way, **way.busy).run(3).optimizer.state_dict(), file := io.BytesIO())
    file.seek(0)
    try:
        torch.load(file, weights_only=True)
    except pickle.UnpicklingError as error:
        named = str(error).partition("GLOBAL ")[2].split(" ")[0]
        return note("refused", f"torch.load refuses its state{named and f' for {named}'}, unless weights_only=False")
    return fine("loads")


@measures("state.outside")
def outside(way: Way) -> Fact:
    """Name the attributes of the object that change in updates."""
    names = " ".join(_changing(way))
    return note(names, "attributes that updates change, and no checkpoint holds") if names else fine("nothing")


@measures("groups.merge", error="note")
def merge(way: Way) -> Fact:
    """Put two parameters into one group, and into one each."""
    start, one, two = (Trial(way, TWO, split=split, **way.busy) for split in (False, False, True))
    apart = far(two.run(5).values(), one.run(5).values(), start.values())
    why = f"two equal groups end {apart:.2g} of the way elsewhere than one with the same parameters"
    return note("depends", why) if apart > 1e-6 else fine("same")


@measures("groups.keys", error="note")
def keys(way: Way) -> Fact:
    """Give groups keys of their own, and look for these, the names, the parameters, and the groups themselves."""
    weights = Trial(way, TWO).weights
    groups = [{"params": [w], "param_names": [f"w{i}"], "own_key": i} for i, w in enumerate(weights)]
    kept = way.cls(groups, **way.kwargs).param_groups
    if len(kept) != 2 or any(group["params"][0] is not w for group, w in zip(kept, weights)):
        return note("rearranged", "the groups are not those that it was given")
    lost = [key for key in ("param_names", "own_key") if any(key not in group for group in kept)]
    if lost:
        return note(f"lost {' '.join(lost)}", "groups lose keys that they were given")
    trial = Trial(way, TWO, split=True)
    lists = [trial.optimizer.param_groups, *trial.optimizer.param_groups]
    same = [*map(id, lists)] == [*map(id, [trial.run(2).optimizer.param_groups, *trial.optimizer.param_groups])]
    return fine("kept") if same else note("replaced", "updates put other dicts or another list in their place")


@measures("groups.added", error="note")
def added(way: Way) -> Fact:
    """Add a group after three updates."""
    trial = Trial(way, (MATRIX,)).run(3)
    late = torch.nn.Parameter(trial.numbers(99, (MATRIX,))[0])
    before = late.detach().clone()
    trial.optimizer.add_param_group({"params": [late]})
    trial.weights.append(late)
    moved = trial.run(AGAIN, first=3).finite() and not torch.equal(before, late)
    return fine("trained") if moved else fault("not trained", "the parameters of a group added later are not trained")


@measures("elementwise", error="note", decaying=True)
def elementwise(way: Way) -> Fact:
    """Move parameters, a matrix and a vector that are all of them in a row, as the trial of flat steps, to the bit."""
    shapes, *wholes = layouts(ROW // way.dtype.itemsize, vectors=len(way.shapes) > 1)

    def end(of: Any) -> Tensor:
        return Course(way, of, **way.busy).run(Course.UPDATES).values()

    apart = end(shapes)
    same = all(torch.equal(apart, end(whole)) for whole in wholes)
    return fine("yes") if same else note("no", "a number moves otherwise in another parameter: it cannot be flattened")
