"""The engine is built in floors: each imports only from those below it, and no two modules import each other."""

import ast
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.conftest import REPO

ENGINE = REPO / "core" / "optimzoo"
FLOORS = [
    {"__init__", "bundled", "errors", "values", "traces", "console", "keywords", "calls", "files", "pictures"},
    {"names"},
    {"optimizers"},
    {"groups"},
    {"flat"},
    {"wrappers"},
    {"constructors"},
    {"schedules"},
    {"config"},
    {"build"},
    {"trainers", "vetting", "transplant"},
    {"run"},
    {"inspect"},
    {"cli", "__main__"},
]
"""From the ground up."""


def module_name(file):
    parts = file.relative_to(ENGINE).with_suffix("").parts
    return ".".join(("optimzoo", *parts[: -1 if parts[-1] == "__init__" else None]))


SOURCES = {module_name(file): ast.parse(file.read_text()) for file in ENGINE.rglob("*.py")}


def imported(tree):
    """Yield every module of the engine that is imported in `tree`, in functions and for type checkers too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "optimzoo")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "optimzoo":
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in SOURCES else node.module for name in names)


IMPORTS = {name: set(imported(tree)) for name, tree in SOURCES.items()}


def room(module):
    return [*module.split("."), "__init__"][1]


def floor(module):
    return next(height for height, rooms in enumerate(FLOORS) if room(module) in rooms)


def test_every_module_stands_on_a_floor():
    assert {room(module) for module in SOURCES} <= set().union(*FLOORS)


def test_no_module_imports_from_a_floor_above_its_own():
    upward = {(m, used) for m, uses in IMPORTS.items() for used in uses if floor(used) > floor(m)}
    assert upward == set()


def test_nothing_imports_in_a_circle():
    try:
        list(TopologicalSorter({m: uses - {m} for m, uses in IMPORTS.items()}).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
