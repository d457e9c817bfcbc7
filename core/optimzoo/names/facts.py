"""What is known of an optimizer by measurement, as the files of plugins hold it.

A file holds the facts about the optimizers of a library, by name and version: what ``optimzoo vet`` found, with the
version of torch and the day. ``make facts`` writes those of the bundled plugins.
"""

from __future__ import annotations

import importlib.resources
import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from optimzoo.errors import ConfigError, PluginError, did_you_mean, near, shown
from optimzoo.traces import describe_error

BUNDLED = "optimzoo_plugins.facts"
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "!=": operator.ne, "<": operator.lt, ">": operator.gt, "=": operator.eq,
}  # fmt: skip
CONDITION = re.compile(r"([\w.]+)(?:(<=|>=|!=|<|>|=)([^<>=!\s].*))?$")
UNDRIVEN = {"nothing works": "no way to drive it was found", "accelerator": "it does not run on a CPU"}
"""Values of ``needs`` for what cannot be measured, and what they mean."""
UNMEASURED = {"parts": "its facts are those of its parts", "process_group": "it runs in several processes alone"}
"""Needs for which there are no facts, and why."""
VERDICTS = ("fine", "note", "fault", "unmeasured")
Row = tuple[str, Any, str]


@dataclass(frozen=True)
class Facts:
    """The facts about one optimizer.

    Args:
        version: The version of the library that was measured.
        torch: The version of torch.
        date: The day.
        rows: Verdict, value and what there is to say, by the name of the fact.
    """

    version: str
    torch: str
    date: str
    rows: Mapping[str, Row]

    def value(self, fact: str) -> Any:
        """Return the value of a fact; None where it is not known."""
        return self.rows.get(fact, ("", None, ""))[1]

    def of_verdict(self, verdict: str) -> dict[str, Row]:
        """Return the facts with that ``verdict``."""
        return {fact: row for fact, row in self.rows.items() if row[0] == verdict}

    def meets(self, condition: str) -> bool:
        """Whether a condition holds: ``fact`` (it is fine), ``fact=value``, ``fact=verdict``, ``fact<=number``.

        Raises:
            ConfigError: It is none of these.
        """
        fact, sign, wanted = _parsed(condition)
        verdict, value, _ = self.rows.get(fact, ("", None, ""))
        if not sign:
            return verdict == "fine"
        try:
            return OPERATORS[sign](float(value), float(wanted))
        except (TypeError, ValueError):
            return sign in ("=", "!=") and (wanted in (str(value), verdict)) == (sign == "=")


def _parsed(condition: str) -> tuple[str, str, str]:
    """Return the fact, the sign and the value of a condition."""
    parsed = CONDITION.match(condition)
    if not parsed:
        raise ConfigError(
            f"a condition is wanted, such as resume=exact, elementwise or state<=4, got {shown(condition)}"
        )
    fact, sign, wanted = parsed.groups()
    return fact, sign or "", wanted or ""


def check_condition(condition: str, measured: Iterable[Facts]) -> None:
    """Raise if a condition is none, or speaks of a fact, or asks for a value of one, that nothing measured has."""
    fact, sign, wanted = _parsed(condition)
    values: dict[str, dict[str, None]] = {}
    for name, (_, value, _) in (row for facts in measured for row in facts.rows.items()):
        values.setdefault(name, dict.fromkeys(VERDICTS))[str(value)] = None
    if fact not in values:
        inside = sorted(name for name in values if name.startswith(f"{fact}."))
        hint = did_you_mean(inside or near(fact, values)) or f" Measured are {', '.join(values) or 'none'}."
        raise ConfigError(f"there is no fact {fact!r}.{hint}")
    if sign not in ("", "=", "!=") and not _is_number(wanted):
        raise ConfigError(f"a number is wanted after {fact}{sign}, got {wanted!r}")
    if sign in ("=", "!=") and wanted not in values[fact] and not _is_number(wanted):
        known = (f'"{value}"' if " " in value else value for value in sorted(values[fact]))
        hint = did_you_mean(near(wanted, values[fact])) or f" It is {', '.join(known)}."
        raise ConfigError(f"no measured optimizer has {fact}={wanted}.{hint}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def facts_in(file: str, name: str, version: str) -> Facts | None:
    """Return the facts about ``name`` in ``"package:file.json"``: those of ``version``, or else of the newest one.

    Raises:
        PluginError: There is no such file, or it is no file of facts.
    """
    try:
        versions = _read(file)["names"].get(name, {})
        measured = versions.get(plain_version(version)) or next(reversed(versions.values()), None)
        return unpacked(measured) if measured else None
    except (ImportError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise PluginError(f"the facts in {file!r} cannot be read: {describe_error(error)}") from error


def bundled_file(library: str) -> str:
    """Return the file of facts about a library that comes with optimzoo, or ``""``."""
    file = f"{library}.json"
    return f"{BUNDLED}:{file}" if importlib.resources.files(BUNDLED).joinpath(file).is_file() else ""


def packed(report: Mapping[str, Any], date: str) -> dict[str, Any]:
    """Return what ``optimzoo vet --json`` prints as a file of facts holds it: of what is fine the value alone.

    Of what cannot be built or driven, there is the first fact, which says so.
    """
    found = report["facts"][:1] if report["facts"][0]["value"] in UNDRIVEN else report["facts"]
    rows = {
        row["fact"]: row["value"] if row["verdict"] == "fine" else [row["verdict"], row["value"], row["why"]]
        for row in found
    }
    versions = {"version": plain_version(report["version"]), "torch": plain_version(report["torch"])}
    return {**versions, "date": date, "facts": rows}


def unpacked(measured: Mapping[str, Any]) -> Facts:
    """Return the facts that ``packed`` packed."""
    rows: dict[str, Row] = {
        fact: (row[0], row[1], row[2]) if isinstance(row, list) else ("fine", row, "")
        for fact, row in measured["facts"].items()
    }
    return Facts(measured["version"], measured["torch"], measured["date"], rows)


def plain_version(version: str) -> str:
    """Return a version without its local part, such as ``+cpu``."""
    return version.partition("+")[0]


@cache
def _read(file: str) -> Any:
    package, _, name = file.partition(":")
    return json.loads(importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8"))
