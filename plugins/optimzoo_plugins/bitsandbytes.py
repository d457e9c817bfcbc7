"""bitsandbytes (Dettmers and others): optimizers with quantized or paged state.

The names are written down, so that they are known, with what installs them, where bitsandbytes is not installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import licence

METHODS = {
    "AdEMAMix": "https://arxiv.org/abs/2409.03137",
    "Adagrad": "https://jmlr.org/papers/v12/duchi11a.html",
    "Adam": "https://arxiv.org/abs/1412.6980",
    "AdamW": "https://arxiv.org/abs/1711.05101",
    "LAMB": "https://arxiv.org/abs/1904.00962",
    "LARS": "https://arxiv.org/abs/1708.03888",
    "Lion": "https://arxiv.org/abs/2302.06675",
    "RMSprop": "https://arxiv.org/abs/1308.0850",
    "SGD": "",
}
PAGED = ("AdEMAMix", "Adam", "AdamW", "Lion")
ELSEWHERE = ("Adagrad", "Adam", "AdamW", "Lion", "RMSprop", "SGD")  # the bare names of torch's and lion-pytorch's
IN_TORCH = ("PytorchLARS",)  # the others have kernels, which know nothing of a tensor in several processes
DECOUPLED = {"weight_decay": "it is decoupled from the gradient, as in AdamW, not added to it as in torch's Adam"}
NOTHING = "it does nothing: bitsandbytes takes it and reads it nowhere"
NOTES = {
    "Adam": {"amsgrad": NOTHING, **DECOUPLED},
    "AdamW": {"amsgrad": NOTHING},
    "LAMB": {"amsgrad": NOTHING, "bias_correction": NOTHING, "adam_w_mode": NOTHING},
    "LARS": {"dampening": NOTHING, "nesterov": NOTHING},
    "RMSprop": {"momentum": NOTHING},
    "SGD": {"dampening": NOTHING, "nesterov": NOTHING},
}
"""What surprises in each method's classes."""
NO_TRUST = "it has no trust ratio for parameters of 4 096 elements or more: those are updated as by {}"
IN_8_BIT = {"LAMB8bit": {"": NO_TRUST.format("Adam8bit")}, "LARS8bit": {"": NO_TRUST.format("SGD8bit")}}
EIGHT_BIT = "https://arxiv.org/abs/2110.02861"


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register the 8-bit, 32-bit and paged classes."""
    for name, about, paper in _classes():
        shared = name in ELSEWHERE
        zoo.optimizer(
            name,
            f"bitsandbytes.optim:{name}",
            extra="bitsandbytes",
            licence=licence(zoo.plugin),
            about=about,
            paper=paper,
            bare=not shared,
            aliases=(f"bnb_{name}",) if shared else (),
            notes={**NOTES.get(re.sub("^Paged|(8|32)bit$", "", name), {}), **IN_8_BIT.get(name, {})},
            needs=() if name in IN_TORCH else ("whole",),
        )


def _classes() -> Iterator[tuple[str, str, str]]:
    for method, paper in METHODS.items():
        for paged in ("", "Paged") if method in PAGED else ("",):
            where = " in paged memory" if paged else ""
            yield f"{paged}{method}", f"{method} with a state of optim_bits (32 by default) bits{where}", paper
            yield f"{paged}{method}8bit", f"{method} with an 8-bit state{where}", EIGHT_BIT
            yield f"{paged}{method}32bit", f"{method} with a 32-bit state{where}", paper
    yield "PytorchLARS", "LARS in plain torch operations", METHODS["LARS"]
