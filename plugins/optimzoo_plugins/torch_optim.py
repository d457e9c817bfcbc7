"""torch.optim: every concrete optimizer of the installed torch, found in its source, since importing torch is slow."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import licence

NEEDS = {
    "Adafactor": ("whole",),  # torch's DTensor has no rule for some of their operations in place
    "LBFGS": ("closure", "one_group"),
    "Muon": ("matrices",),
    "Rprop": ("whole",),
    "SparseAdam": ("sparse",),
}
ALIASES = {"Adafactor": ("TorchAdafactor",)}  # mmengine's name: its Adafactor, and ours, is that of transformers
PAPERS = {"ASGD": "https://doi.org/10.1137/0330046"}  # which torch refers to in other ways from version to version
SINCE = {"Muon": "2.9"}
GROUP_KEYS = {"Muon": ("num_heads", "as_matrix")}  # which optimzoo adds
NOTES = {
    "SGD": {
        "differentiable": "with a momentum, torch (2.14.1 and before) takes the first gradient out of the graph: "
        "derivatives through the steps lack what depends on it"
    }
}


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register what ``torch.optim`` exports."""
    found = list(_optimizers())
    for name in SINCE.keys() - {name for name, _, _ in found}:  # an older torch: the error says what brings it
        zoo.optimizer(name, f"torch.optim:{name}", since=SINCE[name], needs=NEEDS.get(name, ()), discovered=True)
    for name, about, paper in found:
        zoo.optimizer(
            name,
            f"torch.optim:{name}",
            about=about,
            paper=PAPERS.get(name, paper),
            licence=licence(zoo.plugin),
            needs=NEEDS.get(name, ()),
            aliases=ALIASES.get(name, ()),
            group_keys=GROUP_KEYS.get(name, ()),
            notes=NOTES.get(name, {}),
            discovered=True,
        )


def _optimizers() -> Iterator[tuple[str, str, str]]:
    """Yield the name, first sentence and first reference of each class exported that derives from ``Optimizer``."""
    spec = importlib.util.find_spec("torch")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        package = Path(folder, "optim")
        exports = [
            node
            for node in ast.parse((package / "__init__.py").read_text(encoding="utf-8")).body
            if isinstance(node, ast.ImportFrom)
        ]
        modules = {alias.name: (node.module or "").rpartition(".")[2] for node in exports for alias in node.names}
        sources = {module: _read(package / f"{module}.py") for module in set(modules.values())}
        bases = {
            name: base
            for source in sources.values()
            for name, base in re.findall(r"^class (\w+)\((\w+)\)", source, re.M)
        }
        for name, module in sorted(modules.items()):
            ancestor = bases.get(name)
            while ancestor in bases:
                ancestor = bases[ancestor]
            if ancestor == "Optimizer":
                source = sources[module]
                described = source.partition(f"{name}.__doc__")[2] or source.partition(f"class {name}(")[2]
                about = re.search(r'"""(?:Implements )?([^"]+?)\.?\n', described)
                paper = re.search(r"^\s+(https?://\S+)$", source, re.M)
                yield name, about[1] if about else "", paper[1] if paper else ""


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""
