"""What the conformance tests try each optimizer with, and the tables of the documents that follow from it.

`python -m tests.plugins.conformance` writes the tables.
"""

import re

from optimzoo import OPTIMIZERS
from optimzoo.names.entry import NEEDS, REFUSED
from optimzoo_plugins.library import OWNERS, libraries, owners
from optimzoo_plugins.openmmlab import CONSTRUCTORS, SCHEDULES
from tests.conftest import REPO

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
    **{name: dict(lr=0.03) for name in OPTIMIZERS if name.startswith("emerging_optimizers.")},
    "emerging_optimizers.REKLS": dict(lr=0.01),
    "emerging_optimizers.SOAP": dict(lr=0.01, use_kl_shampoo=True),
    "emerging_optimizers.AdaptiveMuon": dict(lr=0.01, momentum=0.9, weight_decay=0.0),
    "Adafactor": dict(scale_parameter=False, relative_step=False),
    **{name: dict(momentum=0.9) for name in MOMENTUM_WANTED},
    **{name: dict(lr=0.01) for name in (*LR_WANTED, *OPTIMIZERS) if name in LR_WANTED or name.startswith("optimi.")},
    "GaLoreAdamW": dict(no_deprecation_warning=True),
    "pytorch_optimizer.LARS": dict(lr=0.1),
    **{name: dict(lr=0.01) for name in ("AdafactorBigVision", "timm.SGDP")},
    "timm.Lars": dict(lr=0.1),
    "mmpretrain.LARS": dict(lr=1.0),
    "SpectralSphere": dict(lr=0.1),
    "Ranger21": dict(num_iterations=100),
    "OrthoGrad": dict(optimizer=dict(type="AdamW", lr=0.01)),
    "SAM": dict(base_optimizer=dict(type="SGD", lr=0.05, momentum=0.9)),
    "AliG": dict(max_lr=0.1),
    "Parts": dict(
        parts=[
            dict(name="matrices", where=dict(ndim=2), optimizer=dict(type="AdamW", lr=0.01)),
            dict(name="rest", optimizer=dict(type="SGD", lr=0.05, momentum=0.9)),
        ]
    ),
}
RULES = dict(paramwise_cfg=dict(rules=[dict(ndim=2, use_muon=True), dict(ndim=1, use_muon=False)]))
# What upstream itself cannot do on a CPU, with its own error; docs/optimizers.md lists these.
BROKEN_UPSTREAM = {
    **dict.fromkeys(("AdEMAMix32bit", "PagedAdEMAMix32bit"), "doesn't match the broadcast shape"),
    "CPUOffloadOptimizer": "CPU Offload currently only supports",
    "GaLoreAdamW8bit": "CUDA|NVIDIA",
    "emerging_optimizers.SinkhornMuon": "contains negative values",
    **dict.fromkeys(("FlashAdam", "FlashAdamW", "FlashLion", "FlashSGD", "FlashSGDW"), "requires a CUDA device"),
}
# What compiles its step, which takes long: tried in a process of its own where nothing is compiled.
COMPILES = ("heavyball", "torchao", "timm.Kron", "emerging_optimizers.PSGDPro")

NAMES = [name for name in OPTIMIZERS if "process_group" not in OPTIMIZERS.entry(name).needs]
HERE = [name for name in NAMES if OPTIMIZERS.entry(name).installed]
REFUSED_HERE = [name for name in HERE if REFUSED & set(OPTIMIZERS.entry(name).needs)]
DRIVEN = [name for name in HERE if name not in BROKEN_UPSTREAM and name not in REFUSED_HERE]
COMPILED = [name for name in DRIVEN if not {name, OPTIMIZERS.entry(name).plugin}.isdisjoint(COMPILES)]
WORKING = [name for name in DRIVEN if name not in COMPILED]
# What does not continue a run bit by bit after weights_only loading, and what is seen instead.
NOT_RESUMED = {
    "AdaShift": "UnpicklingError",
    "Conda": "UnpicklingError",
    "SCION": "UnpicklingError",
    "SCIONLight": "UnpicklingError",
    "ScalableShampoo": "UnpicklingError",
}
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
    if REFUSED & set(entry.needs):
        return f"refused: {NEEDS[next(need for need in entry.needs if need in REFUSED)]}"
    if name in NOT_RESUMED:
        return "steps; its state cannot be loaded with weights_only"
    tried = entry.facts is not None and not entry.installed  # both where its library is
    return "works" if name in DRIVEN or tried else "not tried"


COLUMNS = ("needs", "trains", "lr", "decay", "resume", "state", "groups.merge", "elementwise", "scale")


def cell(text: object) -> str:
    """A text as a cell of a table holds it."""
    return str(text).replace("|", "\\|").replace("<", "&lt;")


def faults_of(name: str) -> dict[str, str]:
    """The faults that were measured, and why; not that no way to drive it was found, where its plugin knows one."""
    found = OPTIMIZERS.entry(name).facts
    rows = found.of_verdict("fault") if found else {}
    return {fact: row[2] for fact, row in rows.items() if fact != "needs" or status(name).startswith("fails")}


