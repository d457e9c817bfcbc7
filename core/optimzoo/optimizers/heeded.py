"""What is known of an optimizer by measurement, said where it matters: one sentence, once for each build."""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import os
import subprocess
import sys
import warnings
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from optimzoo.errors import ConfigError, OptimzooWarning
from optimzoo.names.entry import Entry, dotted, library_version
from optimzoo.names.facts import UNDRIVEN, Facts, packed, unpacked
from optimzoo.names.zoo import OPTIMIZERS
from optimzoo.optimizers.fused import FUSED

HEEDED: dict[str, dict[str, tuple[tuple[str, ...], str]]] = {
    "schedule": {
        "lr": (("ignored", "late"), "a schedule of its learning rate does not do what it says"),
        "lr.written": (("written",), "a schedule of its learning rate does not do what it says"),
    },
    "tensor_lr": {
        "lr.tensor": (
            ("written into", "other numbers", "other numbers with weight_decay"),
            "give it the learning rate as a number",
        )
    },
    "clip": {"scale": (("each",), "clipping its gradients by their norm does nothing")},
    "groups": {
        "groups.merge": (("depends",), "its results depend on how parameters are grouped, and there are groups")
    },
    "decay_of_groups": {"decay.groups": (("shared",), "the weight_decay of a single group does nothing")},
    "bfloat16": {"dtypes.bfloat16": (("another state",), "do not train bfloat16 parameters with it")},
    "float16": {
        "dtypes.small": (("loop", "foreach", "fused"), "keep its parameters in float32, under AmpOptimWrapper")
    },
    "kernels": {"kernels.half": ((), "leave the kernel out, or train in another dtype")},
    "rounding": {"dtypes.forgets": (("no",), "a large gradient makes all later steps of bfloat16 parameters small")},
    "arguments": {"arguments.effect": ((), "an argument does nothing")},
    "checkpoint": {
        "resume": (("inexact", "fails"), "a run that is resumed does not go on as if it had not stopped"),
        "state.weights_only": (("refused",), "torch.load reads its checkpoints with weights_only=False only"),
        "manners.copies": (("another way",), "a copy of it does not go on as it does"),
    },
    "bare": {
        "resume": (("attributes",), "its own state does not resume it (that of a wrapper does: build_optim_wrapper)"),
        "manners.copies": (
            ("another way", "not deepcopy", "not deepcopy, pickle"),
            "it does not survive a deepcopy (a wrapper keeps what such a copy forgets: build_optim_wrapper)",
        ),
    },
}
"""For each situation, the facts that matter in it: with which values, and what these mean there. Without values it is a
fault whose value is, or names, one of the keys that ``heed`` is given."""


FACTORS = ("alpha", "beta2", "betas", "rho")
"""Arguments that say by what factor an average falls."""
AVERAGES: dict[type, tuple[str, int | None]] = {
    **dict.fromkeys((torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam), ("betas", 1)),
    torch.optim.Adamax: ("betas", 1),
    torch.optim.RMSprop: ("alpha", None),
}
"""torch's optimizers that keep an average, or a maximum, of the sizes of gradients in the dtype of the parameters, and
the argument that says by what factor it falls in a step."""


def heed(cls: type, situation: str, keys: Iterable[str] = ()) -> None:
    """Warn if a fact about ``cls`` matters in the ``situation``, a key of ``HEEDED``, or to the ``keys`` given."""
    facts = known_facts(cls)
    if facts is None:
        return
    library, told = _library(cls), set()
    of_library = f"{library} {facts.version} and " if facts.version and library != "torch" else ""
    for fact, (values, meaning) in HEEDED[situation].items():
        verdict, value, why = facts.rows.get(fact, ("", None, ""))
        named = {str(value), *str(value).split()} & {*keys}
        matters = is_heeded(value, values) and (named or not keys) if values else verdict == "fault" and named
        if matters and meaning not in told:
            told.add(meaning)
            warnings.warn(
                f"{cls.__name__}: {meaning}: {why} (measured with {of_library}torch {facts.torch})",
                OptimzooWarning,
                stacklevel=3,
            )


def is_heeded(value: Any, values: Collection[str]) -> bool:
    """Whether the value of a fact, or each word of it, is one of those that matter; without those, any is."""
    return not values or value in values or {*str(value).split()} <= {*values}


