"""Building from a config: against mmengine, and as the model grows."""

from __future__ import annotations

from collections.abc import Iterator

import mmengine.optim
from torch import nn

from bench.measure import Row, Work, in_turns
from bench.models import many, transformer
from optimzoo import build_optim_wrapper

CONFIG = dict(
    optimizer=dict(type="AdamW", lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, all_biases=False),
)
SIZES = (1_000, 10_000, 100_000)


def rows() -> Iterator[Row]:
    """Yield the rows about building."""
    model = transformer()
    found = in_turns(
        {
            "optimzoo": lambda: build_optim_wrapper(model, CONFIG),
            "mmengine": lambda: mmengine.optim.build_optim_wrapper(model, dict(CONFIG)),
        }
    )
    yield Row("build from a config, 578 tensors", found["optimzoo"], "mmengine", found["mmengine"], times=1 / 5)
    for bypass in (False, True):
        works = {f"{size:,}": _build(many(size), bypass) for size in SIZES}
        seconds = in_turns(works, rounds=3)
        smallest, largest = f"{SIZES[0]:,}", f"{SIZES[-1]:,}"
        note = ", bypass_duplicate" if bypass else ""
        for size in works:
            per_tensor = seconds[size] / int(size.replace(",", ""))
            times = 1.5 if size == largest else None  # linear, give or take the caches
            base = seconds[smallest] / SIZES[0]
            yield Row(f"build, per tensor of {size}{note}", per_tensor, f"of {smallest}", base, "us", times=times)


def _build(model: nn.Module, bypass: bool) -> Work:
    paramwise = dict(CONFIG["paramwise_cfg"], bypass_duplicate=bypass)
    return lambda: build_optim_wrapper(model, dict(CONFIG, paramwise_cfg=paramwise))
