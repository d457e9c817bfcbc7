"""The plugin manager: finds plugins, loads each in isolation, and can say what became of every one."""

from __future__ import annotations

import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import pluggy

from optimzoo import __version__
from optimzoo.errors import OptimzooWarning, PluginError, PluginWarning, did_you_mean, near, shown
from optimzoo.names import doors
from optimzoo.names.doors import FoundPlugin, PluginReport
from optimzoo.names.entry import OWN_DISTRIBUTION, Entry, dotted
from optimzoo.names.hookspecs import Hooks, Zoo
from optimzoo.names.registry import Registry
from optimzoo.traces import FAULTS, TRACEBACK

CORE = "optimzoo"
PATIENCE = 10.0
"""Seconds that a thread waits for a plugin that another imports."""
DISABLE, ONLY, AUTOLOAD = "OPTIMZOO_DISABLE_PLUGINS", "OPTIMZOO_PLUGINS", "OPTIMZOO_PLUGINS_AUTOLOAD"


class PluginManager:
    """Loads the plugins that ``doors`` finds, once, when a name is first asked for.

    Args:
        registries: Where the names of each kind go.
        core: The module that registers what optimzoo itself brings; loaded like any plugin.
    """

    def __init__(self, registries: Mapping[str, Registry], core: Any) -> None:
        self._registries = registries
        self._core = core
        self._pluggy = pluggy.PluginManager(CORE)
        self._pluggy.add_hookspecs(Hooks)
        self._reports: list[PluginReport] = []
        self._lock = threading.RLock()
        self._waiting: list[FoundPlugin] = []
        self._unsaid: list[OptimzooWarning] = []
        self._current: PluginReport | None = None
        self._loading = False
        self._loaded = False
        for registry in registries.values():
            registry.populate, registry.hints, registry.stage = self.load, self.hints, self._stage

    def load(self) -> None:
        """Load every plugin that is installed and not turned off; later calls do nothing.

        A plugin whose module asks for names while it is being imported by somebody else is loaded by the first call
        after its import. A thread that a plugin may be waiting for, in its import, goes on without that plugin.
        """
        if self._loaded:
            return
        before = self._current
        while not self._lock.acquire(timeout=PATIENCE):
            if before is self._current:
                return
            before = self._current
        try:
            if self._loading:  # by this thread, which asks on behalf of a plugin that it loads
                return
            self._loading = True
            try:
                if not self._reports:
                    self._discover()
                self._load_waiting()
            finally:
                self._loading = False
            self._loaded = not self._waiting
        finally:
            self._lock.release()
        self._say()

    def _discover(self) -> None:
        """Load the core, and note the plugins that are to be loaded."""
        found = doors.find()
        turned_off, self._unsaid = _turned_off({plugin.report.name for plugin in found})
        core = PluginReport(CORE, "optimzoo.names.builtin", OWN_DISTRIBUTION, __version__)
        self._load(FoundPlugin(core, "optimzoo.names.builtin", lambda: self._core))
        for plugin in found:
            report = plugin.report
            rivals = [p.report for p in found if p.report.name == report.name and p is not plugin]
            if report.name in turned_off:
                report.status, report.reason = "disabled", turned_off[report.name]
                self._reports.append(report)
            elif plugin.fault:
                self._give_up(report, plugin.fault)
            elif report.name == CORE or (rivals and report.distribution != OWN_DISTRIBUTION):
                owners = ", ".join(sorted(map(str, rivals))) or "optimzoo itself"
                self._give_up(report, f"the plugin name is declared by {owners} too")
            else:
                self._waiting.append(plugin)

    def _load_waiting(self) -> None:
        """Load the plugins that were found, but for those whose module is still being imported."""
        for plugin in list(self._waiting):
            spec = getattr(sys.modules.get(plugin.module), "__spec__", None)
            if not getattr(spec, "_initializing", False):
                self._load(plugin)
                self._waiting.remove(plugin)  # not sooner: an interrupted plugin is loaded by the next call

    def reports(self) -> list[PluginReport]:
        """Return a report for each plugin found, in the order of loading."""
        self.load()
        return list(self._reports)

    def hints(self) -> str:
        """Return a sentence about plugins that did not load, for the error about an unknown name."""
        missing = [f"{r.name} ({r.status}: {r.reason})" for r in self._reports if r.status != "loaded"]
        missing += [f"{plugin.report.name} (still being imported)" for plugin in self._waiting]
        return f" Plugins that are not loaded: {'; '.join(missing)}." if missing else ""

    def add(self, plugin: Any, name: str) -> PluginReport:
        """Load a module or object as a plugin, without an entry point. A fault in it is reported, not raised.

        Raises:
            PluginError: There is a plugin of that name, or it can be none.

        Examples:
            >>> from optimzoo import hookimpl
            >>> from optimzoo.names.zoo import plugins
            >>> class Mine:
            ...     @hookimpl
            ...     def optimzoo_built(self, optim_wrapper, model):
            ...         print(type(optim_wrapper).__name__, "built")
            >>> plugins.add(Mine(), "mine").status
            'loaded'
            >>> plugins.remove("mine")
        """
        if not isinstance(name, str) or not name.strip():
            raise PluginError(f"the name of a plugin is wanted, got {shown(name)}")
        for taken in (report for report in self.reports() if report.name == name):
            raise PluginError(f"there is a {taken} already")
        report = PluginReport(name, type(plugin).__qualname__)
        self._load(FoundPlugin(report, getattr(plugin, "__name__", type(plugin).__module__), lambda: plugin))
        self._say()
        return report

    def remove(self, name: str) -> None:
        """Forget a plugin: its hooks, and the names that it registered.

        Raises:
            PluginError: There is no such plugin.
        """
        removed = [report for report in self.reports() if report.name == name]
        if not removed:
            raise PluginError(
                f"there is no plugin {name!r}.{did_you_mean(near(name, [r.name for r in self._reports]))}"
            )
        if self._pluggy.has_plugin(name):
            self._pluggy.unregister(name=name)
        for kind, entry in (named for report in removed for named in report.entries):
            self._registries[kind].discard(entry)
        self._reports = [report for report in self._reports if report.name != name]

    def call(self, hook: str, **arguments: Any) -> None:
        """Call a hook of every plugin. One that raises is named in a warning, and the others are still called."""
        self.each(hook, lambda implementation: implementation(**arguments))

    def each(self, hook: str, use: Callable[[Callable[..., None]], None]) -> None:
        """Hand the hook of every plugin to a function that calls it; what raises is a plugin's fault, as in ``call``.

        Args:
            hook: The hook's name.
            use: Called with each plugin's implementation, whose arguments are those of the specification by name.
        """
        self.load()
        for implementation in getattr(self._pluggy.hook, hook).get_hookimpls():
            try:
                with warnings.catch_warnings():  # a filter that it sets is not for others
                    use(partial(_call, implementation))
            except FAULTS as error:
                report = next(r for r in self._reports if r.name == implementation.plugin_name)
                told = _fault(error, implementation.function.__module__)
                warnings.warn(PluginWarning(f"{report}: {hook} raised {told}{_traceback(error)}"), stacklevel=2)

    def _load(self, found: FoundPlugin) -> None:
        """Import one plugin and register its hooks and names: all of them, or none."""
        report = found.report
        zoo = Zoo(report.name, report.distribution)
        plugin = None
        self._current = report
        try:
            with warnings.catch_warnings():
                plugin = found.load()
                self._register_hooks(plugin, report.name)
                self._register_names(plugin, zoo)
                for kind, entry in report.entries:
                    zoo.stage(kind, entry)
        except BaseException as error:
            if plugin is not None and self._pluggy.get_plugin(report.name) is plugin:
                self._pluggy.unregister(plugin)
            if isinstance(error, KeyboardInterrupt):
                raise
            report.entries, report.error = [], error
            self._give_up(report, _fault(error, found.module))
            return
        finally:
            self._current = None
        report.entries = [(kind, entry) for kind, entries in zoo.staged.items() for entry in entries.values()]
        for kind, entry in report.entries:
            self._registries[kind].add(entry)
        self._reports.append(report)

    def _stage(self, kind: str, entry: Entry) -> bool:
        """Keep what a decorator registers in a plugin that is not loaded yet; return whether it is in one."""
        inside = [
            (len(plugin.module), plugin.report)
            for plugin in self._waiting
            if f"{entry.target.__module__}.".startswith(f"{plugin.module}.")
        ]
        _, owner = max(inside, key=itemgetter(0), default=(0, self._current))
        if owner is None:
            return False
        # a module whose import fails or is interrupted runs again, and registers the same again
        others = [held for held in owner.entries if _identity(*held) != _identity(kind, entry)]
        owner.entries = [*others, (kind, entry)]
        return True

    def _register_hooks(self, plugin: Any, name: str) -> None:
        other = self._pluggy.get_name(plugin)
        if other is not None:
            raise PluginError(f"it is the plugin {other!r} already, by another entry point")
        self._pluggy.register(plugin, name)
        callers = self._pluggy.get_hookcallers(plugin) or []
        if not callers:
            raise PluginError("it implements no hook; decorate optimzoo_register(zoo) with @optimzoo.hookimpl")
        known = [hook for hook in dir(Hooks) if hook.startswith("optimzoo_")]
        for caller in callers:
            (implementation,) = (i for i in caller.get_hookimpls() if i.plugin is plugin)
            if not caller.has_spec() and not implementation.optionalhook:
                raise PluginError(f"there is no hook {caller.name!r}.{did_you_mean(near(caller.name, known))}")
            if implementation.hookwrapper or implementation.wrapper:
                raise PluginError(f"{caller.name} may not be a wrapper: plugins are called one by one")

    def _register_names(self, plugin: Any, zoo: Zoo) -> None:
        for implementation in self._pluggy.hook.optimzoo_register.get_hookimpls():
            if implementation.plugin is plugin:
                result = implementation.function(*(zoo for _ in implementation.argnames))
                if result is not None:
                    raise PluginError(
                        f"optimzoo_register returned {result!r}; it registers on its argument and returns None"
                    )

    def _give_up(self, report: PluginReport, reason: str) -> None:
        report.status, report.reason = "broken", reason
        self._reports.append(report)
        self._unsaid.append(PluginWarning(f"{report}: {reason}{_traceback(report.error)}"))

    def _say(self) -> None:
        """Warn of what went wrong; not sooner, so that all is loaded even where a warning is an error."""
        while self._unsaid:
            warnings.warn(self._unsaid.pop(0), stacklevel=3)


