"""Measure the optimizers of the bundled plugins: ``python -m optimzoo_plugins.facts --help`` says how."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from optimzoo import OPTIMIZERS
from optimzoo.names.entry import library_version
from optimzoo.names.facts import UNDRIVEN, packed, plain_version
from optimzoo.vetting import Fact, vet
from optimzoo.vetting.record import MEASUREMENTS

WITH: dict[str, dict[str, Any]] = {"ZeroRedundancyOptimizer": {"optimizer_type": "AdamW"}}
"""Arguments of those that cannot be built without."""


IMPORTS: dict[str, Fact] = {}
"""What an import does, by library: it is looked at once, since that takes as long as all other facts together."""
USED = ("torch", "transformers", "bitsandbytes", "pytorch_optimizer", "schedulefree", "prodigyopt", "torch_optimizer")
"""The libraries to begin with."""


def measure(name: str, only: Sequence[str] = (), seconds: float = 1800) -> None:
    """Vet one name, and write what is found into the file of its library.

    Args:
        name: A registered name.
        only: Facts to measure, or first words of some, where the others are kept as they stand in the file.
        seconds: When to stop measuring.
    """
    entry = OPTIMIZERS.entry(name)
    wanted = ["needs", *only] if only else ["needs", *MEASUREMENTS]
    if entry.library in IMPORTS and not only:
        wanted.remove("manners.import")
    report = vet(name, only=wanted, seconds=seconds, **WITH.get(name, {}))
    for fact in (fact for fact in report.facts if fact.fact == "manners.import"):
        IMPORTS[entry.library] = fact
    others = tuple(fact for fact in report.facts if fact.fact != "manners.import")
    known = () if only else (IMPORTS[entry.library],)
    version = library_version(entry.library)  # which is not that of the class where the library hands on another's
    report = replace(report, facts=(*others, *known), version=version)
    found = packed(report.as_dict(), date.today().isoformat())
    file = Path(__file__).with_name(f"{entry.library}.json")
    names = json.loads(file.read_text(encoding="utf-8"))["names"] if file.is_file() else {}
    versions = names.setdefault(entry.name, {})
    before = versions.pop(plain_version(report.version), None)
    if before and only and report["needs"].value not in UNDRIVEN:
        found = {**before, "torch": found["torch"], "facts": before["facts"] | found["facts"]}
    versions[plain_version(report.version)] = found
    ordered = {"names": dict(sorted(names.items()))}
    text = json.dumps(ordered, indent=1, ensure_ascii=False).replace("[\n      ", "[").replace(",\n      ", ", ")
    file.with_suffix(".new").write_text(text.replace("\n     ]", "]") + "\n", encoding="utf-8")
    file.with_suffix(".new").replace(file)


def main() -> None:
    """Measure the names of the command line, or all that are bundled and installed, the most used libraries first."""
    parser = argparse.ArgumentParser(prog="python -m optimzoo_plugins.facts", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a name that `optimzoo list` prints")
    parser.add_argument("--only", default="", metavar="FACT,FACT", help="facts to measure, beside those in the file")
    parser.add_argument("--seconds", type=float, default=1800, help="when to stop measuring a name")
    asked = parser.parse_args()
    entries = {name: OPTIMIZERS.entry(name) for name in OPTIMIZERS}
    order = {library: number for number, library in enumerate(USED)}
    mine = [name for name, e in entries.items() if e.bundled and e.installed and "parts" not in e.needs]
    names = asked.names or sorted(mine, key=lambda name: order.get(entries[name].library, len(USED)))
    import torch._functorch.aot_autograd  # noqa: F401  # once, and not in each process that compiles a step

    for number, name in enumerate(names, 1):
        print(f"{number}/{len(names)} {name}", flush=True)
        measure(name, [word for word in asked.only.split(",") if word], asked.seconds)


if __name__ == "__main__":
    main()
