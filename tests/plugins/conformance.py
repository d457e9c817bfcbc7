"""What the conformance tests try each optimizer with, and the table of docs/optimizers.md that follows from it.

`python -m tests.plugins.conformance` writes the table.
"""

import re

from optimzoo import OPTIMIZERS
from tests.conftest import REPO

PAGE = REPO / "docs" / "optimizers.md"
MARKS = "<!-- table -->\n", "<!-- end of table -->\n"

# The learning rate that each is tried with; the first prefix of the name that matches.
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
ARGUMENTS = {
    "Adafactor": dict(scale_parameter=False, relative_step=False),
    **{name: dict(momentum=0.9) for name in MOMENTUM_WANTED},
}
# What upstream itself cannot do on a CPU, with its own error; docs/optimizers.md lists these.
BROKEN_UPSTREAM = dict.fromkeys(("AdEMAMix32bit", "PagedAdEMAMix32bit"), "doesn't match the broadcast shape")

NAMES = [name for name in OPTIMIZERS if "process_group" not in OPTIMIZERS.entry(name).needs]
WORKING = [name for name in NAMES if name not in BROKEN_UPSTREAM]
STEPS = 50


def config(name):
    method = name.rpartition(".")[2].removeprefix("Paged")
    lr = next(lr for prefix, lr in LR.items() if method.startswith(prefix))
    return dict(type=name, lr=lr, **ARGUMENTS.get(name, {}))


def table() -> str:
    """The rows of every registered optimizer."""
    lines = ["| name | also | library | on a CPU | tried with | about |", "|---|---|---|---|---|---|"]
    for name in NAMES:
        entry = OPTIMIZERS.entry(name)
        tried = ", ".join(f"{key}={value}" for key, value in config(name).items() if key != "type")
        status = f"fails upstream: {BROKEN_UPSTREAM[name]!r}" if name in BROKEN_UPSTREAM else "works"
        about = f"[{entry.about}]({entry.paper})" if entry.paper else entry.about
        aliases = ", ".join(f"`{alias}`" for alias in entry.aliases)
        lines.append(f"| `{name}` | {aliases} | {entry.library} | {status} | {tried} | {about} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page, with its table renewed."""
    start, end = MARKS
    return re.sub(f"(?s)(?<={start}).*?(?={end})", lambda _: table(), PAGE.read_text())


if __name__ == "__main__":
    PAGE.write_text(page())
