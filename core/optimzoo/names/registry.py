"""A registry: a table of names, each leading to a class that is imported on first use."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, overload

from optimzoo import calls
from optimzoo.errors import ConfigError, OptimzooWarning, UnknownNameError, a, did_you_mean, join_path, near, shown
from optimzoo.names.entry import Entry, check_length, dotted, dotted_forms, import_dotted
from optimzoo.names.trust import under
from optimzoo.values import MARKS

T = TypeVar("T")


class Registry:
    """The names of one kind of thing.

    Args:
        kind: What the names stand for, in the words of an error message, such as ``"optimizer"``.
        base: ``"module:Class"`` that every target must be a subclass of.
        must_be: The same requirement in words.
        own_keys: Keys of a config that are not arguments of the class.

    A plugin manager that fills it sets three attributes.

    Attributes:
        populate: Called before the first look-up; registers what the plugins bring.
        hints: Called when a name is unknown; returns a sentence about plugins that could have brought it.
        stage: Offered what a decorator registers, with the kind; returns whether it belongs to a plugin that keeps it.
    """

    def __init__(self, kind: str, base: str, must_be: str, own_keys: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.base = base
        self.must_be = must_be
        self.own_keys = own_keys
        self.populate: Callable[[], None] = lambda: None
        self.hints: Callable[[], str] = lambda: ""
        self.stage: Callable[[str, Entry], bool] = lambda kind, entry: False
        self._entries: dict[str, Entry] = {}
        self._claims: dict[str, list[Entry]] = {}
        self._by_class: dict[str, list[Entry]] = {}

    def __repr__(self) -> str:
        return f"<Registry of {len(self)} {self.kind} names>"

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, the bare one where the entry owns it, else the qualified one."""
        return iter(sorted(map(self.display_name, self.entries()), key=str.lower))

    def __len__(self) -> int:
        return len(self.entries())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and len(self.claimants(name)) == 1

    def entries(self) -> list[Entry]:
        """Return every entry, in the order of registration."""
        self.populate()
        return list(self._entries.values())

    def add(self, entry: Entry) -> None:
        """Add an entry; which of several claims on one bare name wins does not depend on the order of adding."""
        if entry.key in self._entries:
            raise ConfigError(f"{self.kind} {entry.qualified!r} is registered twice")
        self._entries[entry.key] = entry
        self._by_class.setdefault(entry.class_name, []).append(entry)
        for name in entry.claims:
            self._claims.setdefault(name, []).append(entry)

    def discard(self, entry: Entry) -> None:
        """Forget an entry and its claims."""
        if self._entries.pop(entry.key, None):
            self._by_class[entry.class_name].remove(entry)
        for name in entry.claims:
            self._claims[name] = [other for other in self._claims.get(name, ()) if other is not entry]
            if not self._claims[name]:
                del self._claims[name]

    def claimants(self, name: str) -> list[Entry]:
        """Return the entries that ``name`` may mean: one, several if they claim it with equal right, or none."""
        self.populate()
        found = self._entries.get(name) or self.owner(name)
        return [found] if found else sorted(self._claims.get(name, ()), key=lambda entry: entry.qualified)

    def owner(self, name: str) -> Entry | None:
        """Return the entry that a bare name stands for; None if nobody claims it or several do with equal right."""
        claims = self._claims.get(name, ())
        if not claims:
            return None
        strongest = min(map(_strength, claims))
        winners = [entry for entry in claims if _strength(entry) == strongest]
        return winners[0] if len(winners) == 1 else None

    def display_name(self, entry: Entry) -> str:
        """Return the shortest name that leads to ``entry``: its own, or that of a scope, or the qualified one."""
        names = (entry.name, *(alias for alias in entry.aliases if "." in alias))
        return next((name for name in names if self.owner(name) is entry), entry.qualified)

    def entry(self, name: str, path: str = "") -> Entry:
        """Return the entry of a bare or qualified name.

        Raises:
            UnknownNameError: Nothing, or more than one thing, goes by that name.
        """
        found = self.claimants(name)
        if len(found) == 1:
            return found[0]
        if found:
            options = [entry.qualified for entry in found]
            raise UnknownNameError(
                f"{name!r} is claimed by several plugins; say which one you mean:"
                f" {' or '.join(map(repr, options))}", path, options,
            )  # fmt: skip
        scope, _, rest = name.partition(".")
        if rest in self._claims and scope not in {entry.plugin for entry in self.entries()}:
            found = self.claimants(rest)
            where = f"{path}: " if path else ""
            warnings.warn(
                f"{where}there is no plugin {scope!r}; {name!r} is taken for {rest!r}, of {found[0].qualified}",
                OptimzooWarning,
                stacklevel=4,
            )
            return self.entry(rest, path)
        scoped = (claim for claim in self._claims if "." in claim)
        known = (*self._entries, *scoped) if "." in name else filter(self.__contains__, self._claims)
        suggestions = dotted_forms(name) or ([] if name.count(".") > 1 else near(name, known))
        raise UnknownNameError(
            f"there is no {self.kind} {name!r}: no installed plugin registers it."
            f"{did_you_mean(suggestions) or ' `optimzoo list` shows every name.'}{self.hints()}", path, suggestions,
        )  # fmt: skip

    def entry_of(self, cls: type) -> Entry | None:
        """Return the entry that leads to ``cls``, or else to its nearest base; nothing is imported to answer."""
        return next((entry for base in cls.__mro__ for entry in self._of_class(base)), None)

    def owner_of(self, cls: Any) -> Entry | None:
        """Return the entry of an installed plugin that leads to ``cls`` itself."""
        return next((entry for entry in self._of_class(cls) if entry.plugin), None)

    def _of_class(self, cls: Any) -> Iterator[Entry]:
        """Yield the entries that lead to ``cls`` itself."""
        self.populate()
        library = str(getattr(cls, "__module__", "")).partition(".")[0]
        entries = self._by_class.get(getattr(cls, "__name__", ""), ())
        for entry in sorted(entries, key=lambda entry: entry.module != library):  # others may hand a class on
            module, _, attribute = dotted(entry.target).partition(":")
            if entry.target is cls or getattr(sys.modules.get(module), attribute, None) is cls:
                yield entry

    def get(self, type: str | Callable[..., Any], path: str = "") -> Any:  # noqa: A002
        """Return the class that ``type`` names.

        Args:
            type: A registered name, ``plugin.Name``, ``package.module:Class``, or the class itself.
            path: Where in the config the name stands, for the error message.

        Raises:
            UnknownNameError: The name is not registered.
            MissingDependencyError: Its library is not installed.
            ConfigError: What it names is not of this registry's kind.
        """
        if not isinstance(type, str):
            return self._checked(type, path)
        check_length(type, path)
        if ":" in type:
            return self._checked(import_dotted(type, path), path)
        return self._checked(self.entry(type, path).load(path, type), path)

    def build(self, cfg: Mapping[str, Any], default_args: Mapping[str, Any] | None = None, **defaults: Any) -> Any:
        """Build what ``cfg`` describes: ``cfg["type"]`` is called with the other keys; ``cfg`` stays as it is.

        Args:
            cfg: A dict with the key ``type``.
            default_args: Arguments for the keys that ``cfg`` does not have.
            **defaults: The same, as keywords.

        Raises:
            ConfigError: A key or value is wrong, or the class refused its arguments.
        """
        target, kwargs = self.resolve(cfg)
        return calls.call(target, {**(default_args or {}), **defaults, **kwargs})

    def read(self, cfg: Any, path: str = "", given: tuple[str, ...] = ()) -> calls.Call:
        """Return the call that ``cfg`` describes, its class found and its arguments checked; nothing is built.

        Args:
            cfg: A dict with the key ``type``.
            path: Where in the config it stands.
            given: Names of required arguments that the build adds.

        Raises:
            ConfigError: The name, a key or a value is wrong.
        """
        target, kwargs = self.resolve(cfg, path)
        return calls.read(target, kwargs, path, given)

    def resolve(self, cfg: Any, path: str = "") -> tuple[Any, dict[str, Any]]:
        """Return the class that ``cfg["type"]`` names, and a copy of the other keys."""
        if not isinstance(cfg, Mapping):
            raise ConfigError(f"{a(self.kind)} is described by a dict with the key 'type', got {shown(cfg)}", path)
        if "type" not in cfg:
            hint = did_you_mean(near("type", cfg)).replace("Did you mean", "Is it under")
            raise ConfigError(f"the key 'type' is missing: which {self.kind} is it to be?{hint}", path)
        kwargs = {key: value for key, value in cfg.items() if key not in ("type", *self.own_keys, *MARKS)}
        scoped = f"{cfg.get('_scope_')}.{cfg['type']}"
        return self.get(scoped if scoped in self else cfg["type"], join_path(path, "type")), kwargs

    @overload
    def register_module(self, name: str | list[str] | None = None, force: bool = False, *, module: T) -> T: ...
    @overload
    def register_module(
        self, name: str | list[str] | None = None, force: bool = False, module: None = None
    ) -> Callable[[T], T]: ...
    def register_module(self, name: str | list[str] | None = None, force: bool = False, module: Any = None) -> Any:
        """Register a class, as a decorator or by a call with ``module``.

        Args:
            name: The name, or several; the class's own name by default.
            force: Replace what goes by that name in this process.
            module: The class, where this is not used as a decorator.

        Raises:
            ConfigError: The name is taken and ``force`` is not set, or it can be none.

        Examples:
            >>> import torch
            >>> from optimzoo import OPTIMIZERS
            >>> @OPTIMIZERS.register_module()
            ... class PlainDescent(torch.optim.SGD):
            ...     pass
            >>> OPTIMIZERS.get("PlainDescent") is PlainDescent
            True
        """
        names = [name] if isinstance(name, str) else name
        is_list = isinstance(names, (list, tuple)) and bool(names) and all(isinstance(each, str) for each in names)
        if names is not None and not is_list:
            raise ConfigError(
                f"name must be a string, got {shown(name)}. Write @REGISTRY.register_module() with parentheses"
            )

        for each in names or ():
            if ":" in each or not each.strip():
                raise ConfigError(f"{shown(each)} is no name: one with a colon is a path, module:Class")

        def register(target: Any) -> Any:
            checked = self._checked(target)
            first, *rest = names or [checked.__name__]
            about = (inspect.getdoc(target) or "").partition("\n")[0]
            self._register(Entry(first, checked, aliases=tuple(rest), about=about), force)
            return checked

        return register if module is None else register(module)

    def _register(self, entry: Entry, force: bool) -> None:
        self.populate()
        if self.stage(self.kind, entry):
            return
        again = [e for e in self._entries.values() if not e.plugin and dotted(e.target) == dotted(entry.target)]
        for same in (e for e in again if e.target is not entry.target):  # defined again, as in a cell of a notebook
            self.discard(same)
        for taken in (n for n in entry.claims if n in self._claims and not force):
            raise ConfigError(
                f"the {self.kind} name {taken!r} is taken by {self._claims[taken][0].qualified}. Choose another name, "
                "or pass force=True to replace it in this process"
            )
        for name in entry.claims:
            self._claims[name] = []
        if entry.key in self._entries:
            self.discard(self._entries[entry.key])
        self.add(entry)

    def _checked(self, target: Any, path: str = "") -> Any:
        with under(None):
            base = import_dotted(self.base)
        if inspect.isclass(target) and issubclass(target, base):
            return target
        name = dotted(target) if hasattr(target, "__qualname__") else shown(target)
        raise ConfigError(f"{name} cannot be used as {a(self.kind)}: it must be {self.must_be}", path)


def _strength(entry: Entry) -> tuple[bool, bool, bool]:
    """Order the claims on a bare name: the running program, then optimzoo's own plugins, then a name written down."""
    return bool(entry.plugin), not entry.bundled, entry.discovered
