"""The settings of the process; as a program: import the module of argv[1], and write what that changes to argv[2]."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import warnings

import torch


def look() -> dict[str, object]:
    """Return the settings of the process that a library should leave alone."""
    root = logging.getLogger()
    return {
        "the root logger": [root.level, len(root.handlers)],
        "the filters of warnings": len(warnings.filters),
        "the environment": sorted(os.environ.items()),
        "the default dtype": str(torch.get_default_dtype()),
        "the number of threads": torch.get_num_threads(),
        "the seed": torch.initial_seed(),
        "autograd": torch.is_grad_enabled(),
        "torch's safe globals": len(torch.serialization.get_safe_globals()),
        "determinism": torch.are_deterministic_algorithms_enabled(),
    }


if __name__ == "__main__":
    import torch._dynamo  # these change some of it when a library asks for them, as many do
    import torch.distributed.tensor

    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = look()
        __import__(sys.argv[1])
        changed = [key for key, value in look().items() if value != before[key]]
    seen = {"changed": changed, "warns": bool(caught), "seconds": time.perf_counter() - start}
    with open(sys.argv[2], "w") as file:
        json.dump(seen, file)
