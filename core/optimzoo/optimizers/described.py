"""The optimizer that a config describes, as parameter-wise settings see it: nothing is built."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

from optimzoo import calls
from optimzoo.errors import ConfigError, did_you_mean, join_path, near
from optimzoo.names.entry import NEEDS, REFUSED
from optimzoo.names.zoo import OPTIMIZERS

INNER = {"inner": "optimizer", "inner_class": "base_optimizer"}
"""For each of the needs for an optimizer inside, the argument that takes it."""


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
        vet: Whether the class is to be measured, if no plugin names it.
        settings: Those, and the defaults of the rest.

    Raises:
        ConfigError: ``cfg`` is no dict, or its ``type`` leads nowhere, or to what cannot be driven.
    """

    def __init__(self, cfg: Any, path: str = "") -> None:
        self.cls, self.given = OPTIMIZERS.resolve(cfg, path)
        self.vet = bool(cfg.get("vet"))
        self.entry = OPTIMIZERS.entry_of(self.cls)
        self.path = path
        self._call: calls.Call | None = None
        needs = self.entry.needs if self.entry else ()
        for need in (need for need in needs if need in REFUSED):
            why = f": {self.notes['']}" if need == "faulty" else ". Call it in a loop of your own"
            raise ConfigError(f"{self.cls.__name__} {NEEDS[need]}{why}", join_path(path, "type"))
        signature = calls.parameters(self.cls)
        self.settings = {n: p.default for n, p in signature.items() if p.default is not p.empty} | self.given
        self.inner: dict[str, DescribedOptimizer] = {}
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
        self.inner[key] = DescribedOptimizer(self.given[key], path)
        self.settings = {**self.inner[key].settings, **self.settings}

    @property
    def first_argument(self) -> str:
        """The name of the argument that takes the parameters; not every library calls it ``params``."""
        return next(iter(calls.parameters(self.cls)), "params")

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

    def read(self, elsewhere: Mapping[str, str] = types.MappingProxyType({})) -> calls.Call:
        """Return the call that builds the optimizer, once it is given the parameter groups.

        Args:
            elsewhere: For keys that belong to another level of the config, where that is.

        Raises:
            ConfigError: The optimizer has no such arguments.
        """
        for inner in self.inner.values():
            inner.read()
        if self._call is None:
            given = (self.first_argument,)
            self._call = calls.read(self.cls, self.given, self.path, given, elsewhere=elsewhere, ranged=True)
        return self._call
