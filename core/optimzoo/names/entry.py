"""What a registry knows of a name before anything is imported, and how the name becomes a class."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from optimzoo.errors import ConfigError, MissingDependencyError, PluginError, did_you_mean, near, shown
from optimzoo.names.facts import UNDRIVEN, UNMEASURED, Facts, bundled_file, facts_in
from optimzoo.names.trust import Slot, current, defined_names
from optimzoo.traces import FAULTS, describe_error
from optimzoo.values import MAX_NAME

OWN_DISTRIBUTION = "optimzoo"
OWN_MODULES = ("optimzoo", "optimzoo_plugins")
LONGEST_PART = 200
"""Characters that a name may have between two dots; file systems take about as many."""

NEEDS = {
    "closure": "step() evaluates the loss itself, several times: call wrapper.step(closure=...)",
    "curvature": "estimates the diagonal of the Hessian every k updates; the wrapper runs the estimate",
    "one_group": "takes one parameter group: no parameter-wise settings",
    "one_lr": "adapts one step size over all groups: their learning rates must be equal",
    "frozen_at_0": "with one_lr: a learning rate of 0 keeps a group as it is, and the others train as without it",
    "matrices": "updates 2-D parameters only: rest = {type = ..., lr = ...} beside its arguments takes the others",
    "parts": "is made of several: parts = [{where = ..., optimizer = {type = ..., lr = ...}}, ...]",
    "process_group": "spreads its state over the processes of a distributed run",
    "whole": "works on whole parameters: not on the shares that strategy='fsdp2' gives to each process",
    "modes": "trains other parameters than those to use: call optimizer.train() and .eval(), as the Runner does",
    "sparse": "takes sparse gradients only, as from torch.nn.Embedding(sparse=True)",
    "graph": "takes second derivatives: the wrapper keeps the graph of the backward pass",
    "model": "is built with the model, and takes no parameter-wise settings",
    "named": "is built with named parameters, and takes no parameter-wise settings",
    "inner": "goes around another optimizer: optimizer = {type = ..., optimizer = {type = ..., lr = ...}}",
    "inner_class": "goes around another optimizer: optimizer = {type = ..., base_optimizer = {type = ..., lr = ...}}",
    "loss": "takes the loss itself in step(): the wrapper passes on that of update_params",
    "own_backward": "runs the backward pass itself, which no wrapper can accumulate, scale or clip",
    "many_losses": "takes several losses and their gradients, where an update has one",
    "own_state": "saves a state of a form that cannot be resumed by the names of parameters",
    "bare_groups": "refuses groups with keys beyond its own, such as the names of their parameters",
    "params_only": "takes a list of parameters, not parameter groups",
    "two_lists": "takes two lists of parameters: give each to an optimizer of its own",
    "two_passes": "evaluates the loss at two points for an update: call wrapper.step(closure=...), as the Runner does",
    "faulty": "computes something else than its name says, without an error",
}
"""What an optimizer may need beyond ``step()``; a plugin declares it, the wrapper and the Runner honour it."""
REFUSED = frozenset(("bare_groups", "faulty", "many_losses", "own_backward", "own_state", "params_only", "two_lists"))
"""The needs that nothing here meets: the optimizer is listed, and a build says why it is refused."""
UNTOLD = "The plugin does not say what installs it"
DECLARED = sorted(NEEDS.keys() - REFUSED - {"parts", "process_group"})
"""The needs that a config may declare, of a class that no plugin names."""


@dataclass(frozen=True)
class Entry:
    """One registered name.

    Args:
        name: The name in configs, such as ``"Lion"``.
        target: ``"module:attribute"``, imported on first use, or the object itself.
        plugin: The plugin that registered it; empty for a class registered in the running program.
        distribution: The distribution the plugin came in.
        aliases: Further names for the same target; ``"scope.Name"`` is the name in a scope of OpenMMLab's.
        extra: The extra of ``distribution`` that installs the target's library.
        hint: What to tell of a library that no extra installs.
        about: One line for people.
        paper: Where the method is described, as a URL.
        needs: Keys of ``NEEDS``.
        bare: False if only ``plugin.name`` and the aliases lead here.
        discovered: True if the name was found by looking into the library. A name that a plugin wrote down itself wins
            over it, so that a bare name does not change its meaning when a library grows.
        group_keys: Keys that the class reads from a parameter group though they are no arguments, such as ``rank``.
        notes: What surprises a user, by the argument it concerns: told at the build when a config gives that argument
            another value than its default; under ``""``, always.
        licence: The licence of the library, as SPDX writes it.
        since: The version of the library that brought it, where older ones are in use.
        facts_file: ``"package:file.json"``, which holds the measured facts; see ``optimzoo.names.facts``.
    """

    name: str
    target: Any
    plugin: str = ""
    distribution: str = ""
    aliases: tuple[str, ...] = ()
    extra: str | None = None
    hint: str = ""
    about: str = ""
    paper: str = ""
    needs: tuple[str, ...] = ()
    bare: bool = True
    discovered: bool = False
    group_keys: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    since: str = ""
    facts_file: str = ""

    @functools.cached_property
    def facts(self) -> Facts | None:
        """What was measured of the optimizer, with the installed version of its library or else the newest measured."""
        file = self.facts_file or (bundled_file(self.library) if self.bundled else "")
        return facts_in(file, self.name, library_version(self.library)) if file else None

    @property
    def measured(self) -> str:
        """The day on which the facts were measured, or why they are not there or not complete."""
        if self.facts:
            undriven = UNDRIVEN.get(self.facts.value("needs"))
            return f"{self.facts.date}: {undriven}" if undriven else self.facts.date
        why = "its library is not installed where facts are measured"
        why = "not measured yet" if self.installed else self.hint or why
        return next((UNMEASURED[need] for need in self.needs if need in UNMEASURED), why)

    @property
    def qualified(self) -> str:
        """The name that no other plugin can claim."""
        return f"{self.plugin}.{self.name}" if self.plugin else dotted(self.target)

    @property
    def key(self) -> str:
        """What tells this entry from the others of its registry, which may lead to the same class."""
        return f"{self.plugin}.{self.name}"

    @property
    def names(self) -> tuple[str, ...]:
        """Its name and its aliases, each once."""
        return tuple(dict.fromkeys((self.name, *self.aliases)))

    @property
    def claims(self) -> tuple[str, ...]:
        """The bare names that this entry wants to be known by."""
        return self.names if self.bare else tuple(dict.fromkeys(self.aliases))

    @property
    def bundled(self) -> bool:
        """Whether the entry comes with optimzoo itself."""
        return self.distribution == OWN_DISTRIBUTION

    @property
    def module(self) -> str:
        """The top-level module that holds the target."""
        return dotted(self.target).partition(":")[0].partition(".")[0]

    @property
    def class_name(self) -> str:
        """The name of the class, or of the attribute that holds it."""
        target = self.target
        return target.rpartition(":")[2] if isinstance(target, str) else getattr(target, "__name__", "")

    @property
    def library(self) -> str:
        """The library that implements the target: optimzoo for its own, else the top-level module."""
        return OWN_DISTRIBUTION if self.module in OWN_MODULES else self.module

    @property
    def installed(self) -> bool:
        """Whether the library can be found; it is not imported to answer."""
        return not isinstance(self.target, str) or is_installed(self.module)

    @property
    def install(self) -> str:
        """The command that installs the library, with a comment on where it does; empty if no extra is named for it."""
        if not (self.distribution and self.extra):
            return ""
        condition = _conditions(self.distribution).get(self.extra)
        return f"pip install '{self.distribution}[{self.extra}]'{f'  # where {condition}' if condition else ''}"

    def load(self, path: str = "", name: str = "") -> Any:
        """Import the target.

        Args:
            path: Where in the config the name stands, for the error message.
            name: What stands there, an alias or the qualified name perhaps.

        Raises:
            MissingDependencyError: The library is not installed, or cannot be imported.
            PluginError: The library has no such attribute.
        """
        if not isinstance(self.target, str):
            return self.target
        module_name, _, attribute = self.target.partition(":")
        told = f"{name or self.qualified!r} (plugin {self.plugin!r})"
        trust = current()
        if trust is not None:
            trust.admit_own(module_name, path)
        try:
            found: Any = importlib.import_module(module_name)
        except FAULTS as error:
            if not self.installed or (isinstance(error, ModuleNotFoundError) and error.name == self.module):
                why, install = f"the library {self.module!r}, which is not installed", self.install
                how = f" Install it with: {install}" if install else f" {self.hint or UNTOLD}"
            else:
                why, install = f"{module_name!r}, which cannot be imported ({describe_error(error)})", ""
                how = f" The library is installed: {self.library} {library_version(self.library)}".rstrip()
            raise MissingDependencyError(f"{told} needs {why}.{how}", install, path) from error
        try:
            for part in attribute.split("."):
                found = getattr(found, part)
        except AttributeError as error:
            how = f": {self.install} --upgrade" if self.install else ""
            came = (
                f"It came with {self.library} {self.since}" if self.since else f"Another version of {self.library} may"
            )
            raise PluginError(
                f"{told} should be {self.target}, but {self.library} "
                f"{library_version(self.library)} has no {attribute!r}. {came}{how}", path
            ) from error  # fmt: skip
        return found


@functools.cache
def _conditions(distribution: str) -> Mapping[str, str]:
    """Return what extras ask of a machine, such as a newer Python, that install nothing on this one."""
    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError):  # of another's metadata
        for marker in (Requirement(each).marker for each in importlib.metadata.requires(distribution) or ()):
            condition, asks, extra = str(marker).rpartition("extra == ")
            name = extra.strip('"')
            if marker and asks and marker.evaluate({"extra": name}):
                found[name] = ""
            elif asks:
                found.setdefault(name, condition.removesuffix(" and "))
    return found


def dotted(target: Any) -> str:
    """Return ``module:qualname`` for an object, or the target itself if it is written down that way."""
    return target if isinstance(target, str) else f"{target.__module__}:{target.__qualname__}"


def check_length(name: str, path: str) -> None:
    """Raise if a name is longer than any that Python or a file system has."""
    if len(name) > MAX_NAME or max(map(len, re.split("[.:]", name))) > LONGEST_PART:
        raise ConfigError(
            f"a name of at most {MAX_NAME} characters, {LONGEST_PART} between dots, is wanted, got {shown(name)}", path
        )


def is_dotted(target: str) -> bool:
    """Whether ``target`` is written as ``package.module:attribute``."""
    module_name, _, attribute = target.partition(":")
    return all(part.isidentifier() for part in f"{module_name}.{attribute}".split("."))


def is_installed(module: str) -> bool:
    """Whether a top-level module can be found; nothing is imported."""
    if module in sys.modules:
        return sys.modules[module] is not None
    return importlib.util.find_spec(module) is not None


@functools.cache
def is_own(target: Any) -> bool:
    """Whether a class or function is of this package, so that it may be called to see what is wrong with a config."""
    return str(getattr(target, "__module__", "")).partition(".")[0] in OWN_MODULES


def library_version(library: str) -> str:
    """Return the installed version of the distribution that brings the top-level module ``library``, or ``""``."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        names = _distributions().get(library, []) if is_installed(library) else []
        return importlib.metadata.version(names[0]) if names else ""


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def import_dotted(target: str, path: str = "", slot: Slot = "registered") -> Any:
    """Import ``package.module:attribute`` as written in a config, if the config may name it.

    Raises:
        ConfigError: The module or the attribute does not exist, the module fails to import, or its code is not trusted.
    """
    check_length(target, path)
    module_name, _, attribute = target.partition(":")
    if not is_dotted(target) or module_name.endswith(".py"):
        raise ConfigError(
            f"{target!r} is not of the form 'package.module:Name'.{did_you_mean(dotted_forms(target))}", path
        )
    trust = current()
    if trust is not None:
        trust.admit(target, path, slot)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigError(f"importing {module_name!r} failed: {describe_error(error)}", path) from error
        raise ConfigError(
            f"there is no module {error.name!r} (from {target!r}). Modules are looked up among the installed packages "
            f"and in the folder of the config file.{_hidden(module_name)}",
            path,
        ) from error
    except FAULTS as error:
        raise ConfigError(f"importing {module_name!r} failed: {describe_error(error)}", path) from error
    for index, part in enumerate(attribute.split(".")):
        if trust is not None and index:
            trust.check(found, target, path, "class")  # of what is no class nothing is looked up: that may run code
        try:
            found = getattr(found, part)
        except AttributeError as error:
            file = getattr(found, "__file__", None)
            where = f" ({file})" if file else ""
            public = [name for name in dir(found) if not name.startswith("_")]
            hint = _hidden(module_name) or did_you_mean(near(part, public))
            raise ConfigError(f"{module_name!r}{where} has no {attribute!r}.{hint}", path) from error
    if trust is not None:
        trust.check(found, target, path, slot)
    return found


