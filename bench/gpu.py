"""The step on a CUDA device, beside what its memory allows: ``python -m bench.gpu``."""

from __future__ import annotations

import statistics
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from bench.measure import Row
from optimzoo import build_optim_wrapper

BYTES_PER_PARAMETER = 28
"""AdamW in fp32 reads the parameter, the gradient and two moments, and writes all but the gradient."""

SIZES = (0.1e9, 1e9, 3e9)


def rows() -> Iterator[Row]:
    """Yield the rows about the device."""
    bandwidth = _copy_bandwidth()
    for size in SIZES:
        model = _model(int(size))
        if model is None:
            continue
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="AdamW", lr=1e-4)))
        seconds = _median_seconds(wrapper.optimizer.step)
        limit = BYTES_PER_PARAMETER * sum(p.numel() for p in model.parameters()) / bandwidth
        yield Row(f"AdamW step, {size / 1e9:g} billion parameters", seconds, "copy bandwidth", limit)
        del wrapper, model
        torch.cuda.empty_cache()
    yield _fp16()
    yield from _state_memory()


def synchronisations() -> list[str]:
    """Return what made the host wait for the device in an update with clipping."""
    model, x = nn.Linear(256, 256, device="cuda"), torch.randn(8, 256, device="cuda")
    config = dict(optimizer=dict(type="AdamW", lr=1e-4), clip_grad=dict(max_norm=1.0))
    wrapper = build_optim_wrapper(model, config)
    wrapper.update_params(model(x).sum())
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            wrapper.update_params(model(x).sum())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return [str(warning.message) for warning in caught if "synchroniz" in str(warning.message)]


def _model(size: int) -> nn.Module | None:
    side = 5_000
    if 4 * size * 4 > 0.9 * torch.cuda.mem_get_info()[0]:
        print(f"skipped: {size / 1e9:g} billion parameters do not fit")
        return None
    model = nn.ParameterList(torch.zeros(side, side, device="cuda") for _ in range(size // side**2))
    for parameter in model:
        parameter.grad = torch.ones_like(parameter)
    return model


def _median_seconds(work: Callable[[], Any], rounds: int = 20) -> float:
    work()
    seconds = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3)
    return statistics.median(seconds)


def _copy_bandwidth() -> float:
    """Return bytes per second, read and written, of a copy on the device."""
    source = torch.empty(2**28, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() * source.element_size() / _median_seconds(lambda: target.copy_(source))


def _fp16() -> Row:
    def make() -> tuple[nn.Module, torch.Tensor]:
        torch.manual_seed(0)
        layers = [layer for _ in range(8) for layer in (nn.Linear(1024, 1024), nn.ReLU())]
        return nn.Sequential(*layers).cuda(), torch.randn(256, 1024, device="cuda")

    model, x = make()
    config = dict(type="AmpOptimWrapper", dtype="float16", optimizer=dict(type="AdamW", lr=1e-4))
    wrapper = build_optim_wrapper(model, config)
    other, y = make()
    optimizer = torch.optim.AdamW(other.parameters(), lr=1e-4, fused=True)
    scaler = torch.amp.GradScaler("cuda")

    def ours() -> None:
        with wrapper.optim_context(model):
            loss = model(x).square().mean()
        wrapper.update_params(loss)

    def by_hand() -> None:
        with torch.autocast("cuda", torch.float16):
            loss = other(y).square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return Row("fp16 iteration", _median_seconds(ours), "by hand", _median_seconds(by_hand), times=1.05)


def _state_memory() -> Iterator[Row]:
    peaks = {}
    for name in ("AdamW", "AdamW8bit"):
        model = _model(int(0.1e9))
        if model is None:
            return
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type=name, lr=1e-4)))
        before = torch.cuda.memory_allocated()
        wrapper.step()
        peaks[name] = float(torch.cuda.memory_allocated() - before)
    yield Row("AdamW8bit state, 0.1 billion parameters", peaks["AdamW8bit"], "AdamW", peaks["AdamW"], "MB")


def main() -> None:
    """Print the rows, or why there are none."""
    if not torch.cuda.is_available():
        print("skipped: there is no CUDA device")
        return
    print(f"{torch.cuda.get_device_name()}, torch {version('torch')}, CUDA {torch.version.cuda}")
    for row in rows():
        print("  ".join(row.cells()), flush=True)
    waits = synchronisations()
    print(f"host synchronisations in update_params with clipping: {len(waits)} {waits}")
    sys.exit(bool(waits))


if __name__ == "__main__":
    main()
