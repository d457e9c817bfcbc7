"""Measure the optimizers of the bundled plugins: ``python -m optimzoo_plugins.facts [NAME ...]``, all by default."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from optimzoo import OPTIMIZERS
from optimzoo.names.entry import library_version
from optimzoo.names.facts import packed, plain_version
from optimzoo.vetting import Fact, vet
from optimzoo.vetting.record import MEASUREMENTS

WITH: dict[str, dict[str, Any]] = {"ZeroRedundancyOptimizer": {"optimizer_type": "AdamW"}}
"""Arguments of those that cannot be built without."""


IMPORTS: dict[str, Fact] = {}
"""What an import does, by library: it is looked at once, since that takes as long as all other facts together."""
USED = ("torch", "transformers", "bitsandbytes", "pytorch_optimizer", "schedulefree", "prodigyopt", "torch_optimizer")
"""The libraries to begin with."""


def measure(name: str) -> None:
    """Vet one name, and write what is found into the file of its library."""
    entry = OPTIMIZERS.entry(name)
    only = ["needs", *(fact for fact in MEASUREMENTS if fact != "manners.import" or entry.library not in IMPORTS)]
    report = vet(name, only=only, seconds=1800, **WITH.get(name, {}))
    for fact in (fact for fact in report.facts if fact.fact == "manners.import"):
        IMPORTS[entry.library] = fact
    others = tuple(fact for fact in report.facts if fact.fact != "manners.import")
    version = library_version(entry.library)  # which is not that of the class where the library hands on another's
    report = replace(report, facts=(*others, IMPORTS[entry.library]), version=version)
    found = packed(report.as_dict(), date.today().isoformat())
    file = Path(__file__).with_name(f"{entry.library}.json")
    names = json.loads(file.read_text(encoding="utf-8"))["names"] if file.is_file() else {}
    versions = names.setdefault(entry.name, {})
    versions.pop(plain_version(report.version), None)
    versions[plain_version(report.version)] = found
    ordered = {"names": dict(sorted(names.items()))}
    text = json.dumps(ordered, indent=1, ensure_ascii=False).replace("[\n      ", "[").replace(",\n      ", ", ")
    file.with_suffix(".new").write_text(text.replace("\n     ]", "]") + "\n", encoding="utf-8")
    file.with_suffix(".new").replace(file)


def main() -> None:
    """Measure the names of the command line, or all that are bundled and installed, the most used libraries first."""
    entries = {name: OPTIMIZERS.entry(name) for name in OPTIMIZERS}
    order = {library: number for number, library in enumerate(USED)}
    mine = [name for name, entry in entries.items() if entry.bundled and entry.installed]
    names = sys.argv[1:] or sorted(mine, key=lambda name: order.get(entries[name].library, len(USED)))
    import torch._functorch.aot_autograd  # noqa: F401  # once, and not in each process that compiles a step

    for number, name in enumerate(names, 1):
        print(f"{number}/{len(names)} {name}", flush=True)
        measure(name)


if __name__ == "__main__":
    main()
