"""The hooks that a plugin may implement, and the object that it registers its names on.

Hooks are called once per process or per build, never inside a training step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pluggy

from optimzoo.errors import PluginError, did_you_mean, near, shown
from optimzoo.names.entry import NEEDS, Entry, dotted, is_dotted

if TYPE_CHECKING:
    import typer
    from torch import nn

SPEC_VERSION = 1
"""Raised when a hook or an argument is added. Within one major version of optimzoo none is taken away."""

SET_HERE = ("name", "target", "plugin", "distribution", "facts_file")
ARGUMENTS = (*(field.name for field in fields(Entry) if field.name not in SET_HERE), "facts")
"""What a plugin may say of a name, as keywords."""

hookspec = pluggy.HookspecMarker("optimzoo")
hookimpl = pluggy.HookimplMarker("optimzoo")


class Zoo:
    """What ``optimzoo_register`` receives: one method per kind of name.

    Each method takes the name, its target as ``"module:Class"`` (imported on first use; never earlier) or the class,
    and keywords that are arguments of ``Entry``; ``facts`` is its ``facts_file``.
    """

    spec_version = SPEC_VERSION

    def __init__(self, plugin: str, distribution: str) -> None:
        self.plugin = plugin
        self.distribution = distribution
        self.staged: dict[str, dict[str, Entry]] = {}

    def optimizer(self, name: str, target: Any, **about: Any) -> None:
        """Name a subclass of ``torch.optim.Optimizer``."""
        self._stage("optimizer", name, target, **about)

    def wrapper(self, name: str, target: Any, **about: Any) -> None:
        """Name a subclass of ``BaseOptimWrapper``."""
        self._stage("optimizer wrapper", name, target, **about)

    def constructor(self, name: str, target: Any, **about: Any) -> None:
        """Name a class that is built with ``(optim_wrapper_cfg, paramwise_cfg)`` and called with the model."""
        self._stage("constructor", name, target, **about)

    def scheduler(self, name: str, target: Any, **about: Any) -> None:
        """Name a subclass of ``ParamScheduler``."""
        self._stage("parameter scheduler", name, target, **about)

    def hook(self, name: str, target: Any, **about: Any) -> None:
        """Name a subclass of ``optimzoo.run.Hook``, for the ``hooks`` of a run."""
        self._stage("hook", name, target, **about)

    def strategy(self, name: str, target: Any, **about: Any) -> None:
        """Name a subclass of ``optimzoo.run.Strategy``, for the ``strategy`` of a run."""
        self._stage("strategy", name, target, **about)

    def _stage(self, kind: str, name: str, target: Any, *, facts: str = "", **about: Any) -> None:
        for what, value in about.items():
            if what not in ARGUMENTS:
                hint = did_you_mean(near(what, ARGUMENTS)) or f" It takes {', '.join(ARGUMENTS)}."
                raise PluginError(f"there is no argument {what!r} about a name such as {name!r}.{hint}")
            if what in ("aliases", "needs", "group_keys"):
                if isinstance(value, str) or not isinstance(value, Iterable):
                    raise PluginError(f"{what} is a sequence of strings, got {shown(value)}")
                about[what] = tuple(value)
        about["notes"] = dict(about.get("notes") or {})
        about |= {"facts_file": facts, "plugin": self.plugin, "distribution": self.distribution}
        entry = Entry(name, target, **about)
        texts = {what: getattr(entry, what) for what in ("about", "paper", "licence", "since", "hint")}
        texts |= {"facts": facts, "extra": "" if entry.extra is None else entry.extra}
        for what, text in (*texts.items(), *(("a note", text) for item in entry.notes.items() for text in item)):
            if not isinstance(text, str):
                raise PluginError(f"{what} of {name!r} is a string, got {shown(text)}")
        for word in (name, *(part for alias in entry.aliases for part in str(alias).split(".", 1))):
            if not (isinstance(word, str) and word.isidentifier()):
                raise PluginError(f"a name is a Python identifier, got {shown(word)}")
        if not isinstance(target, type) and not (isinstance(target, str) and is_dotted(target)):
            raise PluginError(f"the target of {name!r} is 'module:Class' or a class, got {shown(target)}")
        for need in entry.needs:
            if need not in NEEDS:
                raise PluginError(f"{name!r} declares the unknown need {need!r}.{did_you_mean(near(need, NEEDS))}")
        self.stage(kind, entry)

    def stage(self, kind: str, entry: Entry) -> None:
        """Hold ``entry`` for this plugin until all of the plugin has loaded."""
        entries = self.staged.setdefault(kind, {})
        if entry.name in entries:
            raise PluginError(
                f"{entry.name!r} is registered twice, as {dotted(entries[entry.name].target)} and as "
                f"{dotted(entry.target)}"
            )
        if entry.plugin != self.plugin:
            entry = replace(entry, plugin=self.plugin, distribution=self.distribution)
        entries[entry.name] = entry


class Hooks:
    """The hook specifications. An implementation may leave out arguments that it does not use."""

    @hookspec
    def optimzoo_register(self, zoo: Zoo) -> None:
        """Register names. Called once, when a name is first looked up; must not import the library behind a name."""

    @hookspec
    def optimzoo_built(self, optim_wrapper: Any, model: nn.Module) -> None:
        """Look at, or log, what ``build_optim_wrapper`` has just built; the groups stay as they are."""

    @hookspec
    def optimzoo_commands(self, app: typer.Typer) -> None:
        """Add commands to the ``optimzoo`` command line."""
