"""Whose code a config that is data may name: that of its own folder, and of packages that are trusted.

A program that builds from dicts is under no such rule. What counts is where an object is defined, not the path that
leads to it: ``mine:os.fspath`` is not of ``mine``.
"""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import importlib.machinery
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from optimzoo.errors import ConfigError, did_you_mean, near
from optimzoo.traces import is_users

Slot = Literal["registered", "object", "function", "class"]
"""What a name stands for: something of a registry's kind, a model or data set, a function that is called, or a class
that another is looked up in."""

CLASSES = (
    *("torch.nn", "torch.optim", "optimzoo", "optimzoo_plugins"),
    *(f"torch.utils.data.{module}" for module in ("dataset", "sampler", "distributed", "dataloader")),
)
"""Where classes are trusted without being asked for."""

FUNCTIONS = tuple(f"torch.utils.data._utils.collate:{name}" for name in ("default_collate", "default_convert"))
"""The functions that are."""

IMPORTABLE = ("torch", "torch.utils.data", "torch.utils.data._utils.collate")
"""Modules that lead to these."""


class UnseenError(ConfigError):
    """A name of a config whose module is not imported, for its code is not trusted."""


@dataclass(frozen=True)
class Trust:
    """Whose code a config may name.

    Args:
        folder: Where its own modules are.
        asked: Packages and modules that are trusted for this config, those of its folder among them.
        installed: Installed packages that are trusted for every config.
        libraries: Modules of the libraries that plugins register names of: their classes are trusted where one of a
            registry's kind is wanted.
        looks: Whether the config is only looked at: then modules of its folder are trusted if they are asked for.
    """

    folder: Path | None = None
    asked: frozenset[str] = frozenset()
    installed: frozenset[str] = frozenset()
    libraries: frozenset[str] = frozenset()
    looks: bool = False

    @property
    def runs_own(self) -> bool:
        """Whether some of the modules in the folder are within reach."""
        return not self.looks or bool(self.asked)

    def owns(self, module: str) -> bool:
        """Whether a module is that in the folder: an installed one of the same name goes first."""
        top = module.partition(".")[0]
        here = self.folder and importlib.machinery.PathFinder.find_spec(top, [str(self.folder)])
        if not here:
            return False
        own: Path = self.folder.resolve()  # type: ignore[union-attr]
        named = own.joinpath(*module.split("."))
        files = [named, *named.parent.glob(f"{named.name}.*"), *named.glob("__init__.*")]
        if not all(place.resolve().is_relative_to(own) for place in [*_places(here), *files]):
            return False  # a link leads out of the folder
        loaded = getattr(sys.modules.get(top), "__spec__", None)
        if loaded is not None:
            return _places(loaded) == _places(here)
        others = [entry for entry in sys.path if Path(entry).resolve() != self.folder]
        find = importlib.machinery.PathFinder
        return not any(finder.find_spec(top, others if finder is find else None) for finder in sys.meta_path)

    def admit(self, target: str, path: str, slot: Slot) -> None:
        """Raise if the module of ``target`` is not to be imported.

        Raises:
            UnseenError: It would be if the config were run.
            ConfigError: It would not.
        """
        module, _, attribute = target.partition(":")
        top = module.partition(".")[0]
        if any(re.fullmatch("__.*__", part) for part in module.split(".")):
            raise ConfigError(f"{target!r} is a program, and is not imported", path)
        if self.owns(module):
            if self.looks and not _is_in(module, self.asked):
                self._look(module, attribute, target, path)
                raise UnseenError(f"{target!r} is not looked at: needs --trust {top}", path)
        elif not (
            _is_in(module, {*self.asked, *self.installed, *CLASSES})
            or module in IMPORTABLE
            or (slot == "registered" and module in self.libraries)
            or (
                top not in sys.modules and not any(f.find_spec(top, None) for f in sys.meta_path)
            )  # an error of its own
        ):
            raise self._refused(target, module, path)

    def admit_own(self, module: str, path: str) -> None:
        """Raise if a registered name would lead to a module in the folder: that is not the library that is meant.

        Raises:
            ConfigError: It would, and the user does not trust the module.
        """
        top = module.partition(".")[0]
        unseen = self.looks and top not in sys.modules  # an installed one may be there, too
        if (unseen or str(self.folder) in _lent) and not _is_in(module, self.asked) and self.owns(module):
            raise ConfigError(
                f"the library {top!r} is not installed, and the module of that name in {self.folder} is not taken for "
                f"it: needs --trust {top}", path
            )  # fmt: skip

    def check(self, found: Any, target: str, path: str, slot: Slot) -> None:
        """Raise if an object that was found is defined where it is not trusted, or is no class and one is wanted."""
        module, is_class = definer(found), inspect.isclass(found)
        trusted = self.runs_own if self.owns(module) else _is_in(module, self.asked | self.installed)
        if slot == "class" and not is_class:
            raise ConfigError(f"{target!r} looks into what is no class, as a config that is data cannot", path)
        if is_class and slot in ("registered", "object"):
            of_library = slot == "registered" and module.partition(".")[0] in self.libraries  # which has the tops, too
            trusted |= of_library or _is_in(module, CLASSES)
        elif f"{module}:{getattr(found, '__qualname__', '')}" in FUNCTIONS:
            return
        if not trusted:
            raise self._refused(target, module, path)

    def _refused(self, target: str, module: str, path: str) -> ConfigError:
        top = module.partition(".")[0] or "builtins"
        of = "" if target.startswith(f"{module}:") else f", which {module or 'builtins'!r} defines,"
        done = "looked at" if self.looks else "called"
        return ConfigError(
            f"{target!r}{of} is not {done}: needs --trust {top}. A config that is data calls what is registered, code "
            "of its own folder, and packages that you trust; a function of your own may call anything",
            path,
        )

    def _look(self, module: str, attribute: str, target: str, path: str) -> None:
        """Raise if the source of a module in the folder does not define the attribute; nothing is run."""
        place = self.folder.joinpath(*module.split("."))  # type: ignore[union-attr]
        files = [file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()]
        if not files:
            if not place.is_dir():
                raise ConfigError(f"there is no module {module!r} (from {target!r}) in {self.folder}", path)
            return
        try:
            names = set(defined_names(ast.parse(files[0].read_bytes())))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ConfigError(f"{files[0]} is not Python: {error}", path) from error
        first = attribute.partition(".")[0]
        if not names & {first, "*", "__getattr__"}:
            hint = did_you_mean(near(first, names))
            raise ConfigError(f"{module!r} ({files[0]}) has no {attribute!r}.{hint}", path)


