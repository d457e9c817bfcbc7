"""The optimizer that a config describes, as parameter-wise settings see it: nothing is built."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from optimzoo import calls
from optimzoo.errors import ConfigError, Problems, did_you_mean, join_path, near, shown
from optimzoo.names.entry import DECLARED, NEEDS, REFUSED
from optimzoo.names.zoo import OPTIMIZERS
from optimzoo.values import few, one_of, without_arrays

INNER = {"inner": "optimizer", "inner_class": "base_optimizer"}
"""For each of the needs for an optimizer inside, the argument that takes it."""
NOT_INSIDE = ("closure", "two_passes", "loss", "curvature", "parts", "model")
"""What else an optimizer may need that no other around it gives."""
EXAMPLE = "{'where': {'role': 'matrix'}, 'optimizer': {'type': 'Muon', 'lr': 0.02}}"


class DescribedOptimizer:
    """The class that ``cfg`` names, and the hyperparameters it would be built with.

    Args:
        cfg: ``type`` and the optimizer's arguments.
        path: Where in the config they stand.

    Attributes:
        cls: The optimizer's class.
        entry: What is registered of the class, or of its nearest base.
        given: The arguments that ``cfg`` gives.
        inner: The optimizers inside, by the argument that takes them.
        parts: Of one that is made of several, those by the names of the parts.
        vet: Whether the class is to be measured, if no plugin names it.
        needs: The ``NEEDS`` of the entry, and those that ``cfg`` declares.
        declared: Those that ``cfg`` declares.
        settings: Those, and the defaults of the rest.

    Raises:
        ConfigError: ``cfg`` is no dict, or its ``type`` leads nowhere, or to what cannot be driven.
    """

    def __init__(self, cfg: Any, path: str = "") -> None:
        self.inner: dict[str, DescribedOptimizer] = {}
        self.parts: dict[str, DescribedPart] = {}
        self.settings: dict[str, Any]
        self.path = path
        self._call: calls.Call | None = None
        has_rest = isinstance(cfg, Mapping) and "rest" in cfg
        self.cls, given = OPTIMIZERS.resolve({"type": "Parts", "parts": cfg} if has_rest else cfg, path)
        self.given = {key: without_arrays(value) for key, value in given.items()}
        self.vet = cfg.get("vet", False) if isinstance(cfg, Mapping) else False
        if not isinstance(self.vet, bool):
            raise ConfigError(f"true or false is wanted, got {shown(self.vet)}", join_path(path, "vet"))
        self.entry = OPTIMIZERS.entry_of(self.cls)
        self.declared = () if has_rest else _declared(cfg, path)
        needs = self.needs = tuple(dict.fromkeys((*(self.entry.needs if self.entry else ()), *self.declared)))
        if "parts" in needs:
            self.parts = _split_off_rest(cfg, path) if has_rest else _read_parts(self.given, path)
            self.given, self.settings = {}, next(iter(self.parts.values())).optimizer.settings
            return
        for need in (need for need in needs if need in REFUSED):
            why = f": {self.notes['']}" if need == "faulty" else ". Call it in a loop of your own"
            raise ConfigError(f"{self.cls.__name__} {NEEDS[need]}{why}", join_path(path, "type"))
        if self.first_argument in self.given and self.first_argument not in INNER.values():
            raise ConfigError("it is what is built from the model", join_path(path, self.first_argument))
        signature = calls.parameters(self.cls)
        self.settings = {n: p.default for n, p in signature.items() if p.default is not p.empty} | self.given
        for need in (need for need in needs if need in INNER):
            self._read_inner(need, INNER[need])

    def _read_inner(self, need: str, key: str) -> None:
        """Read the optimizer inside, whose settings are those of the groups too."""
        path = join_path(self.path, key)
        if not isinstance(self.given.get(key), Mapping):
            raise ConfigError(f"{self.cls.__name__} {NEEDS[need]}", path)
        own = calls.parameters(self.cls)
        for other in (name for name in self.given if name not in own):  # which the class would hand on
            hint = did_you_mean(near(other, own)) or f" It belongs in {key!r}."
            raise ConfigError(f"{self.cls.__name__} has no argument {other!r}.{hint}", join_path(self.path, other))
        held = self.inner[key] = DescribedOptimizer(self.given[key], path)
        for need in (need for need in held.needs if need in (*INNER, *NOT_INSIDE)):
            raise ConfigError(
                f"{held.cls.__name__} cannot go into {self.cls.__name__}, which calls nothing but its step(): "
                f"{NEEDS[need].partition(':')[0]}", join_path(path, "type")
            )  # fmt: skip
        self.settings = {**self.inner[key].settings, **self.settings}

    @property
    def inners(self) -> list[DescribedOptimizer]:
        """The optimizers inside, also the one that ZeRO shards."""
        sharded = self.given.get("optimizer_type") if "process_group" in self.needs else None
        if not isinstance(sharded, str):
            return [*self.inner.values()]
        settings = {key: value for key, value in self.given.items() if key != "optimizer_type"}
        return [DescribedOptimizer({"type": sharded, **settings}, self.path)]

    @property
    def first_argument(self) -> str:
        """The name of the argument that takes the parameters; not every library calls it ``params``."""
        first = next(iter(calls.parameters(self.cls).values()), None)
        return "params" if first is None or first.kind in (first.VAR_POSITIONAL, first.VAR_KEYWORD) else first.name

    @property
    def classes(self) -> list[type]:
        """The classes of the optimizers that make the steps: several of one that has parts."""
        return [part.optimizer.cls for part in self.parts.values()] or [self.cls]

    @property
    def group_keys(self) -> tuple[str, ...]:
        """Keys that the class reads from a parameter group though they are no arguments, as its plugin declares."""
        return self.entry.group_keys if self.entry else ()

    @property
    def notes(self) -> dict[str, str]:
        """What its plugin notes of the arguments that are changed."""
        notes, changed = self.entry.notes if self.entry else {}, self.changed
        return {key: text for key, text in notes.items() if not key or key in changed}

    @property
    def changed(self) -> set[str]:
        """The arguments that are given another value than their default."""
        defaults = {name: parameter.default for name, parameter in calls.parameters(self.cls).items()}
        return {key for key, value in self.given.items() if key not in defaults or value != defaults[key]}

    def may_read(self, key: str) -> bool:
        """Whether the class may read ``key`` from a group; of a class that no plugin declares, nobody knows."""
        declared = self.entry is not None and self.entry.plugin and self.entry.load() is self.cls
        return not declared or key in self.settings or key in self.group_keys

    def takes(self, key: str) -> bool:
        """Whether a group may have ``key``: an argument, also of the optimizer inside, or what only groups have."""
        inside = any(inner.takes(key) for inner in self.inner.values())
        return inside or key in self.group_keys or calls.takes(self.cls, key)

    def read(self, elsewhere: Mapping[str, str] = types.MappingProxyType({})) -> calls.Call:
        """Return the call that builds the optimizer, once it is given the parameter groups.

        Args:
            elsewhere: For keys that belong to another level of the config, where that is.

        Raises:
            ConfigError: The optimizer has no such arguments.
        """
        elsewhere = {**dict.fromkeys(self.group_keys, "in a rule of 'paramwise_cfg'"), **elsewhere}
        with Problems() as problems:
            for inner in (*self.inner.values(), *(part.optimizer for part in self.parts.values())):
                problems.catch(inner.read, elsewhere)
        if self._call is None:
            given = (self.first_argument,)
            self._call = calls.read(self.cls, self.given, self.path, given, elsewhere=elsewhere, ranged=True)
        return self._call


@dataclass(frozen=True)
class DescribedPart:
    """One of several optimizers in one.

    Args:
        optimizer: The optimizer.
        where: What says which parameters it takes, as in the config; None for what is left of them, or for what it is
            made for.
        path: Where ``where`` stands.
        head: Patterns of the names of the model's heads, which the roles go by.
    """

    optimizer: DescribedOptimizer
    where: Any = None
    path: str = ""
    head: Any = None


def _declared(cfg: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """Return the needs that an optimizer's config declares."""
    listed = cfg.get("needs", ())
    at = join_path(path, "needs")
    if not isinstance(listed, (list, tuple)):
        raise ConfigError(f"a list of needs is wanted, such as ['modes'], got {shown(listed)}", at)
    return tuple(one_of(need, DECLARED, f"{at}[{number}]") for number, need in enumerate(listed))