def heed_dtypes(
    cls: type, settings: Sequence[Mapping[str, Any]], dtypes: Collection[torch.dtype], changed: Collection[str]
) -> None:
    """Warn of what is known of the class in the dtypes of its parameters.

    Args:
        cls: The class.
        settings: The settings of each group.
        dtypes: The dtypes of the parameters.
        changed: The arguments that are not the defaults.
    """
    kernels = {kernel for kernel in ("foreach", "fused") if any(each.get(kernel) for each in settings)}
    if torch.bfloat16 in dtypes:
        heed(cls, "bfloat16")
    if torch.float16 in dtypes and "eps" not in changed:
        heed(cls, "float16", kernels or {"loop"})
    kernels -= {"fused"} if cls in FUSED else set()  # of which one that errs is not chosen, and refused
    heed(cls, "kernels", [f"{name} differs in {dtype}".replace("torch.", "") for name in kernels for dtype in dtypes])
    _heed_rounding(cls, settings, dtypes, changed)


def _heed_rounding(
    cls: type, settings: Iterable[Mapping[str, Any]], dtypes: Iterable[torch.dtype], changed: Iterable[str]
) -> None:
    """Warn if an average of squared gradients, which is kept in the dtype of the parameters, can never fall.

    Of other classes than those in ``AVERAGES`` it is known by measurement, with the default arguments.
    """
    if cls not in AVERAGES:
        if torch.bfloat16 in dtypes and {*FACTORS}.isdisjoint(changed):
            heed(cls, "rounding")
        return
    halves = [dtype for dtype in dtypes if dtype.is_floating_point and dtype.itemsize < 4]
    if not halves:
        return
    name, place = AVERAGES[cls]
    default = inspect.signature(cls).parameters[name].default
    factors = [given if place is None else given[place] for given in (each.get(name, default) for each in settings)]
    for dtype in halves:
        # A number times a factor is rounded back to it if it falls by less than half of the distance to the next one.
        least = torch.finfo(dtype).eps / 2
        still = [factor for factor in map(float, factors) if 0 < 1 - factor < least]
        if still:
            argument = name if place is None else f"{name}[{place}]"
            kind = str(dtype).removeprefix("torch.")
            warnings.warn(
                f"{cls.__name__} averages squared gradients in {kind}, where {argument}={still[0]:g} lets the average "
                "rise, and rounding keeps it from falling: a large gradient makes all later steps small. Keep the "
                f"parameters in float32, as under AmpOptimWrapper with dtype={kind!r}, or take {argument} = "
                f"{math.floor(1e3 * (1 - least)) / 1e3:g} or less",
                OptimzooWarning,
                stacklevel=4,
            )
            return


def known_facts(cls: type) -> Facts | None:
    """Return the facts about exactly this class, from the plugin that names it or from the user's cache."""
    return stored_facts(cls) or _cached(cls)


def stored_facts(cls: type) -> Facts | None:
    """Return the facts about exactly this class from the plugin that names it."""
    entry = OPTIMIZERS.entry_of(cls)
    return entry.facts if entry and entry.load() is cls else None


def _cached(cls: type) -> Facts | None:
    file = _cache(cls)
    return unpacked(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def measure(cls: type, kwargs: Mapping[str, Any]) -> None:
    """Run ``optimzoo vet`` on a class that no plugin knows facts of, unless the cache has it for these versions.

    Raises:
        ConfigError: The class could not be measured.
    """
    if stored_facts(cls):
        return
    facts = _cached(cls) or _measured(cls, kwargs)
    undriven = UNDRIVEN.get(facts.value("needs"))
    if undriven:
        why = f"{cls.__name__}: vet measured nothing: {undriven}: {facts.rows['needs'][2]}"
        warnings.warn(why, OptimzooWarning, stacklevel=3)


def _measured(cls: type, kwargs: Mapping[str, Any]) -> Facts:
    plain = {key: value for key, value in kwargs.items() if isinstance(value, (bool, int, float, str, tuple, list))}
    settings = [part for key, value in plain.items() for part in ("--with", f"{key}={value!r}")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "optimzoo", "vet", dotted(cls), "--json", *settings]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    try:
        found = packed(json.loads(done.stdout), date.today().isoformat())
    except ValueError as error:
        raise ConfigError(f"`optimzoo vet {dotted(cls)}` failed: {done.stderr.strip()[-300:]}", "vet") from error
    file = _cache(cls)
    file.parent.mkdir(parents=True, exist_ok=True)
    written = file.with_suffix(f".{os.getpid()}")
    written.write_text(json.dumps(found), encoding="utf-8")
    written.replace(file)
    return unpacked(found)


def _library(cls: type) -> str:
    return Entry(cls.__name__, cls).library


def _cache(cls: type) -> Path:
    """Return the file for a class, the version of its library, or else what its file holds, and that of torch."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    version = library_version(_library(cls))
    with contextlib.suppress(OSError, TypeError):  # there is no file, as in a notebook
        version = version or f"{zlib.crc32(Path(inspect.getfile(cls)).read_bytes()):x}"
    versions = f"{version}-torch{torch.__version__}"
    return Path(root, "optimzoo", "facts", f"{cls.__module__}.{cls.__qualname__}-{versions}.json")