def _turned_off(names: set[str]) -> tuple[dict[str, str], list[OptimzooWarning]]:
    """Return the plugins that the environment turns off, each with the reason, and warnings of names it has wrong."""
    denied, allowed = _names_in(DISABLE), _names_in(ONLY)
    unknown = [
        OptimzooWarning(
            f"{variable} names {name!r}, which is not an installed plugin.{did_you_mean(near(name, names))}"
        )
        for variable, mentioned in ((DISABLE, denied), (ONLY, allowed))
        for name in sorted(mentioned - names)
    ]
    off: dict[str, str] = {}
    if os.environ.get(AUTOLOAD, "1").strip().lower() in ("0", "false", "no"):
        off = dict.fromkeys(names - allowed, f"{AUTOLOAD}={os.environ[AUTOLOAD]}")
    elif allowed:
        off = dict.fromkeys(names - allowed, f"not in {ONLY}")
    return {**off, **dict.fromkeys(names & denied, f"{DISABLE} names it")}, unknown


def _call(implementation: Any, **arguments: Any) -> None:
    implementation.function(*(arguments[name] for name in implementation.argnames))


def _identity(kind: str, entry: Entry) -> tuple[str, str, str]:
    return kind, entry.name, dotted(entry.target)


def _names_in(variable: str) -> set[str]:
    return {name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()}


def _fault(error: BaseException, module: str) -> str:
    """Return the last line of ``error``, and the line of the code of ``module``'s package that it comes from."""
    try:
        text = str(error).strip().splitlines()
    except Exception:  # an error of its own may fail at that too
        text = []
    told = f"{type(error).__name__}: {text[-1]}" if text else type(error).__name__
    package = module.partition(".")[0]
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if package in (Path(f.filename).stem, *Path(f.filename).parts)]
    return f"{told} ({own[-1].filename}, line {own[-1].lineno})" if own else told


def _traceback(error: BaseException | None) -> str:
    if error is None or not os.environ.get(TRACEBACK):
        return ""
    return "\n" + "".join(traceback.format_exception(error)).rstrip()