def _split_off_rest(cfg: Mapping[str, Any], path: str) -> dict[str, DescribedPart]:
    """Return the parts of an optimizer that has ``rest`` beside its arguments."""
    own = {key: value for key, value in cfg.items() if key not in ("rest", "head")}
    return _named(
        [(_name_of(own), own, None, path), ("rest", cfg["rest"], None, join_path(path, "rest"))], cfg.get("head"), path
    )


def _read_parts(given: Mapping[str, Any], path: str) -> dict[str, DescribedPart]:
    """Return the parts that ``parts`` lists."""
    for key in given.keys() - {"parts", "head"}:
        raise ConfigError(
            f"Parts has no argument {key!r}: settings belong to the optimizer of a part", join_path(path, key)
        )
    listed, path_of_all = given.get("parts"), join_path(path, "parts")
    if not isinstance(listed, (list, tuple)) or not listed:
        raise ConfigError(f"a list of dicts such as {EXAMPLE} is wanted, got {shown(listed)}", path_of_all)
    few(listed, path_of_all)
    parts = []
    with Problems() as problems:
        for number, part in enumerate(listed):
            at = f"{path_of_all}[{number}]"
            if not isinstance(part, Mapping) or "optimizer" not in part:
                problems.add(ConfigError(f"a dict such as {EXAMPLE} is wanted, got {shown(part)}", at))
                continue
            for key in part.keys() - {"name", "where", "optimizer"}:
                hint = did_you_mean(near(key, ("name", "where", "optimizer")))
                problems.add(ConfigError(f"a part has no key {key!r}.{hint}", join_path(at, key)))
            optimizer = part["optimizer"]
            name = part.get("name", _name_of(optimizer))
            if not isinstance(name, str):
                problems.add(ConfigError(f"a string is wanted, got {shown(name)}", join_path(at, "name")))
            parts.append((name, optimizer, part.get("where"), join_path(at, "optimizer")))
    return _named(parts, given.get("head"), path_of_all)


def _name_of(cfg: Any) -> str:
    """Return the last word of what an optimizer's config names, by which its part is called."""
    kind = cfg.get("type", "") if isinstance(cfg, Mapping) else ""
    return getattr(kind, "__name__", str(kind).rpartition(":")[2].rpartition(".")[2])


def _named(parts: Iterable[tuple[str, Any, Any, str]], head: Any, path: str) -> dict[str, DescribedPart]:
    named: dict[str, DescribedPart] = {}
    with Problems() as problems:
        for name, cfg, where, at in parts:
            optimizer = problems.catch(DescribedOptimizer, cfg, at)
            if name in named:
                problems.add(ConfigError(f"two parts are called {name!r}: give one of them another name", path))
            elif optimizer is not None and optimizer.parts:
                what = "a part is one optimizer: list them all in one, that for what is left last and without 'where'"
                problems.add(ConfigError(what, at))
            named[name] = DescribedPart(optimizer, where, f"{at.removesuffix('.optimizer')}.where", head)
    return named