def table() -> str:
    """The rows of every registered optimizer."""
    heads = [column.removesuffix(".merge") for column in COLUMNS]
    heads = ["name", "library", "licence", "on a CPU", *heads, "faults", "measured", "about"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, entry in ((name, OPTIMIZERS.entry(name)) for name in NAMES):
        if entry.bundled:
            also = "".join(f", `{alias}`" for alias in entry.aliases)
            rows = entry.facts.rows if entry.facts else {}
            values = [rows.get(column, ("", "", ""))[1] for column in COLUMNS]
            values = ["" if value is None else cell(value) for value in values]
            faults = ", ".join(faults_of(name))
            library = f"{entry.library} {entry.facts.version}" if entry.facts else entry.library
            licence = entry.licence if entry.licence.count(" AND ") < 2 else "[several](libraries.md)"
            about = f"[{entry.about}]({entry.paper})" if entry.paper else entry.about
            cells = [f"`{name}`{also}", library, licence, cell(status(name)), *values, faults, entry.measured, about]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def faults() -> str:
    """A line for each fault, of all the names that have it for the same reason."""
    names = {}
    for name in OPTIMIZERS:
        entry = OPTIMIZERS.entry(name)
        if entry.bundled and entry.facts:
            for fact, why in faults_of(name).items():
                kind = re.sub(r"\d[\d.e+-]*", "…", why)
                place = f"{entry.library} {entry.facts.version}", fact, kind
                names.setdefault(place, (why, []))[1].append(name)
    lines = []
    for (library, fact, _), (why, who) in sorted(names.items()):
        others = f" and {len(who) - 12} others" if len(who) > 12 else ""
        see = f"`optimzoo vet {who[0]} --only {fact}`"
        lines.append(f"- **{library}**, `{fact}`: {cell(why)}. {', '.join(f'`{n}`' for n in who[:12])}{others}. {see}")
    return "\n".join(lines) + "\n"


def by_library() -> str:
    """A row for each library: how many names it has, and how many of them do what."""
    lines = [
        "| plugin | library | licence | install | names | no footnote | a footnote | not measured yet "
        "| cannot step here | not tried |"
    ]
    lines.append("|---" * 10 + "|")
    for plugin, row in sorted(libraries().items(), key=lambda pair: (-len(pair[1]["names"]), pair[0])):
        kinds = [kind_of(OPTIMIZERS.display_name(e)) for e in OPTIMIZERS.entries() if e.plugin == plugin]
        counts = [kinds.count(kind) for kind in ("clean", "noted", "not measured", "cannot", "not tried")]
        install = f"`pip install 'optimzoo[{row.get('extra', row['distribution'])}]'`" if plugin != "torch" else "-"
        library = f"{row['distribution']} {row['version']}"
        lines.append(
            f"| {' | '.join(map(str, (f'`{plugin}`', library, row['licence'], install, len(kinds), *counts)))} |"
        )
    return "\n".join(lines) + "\n"


def kind_of(name: str) -> str:
    """Whether a name steps here without a footnote, with one, unmeasured, not, or has not been tried."""
    entry, told = OPTIMIZERS.entry(name), status(name)
    if told == "not tried":
        return told
    if told.startswith(("fails", "refused")):
        return "cannot"
    if entry.notes or faults_of(name) or told != "works":
        return "noted"
    return "clean" if entry.facts else "not measured"


def by_owner() -> str:
    """A row for each library that owns bare names, with the reason and the names."""
    lines = ["| library | why it owns them | bare names |", "|---|---|---|"]
    for plugin, why in OWNERS.items():
        qualified = libraries()[plugin].get("qualified", ())
        names = [n for n in libraries()[plugin]["names"] if owners()[n.lower()] == plugin and n not in qualified]
        lines.append(f"| `{plugin}` | {why} | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join(lines) + "\n"


def shared() -> str:
    """A row for each name that several libraries bring: whose the bare one is, and how the others are called."""
    lines = ["| name | whose | others |", "|---|---|---|"]
    entries: dict[str, list[str]] = {}
    for name in OPTIMIZERS:
        entries.setdefault(name.rpartition(".")[2].lower(), []).append(name)
    for names in (names for _, names in sorted(entries.items()) if len(names) > 1):
        bare = [f"`{name}`: {OPTIMIZERS.entry(name).plugin}" for name in names if "." not in name]
        others = ", ".join(f"`{name}`" for name in names if "." in name)
        lines.append(f"| {names[0].rpartition('.')[2]} | {', '.join(bare) or 'nobody'} | {others} |")
    return "\n".join(lines) + "\n"


def of_openmmlab() -> str:
    """A row for each constructor and schedule of OpenMMLab's."""
    lines = ["| name | scopes | what it is |", "|---|---|---|"]
    for name, (_, scopes, about) in CONSTRUCTORS.items():
        lines.append(f"| `{name}` | {', '.join(scopes)} | {about} |")
    for name, (scope, _, about) in SCHEDULES.items():
        lines.append(f"| `{name}` | {scope} | {about} |")
    return "\n".join(lines) + "\n"


MARKS = {
    "optimizers.md": {"table": table, "faults": faults},
    "libraries.md": {"libraries": by_library, "owners": by_owner, "shared": shared},
    "openmmlab.md": {"names": of_openmmlab},
}


def page(name: str) -> str:
    """A page, with its tables renewed."""
    text = (REPO / "docs" / name).read_text()
    for mark, make in MARKS[name].items():
        text = re.sub(f"(?s)(?<=<!-- {mark} -->\n).*?(?=<!-- end of {mark} -->\n)", lambda _: make(), text)  # noqa: B023
    return text


if __name__ == "__main__":
    for each in MARKS:
        (REPO / "docs" / each).write_text(page(each))