def dotted_forms(name: str) -> list[str]:
    """Return ``package.module:Name`` for a name in another notation, ``package.module.Name`` or ``module.py:Name``.

    It is returned only if there is such a name; nothing is imported to know that.
    """
    module, _, attribute = name.rpartition(":" if ":" in name else ".")
    module = module.removesuffix(".py").replace("/", ".")
    form = f"{module}:{attribute}"
    return [form] if is_dotted(form) and _defines(module, attribute) else []


def _defines(module: str, attribute: str) -> bool:
    """Whether a module has the attribute; where it is not imported, its source is read."""
    if module in sys.modules:
        return attribute in vars(sys.modules[module])
    trust = current()
    package, *inner = accumulate(module.split("."), "{}.{}".format)
    try:
        spec: Any = importlib.machinery.PathFinder.find_spec(package)
        for name in inner:
            spec = importlib.machinery.PathFinder.find_spec(name, spec.submodule_search_locations)
        if trust and trust.folder and Path(spec.origin).is_relative_to(trust.folder) and not trust.owns(module):
            return False  # a link leads out of the folder
        return attribute in defined_names(ast.parse(spec.loader.get_source(module)))
    except Exception:  # there is no such module, or no source: nothing is known of it
        return False


def _hidden(module_name: str) -> str:
    """Return a sentence about another module of the same name, which the one that was imported hides."""
    name = module_name.partition(".")[0]
    spec = sys.modules[name].__spec__ if name in sys.modules else None
    for folder in map(Path, sys.path):
        for file in (folder / f"{name}.py", folder / name / "__init__.py"):
            if spec is not None and spec.origin and file.is_file() and file.resolve() != Path(spec.origin).resolve():
                return f" {file} is another module {name!r}, which this one hides: rename it."
    return ""
