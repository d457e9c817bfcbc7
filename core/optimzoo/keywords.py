"""The keywords that an optimizer or a schedule with ``**kwargs`` really reads, found in the source of its classes.

Many libraries end every signature in ``**kwargs``, so that a misspelt keyword is taken without a word. What the code
does with them is plain in most cases: it looks for some names in them, hands them on to the next constructor, or merges
them into the parameter groups, where the methods of the class look for them. Otherwise nothing is claimed.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

BASES = ("torch.optim.optimizer", "optimzoo.schedules.base")
"""Where the bases are, of which it is known what they do with arguments."""
READERS = ("get", "pop", "setdefault")
GROUPS = ("group", "defaults")
"""What the dicts that constructors merge their arguments into are called, or end in."""


@functools.lru_cache(maxsize=512)
def read_keywords(target: Callable[..., Any]) -> frozenset[str] | None:
    """Return the names that ``target`` reads from its ``**kwargs``, arguments of its bases among them; None if unknown.

    Args:
        target: A class of optimizers or schedules; of anything else nothing is claimed.
    """
    if not inspect.isclass(target) or not any(base.__module__ in BASES for base in target.__mro__):
        return None
    names: set[str] = set()
    constructors = [vars(cls)["__init__"] for cls in target.__mro__[:-1] if "__init__" in vars(cls)]
    for constructor in constructors:
        function = _parsed(constructor)
        if function is None:
            plain = _plain_names(constructor)  # as of a dataclass, whose constructor has no source
            return None if plain is None else frozenset(names | plain)
        arguments = function.args
        if constructor is not constructors[0]:
            names |= {argument.arg for argument in (*arguments.args[1:], *arguments.kwonlyargs)}
        if arguments.kwarg is None:
            return frozenset(names)
        uses = _Uses(arguments.kwarg.arg)
        uses.visit(function)
        names |= uses.names
        if uses.unknown:
            return None
        if uses.merged:
            names |= set(_read_from_groups(target))
        if not uses.handed_on:
            return frozenset(names)
    return frozenset(names)


def _plain_names(constructor: Callable[..., Any]) -> set[str] | None:
    """Return the arguments of a constructor that takes no others; None if it does, or cannot be told."""
    try:
        found = inspect.signature(constructor).parameters.values()
    except (TypeError, ValueError):
        return None
    return None if any(p.kind is p.VAR_KEYWORD for p in found) else {p.name for p in found} - {"self"}


class _Uses(ast.NodeVisitor):
    """What a constructor does with the dict ``name``: reads names, merges it, hands it on, or something else."""

    def __init__(self, name: str) -> None:
        self.name, self.names = name, set[str]()
        self.handed_on = self.merged = self.unknown = False

    def visit_Call(self, node: ast.Call) -> None:
        if _is_read_from(node, lambda of: isinstance(of, ast.Name) and of.id == self.name):
            self.names |= set(_keys(node))
            node = ast.Call(node.func.value.ctx, node.args[1:], node.keywords)  # type: ignore[attr-defined]
        if _text(node.func) == "super().__init__" and self._unpacked(node.keywords):
            self.handed_on = True
            node = ast.Call(node.func, node.args, [k for k in node.keywords if k.arg])
        elif (_text(node.func) == "dict" and self._unpacked(node.keywords)) or (
            _text(node.func).endswith("defaults.update") and any(_text(a) == self.name for a in node.args)
        ):
            self.merged = True
            node = ast.Call(ast.Constant(0), [], [k for k in node.keywords if k.arg])
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        pairs = [(k, v) for k, v in zip(node.keys, node.values) if not (k is None and _text(v) == self.name)]
        self.merged |= len(pairs) < len(node.keys)
        for key, value in pairs:
            self.visit(value if key is None else ast.Tuple([key, value], ast.Load()))

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if _text(node.value) == self.name:
            self.names |= set(_keys(node))
            self.unknown |= not list(_keys(node))
        else:
            self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if isinstance(node.ops[0], (ast.In, ast.NotIn)) and _text(node.comparators[0]) == self.name:
            self.names |= {str(node.left.value)} if isinstance(node.left, ast.Constant) else set()
        else:
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.unknown |= node.id in (self.name, "locals", "vars")

    def _unpacked(self, keywords: list[ast.keyword]) -> bool:
        return any(keyword.arg is None and _text(keyword.value) == self.name for keyword in keywords)


def _read_from_groups(cls: type) -> Iterator[str]:
    """Yield the names that the methods of a class and its bases look for in parameter groups."""
    for base in _own(cls):
        for method in (m for m in vars(base).values() if inspect.isfunction(m)):
            for node in ast.walk(_parsed(method) or ast.Constant(0)):
                if _is_read_from(node, lambda of: _text(of).rpartition(".")[2].endswith(GROUPS)):
                    yield from _keys(node)


def _own(cls: type) -> list[type]:
    """Return the class and its bases, those of torch.optim's own base left out, which reads what is torch's."""
    return [base for base in cls.__mro__[:-1] if base.__module__ not in BASES]


def _is_read_from(node: ast.AST, of: Callable[[ast.expr], bool]) -> bool:
    if isinstance(node, ast.Subscript):
        return of(node.value)
    is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READERS
    return is_method and of(node.func.value)  # type: ignore[attr-defined]


def _keys(node: ast.AST) -> Iterator[str]:
    key = node.slice if isinstance(node, ast.Subscript) else next(iter(getattr(node, "args", ())), None)
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        yield key.value


def _text(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, (ast.Name, ast.Attribute, ast.Call)) else ""


@functools.lru_cache(maxsize=4096)
def _parsed(function: Any) -> ast.FunctionDef | None:
    try:
        found = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body[0]
    except (OSError, TypeError, SyntaxError):  # there is no source, or it is not that of a function
        return None
    return found if isinstance(found, ast.FunctionDef) else None
