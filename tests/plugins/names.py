"""Reads the names, versions and licences of the libraries that are installed; ``make names`` writes them down."""

import importlib
import inspect
import json
import re
from importlib import metadata

import torch

from optimzoo_plugins.library import FOLDER, libraries

FILE = FOLDER / "libraries.json"
SPDX = {
    r"apache": "Apache-2.0",
    r"\bmit\b|permission is hereby granted, free of charge": "MIT",
    r"neither the name|bsd 3-clause": "BSD-3-Clause",
    r"gnu affero": "AGPL-3.0",
    r"gnu general": "GPL-3.0",
    r"attribution 4.0 international": "CC-BY-4.0",
    r"attribution-noncommercial": "CC-BY-NC-4.0",
}
"""What a licence says of itself, in metadata or in its own text, and its identifier."""
PERMISSIVE = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT"}


def classes_of(module, skip=()):
    """The optimizers that a module exports under their own name, or else under another, with their targets."""
    found = {}
    exported = inspect.getmembers(module, lambda c: inspect.isclass(c) and issubclass(c, torch.optim.Optimizer))
    for name, cls in sorted(exported, key=lambda pair: (pair[0] != pair[1].__name__, pair[0])):
        if cls is not torch.optim.Optimizer and name not in skip and not inspect.isabstract(cls):
            target = f"{module.__name__}:{name}" if name == cls.__name__ else f"{cls.__module__}:{cls.__name__}"
            found.setdefault(cls, (name, target))
    return dict(sorted(found.values(), key=lambda pair: pair[0].lower()))


def found_in(plugin, module):
    """The optimizers of a plugin's library, with their targets: of its module, and of those that are written down."""
    row = libraries()[plugin]
    parts = (importlib.import_module(target.partition(":")[0]) for target in row.get("where", {}).values())
    found = {}
    for each in dict.fromkeys((module, *parts)):
        found |= {n: target for n, target in classes_of(each, row["skip"]).items() if target not in found.values()}
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))


def licence_of(distribution):
    """The licence that the metadata declare, or else the file has; where the two differ, both."""
    data = metadata.metadata(distribution)
    if expression := data.get("License-Expression"):
        return expression
    classifiers = [c for c in data.get_all("Classifier", []) if c.startswith("License :: OSI")]
    files = [f.read_text()[:4000] for f in metadata.files(distribution) or () if f.name.upper().startswith("LICENSE")]
    declared = {_spdx(text) for text in [*classifiers, data.get("License") or ""]} - {""}
    shipped = {_spdx(" ".join(text.split())) for text in files} - {""}
    return " AND ".join(sorted(declared | shipped))


def _spdx(text):
    return next((spdx for words, spdx in SPDX.items() if re.search(words, text.lower())), "")


def installed(plugin):
    """The module of a plugin's library; None where it is not installed or needs what is not there."""
    try:
        metadata.version(libraries()[plugin]["distribution"])
        return importlib.import_module(libraries()[plugin]["module"])
    except (metadata.PackageNotFoundError, ImportError):
        return None


def read(plugin):
    """What is to be written down of a plugin's library; what cannot be read stays as it is."""
    row = dict(libraries()[plugin])
    module = installed(plugin)
    if module is None:
        return row
    found = found_in(plugin, module)
    where = {name: target for name, target in found.items() if target != f"{row['module']}:{name}"}
    row |= dict(version=metadata.version(row["distribution"]).partition("+")[0], names=list(found))
    row["licence"] = licence_of(row["distribution"])
    return row | ({"where": where} if where else {})


def written(rows):
    """The text of the file: a line for each fact of a library."""
    return json.dumps(rows, indent=1).replace("\n   ", " ").replace("\n  ]", "]").replace("[ ", "[") + "\n"


if __name__ == "__main__":
    FILE.write_text(written({plugin: read(plugin) for plugin in libraries()}))
