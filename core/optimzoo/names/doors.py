"""Where plugins are found: the entry points of the installed distributions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Any

from optimzoo.names.entry import OWN_DISTRIBUTION, Entry
from optimzoo.names.hookspecs import Zoo, hookimpl
from optimzoo.traces import describe_error

GROUP = "optimzoo"
OPTIMIZERS_GROUP = "llmfoundry_optimizers"
"""The group in which llm-foundry looks for optimizers: each entry point is a class."""


@dataclass
class PluginReport:
    """What became of one plugin: ``status`` is ``"loaded"``, ``"disabled"`` or ``"broken"``, ``reason`` says why."""

    name: str
    target: str
    distribution: str = ""
    version: str = ""
    status: str = "loaded"
    reason: str = ""
    entries: list[tuple[str, Entry]] = field(default_factory=list)
    """The kind and the entry of every name that the plugin registered."""
    error: BaseException | None = None
    """What it raised."""

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.target}, from {self.distribution} {self.version})"


@dataclass(frozen=True)
class FoundPlugin:
    """A plugin that is installed: the module that it lives in, how to import it, or why that cannot be."""

    report: PluginReport
    module: str
    load: Callable[[], Any]
    fault: str = ""


class OptimizersOnly:
    """The plugin for a distribution that declares optimizers for llm-foundry; their bare names are not claimed."""

    def __init__(self, targets: Iterable[str]) -> None:
        self.targets = dict.fromkeys(targets)

    @hookimpl
    def optimzoo_register(self, zoo: Zoo) -> None:
        """Register the classes."""
        for target in self.targets:
            zoo.optimizer(target.rpartition(":")[2], target, bare=False)


def find() -> list[FoundPlugin]:
    """Return every plugin that a distribution declares, by name; what is damaged has a fault and stops nothing."""
    found: list[FoundPlugin] = []
    seen: dict[str, Path] = {}
    for distribution in distributions():
        folder = Path(getattr(distribution, "_path", "")).resolve()
        try:
            points = [point for point in distribution.entry_points if point.group in (GROUP, OPTIMIZERS_GROUP)]
            if not points:
                continue
            name, version = distribution.metadata["Name"], distribution.version
            if not name or not version:
                raise ValueError("the metadata has no name or no version")
        except Exception as error:
            found.append(_damaged(folder, f"its entry points cannot be read: {describe_error(error)}"))
            continue
        first = seen.setdefault(_normal(name), folder)
        if first is folder:
            found += _plugins(name, version, points)
        elif first != folder and first.parent == folder.parent and name != OWN_DISTRIBUTION:
            found.append(_damaged(folder, f"{name} is installed twice, in {first.name} too: one of them is in use"))
    bundled = {plugin.report.name for plugin in found if plugin.report.distribution == OWN_DISTRIBUTION}
    ours = [p for p in found if p.report.target != OPTIMIZERS_GROUP or p.report.name not in bundled]
    return sorted(ours, key=lambda plugin: (plugin.report.name, plugin.report.distribution))


def _plugins(name: str, version: str, points: list[EntryPoint]) -> Iterator[FoundPlugin]:
    for point in dict.fromkeys(p for p in points if p.group == GROUP):
        report = PluginReport(point.name, point.value, name, version)
        module = point.pattern.match(point.value)
        fault = "" if point.name and module else f"the entry point {point.name!r} = {point.value!r} names no module"
        yield FoundPlugin(report, module["module"] if module else "", point.load, fault)
    targets = [point.value.partition("[")[0].strip() for point in points if point.group == OPTIMIZERS_GROUP]
    if targets:
        plugin = OptimizersOnly(targets)
        report = PluginReport(_normal(name), OPTIMIZERS_GROUP, name, version)
        yield FoundPlugin(report, targets[0].partition(":")[0], lambda: plugin)


def _damaged(folder: Path, why: str) -> FoundPlugin:
    return FoundPlugin(PluginReport(folder.name, "entry_points.txt"), "", lambda: None, why)


def _normal(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")
