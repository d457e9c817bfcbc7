"""The hooks that a plugin may implement, and the object that it registers its names on.

Hooks are called once per process or per build, never inside a training step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pluggy

from optimzoo.errors import PluginError, did_you_mean, near
from optimzoo.names.entry import NEEDS, Entry, dotted, is_dotted

if TYPE_CHECKING:
    import typer
    from torch import nn

SPEC_VERSION = 1
"""Raised when a hook or an argument is added. Within one major version of optimzoo none is taken away."""

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

    def _stage(
        self,
        kind: str,
        name: str,
        target: Any,
        *,
        about: str = "",
        aliases: Iterable[str] = (),
        extra: str | None = None,
        paper: str = "",
        needs: Iterable[str] = (),
        bare: bool = True,
        discovered: bool = False,
        group_keys: Iterable[str] = (),
        notes: Mapping[str, str] | None = None,
        licence: str = "",
        since: str = "",
        facts: str = "",
    ) -> None:
        texts: dict[str, Any] = {"about": about, "paper": paper, "extra": extra, "licence": licence, "since": since}
        texts |= {"facts": facts}
        notes = dict(notes or {})
        for what, text in (*texts.items(), *(("a note", text) for text in (*notes, *notes.values()))):
            if not isinstance(text, str) and (what, text) != ("extra", None):
                raise PluginError(f"{what} of {name!r} is a string, got {text!r}")
        aliases, needs = _strings("aliases", aliases), _strings("needs", needs)
        for word in (name, *aliases):
            if not (isinstance(word, str) and word.isidentifier()):
                raise PluginError(f"a name is a Python identifier, got {word!r}")
        if not isinstance(target, type) and not (isinstance(target, str) and is_dotted(target)):
            raise PluginError(f"the target of {name!r} is 'module:Class' or a class, got {target!r}")
        for need in needs:
            if need not in NEEDS:
                raise PluginError(f"{name!r} declares the unknown need {need!r}.{did_you_mean(near(need, NEEDS))}")
        given = {**texts, "aliases": aliases, "needs": needs, "notes": notes, "bare": bare, "discovered": discovered}
        given |= {"group_keys": _strings("group_keys", group_keys), "facts_file": given.pop("facts")}
        self.stage(kind, Entry(name, target, **given))

    def stage(self, kind: str, entry: Entry) -> None:
        """Hold ``entry`` for this plugin until all of the plugin has loaded."""
        entries = self.staged.setdefault(kind, {})
        if entry.name in entries:
            raise PluginError(
                f"{entry.name!r} is registered twice, as {dotted(entries[entry.name].target)} and as "
                f"{dotted(entry.target)}"
            )
        entries[entry.name] = replace(entry, plugin=self.plugin, distribution=self.distribution)


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


def _strings(what: str, value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise PluginError(f"{what} is a sequence of strings, got the string {value!r}")
    return tuple(value)
