"""Runs every benchmark and writes docs/benchmarks.md."""

from __future__ import annotations

import datetime
import logging
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch

from bench import build, checkpoint, flat, gpu, least, process, schedulers, step
from bench.measure import Row

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
VERSIONS = (
    "torch",
    "mmengine-lite",
    "accelerate",
    "bitsandbytes",
    "transformers",
    "lion-pytorch",
    "pytorch_optimizer",
    "heavyball",
)
HEADINGS = ("work", "optimzoo", "peer", "peer's", "ratio", "by the clock", "mark", "met")

TEXT = """\
# Benchmarks

Written by `make bench` on {date}: {machine}, Python {python}, {versions}.

Every row was measured in this one run, optimzoo and its peers in turns, and shows medians. The ratio is optimzoo's
value over the peer's: below 1, optimzoo takes less. A step by hand, with two groups and `fused=True`, is the least that
torch takes without buffers. Rows with a ratio by the clock beside the other are of CPU time on one thread, which does
not count what others do on the machine; all other times are by the clock.

{table}

{cuda}
"""

NO_CUDA = "skipped: there is no CUDA device for `python -m bench.gpu`"


def main() -> None:
    """Run the benchmarks."""
    logging.disable()  # mmengine's line per parameter would be timed as part of its build
    start = time.perf_counter()
    found: list[Row] = []
    cuda = torch.cuda.is_available()
    for module in (process, step, flat, least, schedulers, build, checkpoint, *([gpu] if cuda else [])):
        for row in module.rows():
            found.append(row)
            print("  ".join(row.cells()), flush=True)
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in found)]
    text = TEXT.format(
        date=datetime.date.today().isoformat(),
        machine=f"{_processor()}, {torch.get_num_threads()} threads",
        python=platform.python_version(),
        versions=", ".join(f"{name} {version(name)}" for name in VERSIONS),
        table="\n".join(f"| {' | '.join(line)} |" for line in lines),
        cuda=f"CUDA rows were measured on {torch.cuda.get_device_name()}." if cuda else f"CUDA rows were {NO_CUDA}.",
    )
    if not cuda:
        print(NO_CUDA)
    flat.draw(found)
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE} after {time.perf_counter() - start:.0f} s")
    sys.exit(any(row.mark is not None and not row.mark[1] for row in found))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
