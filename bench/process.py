"""What takes a process of its own: imports, the command line, the peak of the memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
import textwrap
from collections.abc import Iterator

from bench.measure import Row, in_turns

TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"

MEMORY = """
import resource, torch
from bench.models import ViTB, decayed_apart
model = ViTB()
def forward():
    return sum(p.square().sum() for p in model.parameters())
"""

WRAPPED = """
from optimzoo import build_optim_wrapper
wrapper = build_optim_wrapper(model, dict({}
    optimizer=dict(type="AdamW", lr=1e-4), paramwise_cfg=dict(flat_decay_mult=0.0), clip_grad=dict(max_norm=1.0)))
for _ in range(3):
    wrapper.update_params(forward())
"""

STEPS = {
    "raw loop": """
from torch import nn
decay, flat = decayed_apart(model)
optimizer = torch.optim.AdamW([{"params": decay}, {"params": flat, "weight_decay": 0.0}], lr=1e-4, fused=True)
for _ in range(3):
    forward().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
""",
    "optimzoo": WRAPPED.format(""),
    "flat": WRAPPED.format("flatten=True, "),
}


def rows() -> Iterator[Row]:
    """Yield the rows about processes."""
    imports = {name: _median_import(name) for name in ("optimzoo", "torch", "mmengine.optim")}
    yield Row("import, in a fresh process", imports["optimzoo"], "torch", imports["torch"], value=0.060)
    yield Row("import, in a fresh process", imports["optimzoo"], "mmengine.optim", imports["mmengine.optim"])
    found = in_turns(
        {
            "list": lambda: subprocess.run([sys.executable, "-m", "optimzoo", "list"], capture_output=True, check=True),
            "torch": lambda: _run("import torch"),
        },
        rounds=5,
    )
    yield Row("`optimzoo list`, whole process", found["list"], "`python -c 'import torch'`", found["torch"], value=0.5)
    runs = [{name: float(_run(f"{MEMORY}{steps}\n{PEAK}")) for name, steps in STEPS.items()} for _ in range(3)]
    peaks = {name: statistics.median(run[name] for run in runs) for name in STEPS}  # one run differs by some percent
    yield Row("peak memory, steps of ViT-B", peaks["optimzoo"], "raw loop", peaks["raw loop"], "MB", times=1.01)
    yield Row("peak memory, flat steps of ViT-B", peaks["flat"], "not flat", peaks["optimzoo"], "MB", times=1.02)
    tensors = {name: float(_run(ALLOCATED.format(textwrap.indent(MEMORY + STEPS[name], "    ")))) for name in STEPS}
    work = "tensors at their peak"  # without what the allocator of memory leaves unused
    yield Row(f"{work}, steps of ViT-B", tensors["optimzoo"], "raw loop", tensors["raw loop"], "MB", times=1.01)
    yield Row(f"{work}, flat steps of ViT-B", tensors["flat"], "not flat", tensors["optimzoo"], "MB", times=1.02)


ALLOCATED = """
import itertools, torch
with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiled:
{}
events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
events.sort(key=lambda event: event.start_ns())
print(max(itertools.accumulate(event.nbytes() for event in events)))
"""
PEAK = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"


def _median_import(module: str) -> float:
    return statistics.median(float(_run(TIMED.format(module))) for _ in range(5))


def _run(program: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[-2:][0]