def definer(found: Any) -> str:
    """Return the module that defines an object: of a class or function, or that a method or a partial call is of."""
    while isinstance(found, functools.partial) or inspect.ismethod(found):
        found = found.func if isinstance(found, functools.partial) else found.__func__
    if not (inspect.isclass(found) or inspect.isfunction(found) or inspect.isroutine(found)):
        found = type(found)
    module = getattr(found, "__module__", None)
    return module if isinstance(module, str) else ""


class _Lent:
    """Finds modules in a folder, but for a library that looks whether one of its optional modules is there.

    What a library imports by a name that it was given, as an unpickler or ``importlib.import_module`` does, it finds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._finder = folder, pkgutil.get_importer(str(folder))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)

    def find_spec(self, name: str, target: Any = None) -> Any:
        frame, looks = sys._getframe(1), False
        while frame.f_back and (module := str(frame.f_globals.get("__name__"))).startswith("importlib"):
            frame, looks = frame.f_back, looks or module == "importlib.util"
        file = frame.f_code.co_filename
        looks |= "__import__" in frame.f_code.co_names and "pickle" not in file  # as sympy asks for gmpy2
        by_name = looks or frame.f_code.co_code[frame.f_lasti] == dis.opmap["IMPORT_NAME"]
        if by_name and not is_users(file) and not Path(file).is_relative_to(self.folder):
            return None
        return self._finder and self._finder.find_spec(name, target)


_lent: list[str] = []
"""The folders that are in ``sys.path`` for a config alone."""

_current: ContextVar[Trust | None] = ContextVar("trust", default=None)


def current() -> Trust | None:
    """Return the rule that names are found under, or None: a program may name what it likes."""
    return _current.get()


@contextlib.contextmanager
def under(trust: Trust | None) -> Iterator[None]:
    """Find names under a rule."""
    token = _current.set(trust)
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def modules_in(folder: str | Path | None) -> Iterator[None]:
    """Let dotted paths name modules in ``folder``; an installed module of the same name goes first."""
    trust = current()
    if folder is None or str(folder) in sys.path or (trust and not trust.runs_own):
        yield
        return
    sys.path.append(str(folder))
    sys.path_importer_cache[str(folder)] = _Lent(Path(folder))
    _lent.append(str(folder))
    try:
        yield
    finally:
        _lent.remove(str(folder))
        sys.path_importer_cache.pop(str(folder), None)
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def _is_in(module: str, packages: Any) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _places(spec: importlib.machinery.ModuleSpec) -> list[Path]:
    places = [spec.origin] if spec.origin else spec.submodule_search_locations or ()
    return [Path(place).resolve() for place in places]


def defined_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that the code of a module may define; ``*`` for those of another module."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        else:
            yield from defined_names(node)
