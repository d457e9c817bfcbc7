"""What the conformance tests try each optimizer with, and the table of docs/optimizers.md that follows from it.

`python -m tests.plugins.conformance` writes the table.
"""

import re

from optimzoo import OPTIMIZERS
from optimzoo.names.entry import NEEDS, REFUSED
from tests.conftest import REPO

PAGE = REPO / "docs" / "optimizers.md"

# Libraries whose optimizers are tried with their own defaults, but for what ARGUMENTS says.
BEFORE = ("torch", "bitsandbytes", "dadaptation", "lion", "transformers", "sophia", "sophia_optimizer")
# The learning rate that each of the others is tried with; the first prefix of the name that matches.
LR = {
    "DAdapt": 1.0,
    "Adadelta": 1.0,
    "LBFGS": 1.0,
    "LARS": 0.1,
    "PytorchLARS": 0.1,
    "SGD": 0.05,
    "ASGD": 0.05,
    "Lion": 1e-3,
    "Rprop": 1e-3,
    "": 1e-2,
}
MOMENTUM_WANTED = ("bitsandbytes.SGD", "SGD8bit", "SGD32bit", "LARS", "LARS8bit", "LARS32bit", "PytorchLARS")
LR_WANTED = ("AdaMod", "CAME", "PNM", "SaRA", "SGDP", "SGDW", "Shampoo")
BY_RULES = ("AdaGO", "AdaMuon", "MuonClip", "NorMuon", "pytorch_optimizer.Muon")
ARGUMENTS = {
    "Adafactor": dict(scale_parameter=False, relative_step=False),
    **{name: dict(momentum=0.9) for name in MOMENTUM_WANTED},
    **{name: dict(lr=0.01) for name in (*LR_WANTED, *OPTIMIZERS) if name in LR_WANTED or name.startswith("optimi.")},
    "GaLoreAdamW": dict(no_deprecation_warning=True),
    "pytorch_optimizer.LARS": dict(lr=0.1),
    "SpectralSphere": dict(lr=0.1),
    "Ranger21": dict(num_iterations=100),
    "OrthoGrad": dict(optimizer=dict(type="AdamW", lr=0.01)),
}
RULES = dict(paramwise_cfg=dict(rules=[dict(ndim=2, use_muon=True), dict(ndim=1, use_muon=False)]))
# What upstream itself cannot do on a CPU, with its own error; docs/optimizers.md lists these.
BROKEN_UPSTREAM = {
    **dict.fromkeys(("AdEMAMix32bit", "PagedAdEMAMix32bit"), "doesn't match the broadcast shape"),
    "CPUOffloadOptimizer": "CPU Offload currently only supports",
    "GaLoreAdamW8bit": "CUDA",
}
# What compiles its step, which takes long: tried in a process of its own where nothing is compiled.
COMPILES = ("heavyball", "torchao")

NAMES = [name for name in OPTIMIZERS if "process_group" not in OPTIMIZERS.entry(name).needs]
HERE = [name for name in NAMES if OPTIMIZERS.entry(name).installed]
REFUSED_HERE = [name for name in HERE if REFUSED & set(OPTIMIZERS.entry(name).needs)]
DRIVEN = [name for name in HERE if name not in BROKEN_UPSTREAM and name not in REFUSED_HERE]
COMPILED = [name for name in DRIVEN if OPTIMIZERS.entry(name).plugin in COMPILES]
WORKING = [name for name in DRIVEN if name not in COMPILED]
# What does not continue a run bit by bit after weights_only loading, and what is seen instead.
NOT_RESUMED = {
    "AdaShift": "UnpicklingError",
    "Conda": "UnpicklingError",
    "SCION": "UnpicklingError",
    "SCIONLight": "UnpicklingError",
    "ScalableShampoo": "UnpicklingError",
}
NOT_EXACT = ("Ranger21", "StableSPAM")
STEPS = 50


def config(name):
    """The optimizer's config."""
    if OPTIMIZERS.entry(name).plugin not in BEFORE:
        return dict(type=name, **ARGUMENTS.get(name, {}))
    method = name.rpartition(".")[2].removeprefix("Paged")
    lr = next(lr for prefix, lr in LR.items() if method.startswith(prefix))
    return dict(type=name, lr=lr, **ARGUMENTS.get(name, {}))


def status(name):
    """What the table says of a name."""
    entry = OPTIMIZERS.entry(name)
    if name in BROKEN_UPSTREAM:
        return f"fails upstream: {BROKEN_UPSTREAM[name]!r}"
    if name in REFUSED_HERE:
        return f"refused: {NEEDS[next(need for need in entry.needs if need in REFUSED)]}"
    if name in NOT_RESUMED:
        return "steps; its state cannot be loaded with weights_only"
    if name in NOT_EXACT:
        return "steps; it does not continue bit by bit"
    return "works" if name in DRIVEN else "not tried"


COLUMNS = ("needs", "trains", "lr", "decay", "resume", "state", "groups.merge", "elementwise", "scale")


def table() -> str:
    """The rows of every registered optimizer."""
    columns = [
        "name",
        "also",
        "library",
        "licence",
        "on a CPU",
        *(column.removesuffix(".merge") for column in COLUMNS),
        "faults",
        "about",
    ]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name in NAMES:
        entry = OPTIMIZERS.entry(name)
        if entry.bundled:
            aliases = ", ".join(f"`{alias}`" for alias in entry.aliases)
            known = [
                entry.facts.rows.get(column, ("", None, "")) if entry.facts else ("", "", "") for column in COLUMNS
            ]
            values = ["" if value is None else str(value) for _, value, _ in known]
            faults = ", ".join(entry.facts.of_verdict("fault")) if entry.facts else "not measured"
            about = f"[{entry.about}]({entry.paper})" if entry.paper else entry.about
            cells = [f"`{name}`", aliases, entry.library, entry.licence, status(name), *values, faults, about]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def faults() -> str:
    """A line for each fault, of all the names that have it for the same reason."""
    names = {}
    for name in OPTIMIZERS:
        entry = OPTIMIZERS.entry(name)
        if entry.bundled and entry.facts:
            for fact, (_, _, why) in entry.facts.of_verdict("fault").items():
                kind = re.sub(r"\d[\d.e+-]*", "…", why)
                place = f"{entry.library} {entry.facts.version}", fact, kind
                names.setdefault(place, (why, []))[1].append(f"`{name}`")
    lines = [
        f"- **{library}**, `{fact}`: {why}. {', '.join(who)}"
        for (library, fact, _), (why, who) in sorted(names.items())
    ]
    return "\n".join(lines) + "\n"


MARKS = {
    ("<!-- table -->\n", "<!-- end of table -->\n"): table,
    ("<!-- faults -->\n", "<!-- end of faults -->\n"): faults,
}


def page() -> str:
    """The page, with its table and its faults renewed."""
    text = PAGE.read_text()
    for (start, end), make in MARKS.items():
        text = re.sub(f"(?s)(?<={start}).*?(?={end})", lambda _: make(), text)  # noqa: B023
    return text


if __name__ == "__main__":
    PAGE.write_text(page())
