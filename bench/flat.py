"""Steps over buffers beside those over single tensors, in CPU time of one thread: ``python -m bench.flat``."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.measure import Row, Work, in_turns
from bench.models import ResNet50, ViTB, decayed_apart, fill_grads, transformer
from optimzoo import build_optim_wrapper

NO_DECAY = dict(norm_decay_mult=0.0, bias_decay_mult=0.0, all_biases=False)
ADAMW = dict(type="AdamW", lr=1e-4, weight_decay=0.05)
OWN_LOOP = {
    "Lion": True,
    "NAdam": True,
    "RAdam": True,
    "pytorch_optimizer.AdaBelief": True,
    "pytorch_optimizer.ADOPT": True,
    "optimi.Adan": True,
    "madgrad.MADGRAD": False,  # which reads numbers of tensors
}
"""Optimizers, and whether they can be compiled."""
CLIP = dict(clip_grad=dict(max_norm=1.0))
MODEL = "transformer of 578 tensors, flat"
COMPILED = f"{MODEL} and compiled"
ADAMW_BYTES = 28
"""It reads a parameter, its gradient and two moments, and writes all but the gradient, of 4 bytes each."""
PICTURE = Path(__file__).parents[1] / "docs" / "speed.svg"


def rows() -> Iterator[Row]:
    """Yield the rows about flat steps and clipping."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        yield from _adamw()
        for name, compiled in OWN_LOOP.items():
            yield from _own_loop(name, compiled)
        yield _muon()
        yield from _large()
        yield from _iteration()
        yield _clipping()
        torch.set_num_threads(2)
        for row in (*_adamw(), *_own_loop("Lion", True), _muon(), _clipping()):
            yield dataclasses.replace(row, work=f"{row.work}, two threads")
    finally:
        torch.set_num_threads(threads)


def _measured(works: dict[str, Work], rounds: int = 25, calls: int = 2) -> dict[str, float]:
    """Measure works by the time of the processor; with two threads, which wait busily, by the clock."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    return in_turns(works, rounds=rounds, calls=calls, clock=clock)


def _built(model: nn.Module, optimizer: dict[str, Any], **settings: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is known of an optimizer
        return build_optim_wrapper(model, dict(optimizer=optimizer, **settings))


def _by_hand(model: nn.Module) -> torch.optim.Optimizer:
    decay, flat = decayed_apart(model)
    return torch.optim.AdamW(
        [{"params": decay}, {"params": flat, "weight_decay": 0.0}], lr=1e-4, weight_decay=0.05, fused=True
    )


def _filled() -> nn.Module:
    model = transformer()
    fill_grads(model)
    return model


def _adamw() -> Iterator[Row]:
    one = _filled()
    hand = _by_hand(one)

    def clipped() -> None:
        nn.utils.clip_grad_norm_(one.parameters(), 1.0)
        hand.step()

    flat = dict(paramwise_cfg=NO_DECAY, flatten=True)
    found = _measured({"step": _built(_filled(), ADAMW, **flat).step, "hand": hand.step})
    yield Row(f"AdamW step, {MODEL}", found["step"], "two groups by hand, fused", found["hand"], times=0.5)
    found = _measured({"clip": _built(_filled(), ADAMW, **flat, **CLIP).step, "hand": clipped})
    peer = "the same by hand, clip_grad_norm_"
    yield Row(f"AdamW clip and step, {MODEL}", found["clip"], peer, found["hand"], times=0.4)


def _own_loop(name: str, compiled: bool) -> Iterator[Row]:
    optimizer = dict(type=name, lr=1e-4)
    works = {"own": _built(_filled(), optimizer).step, "flat": _built(_filled(), optimizer, flatten=True).step}
    if compiled:
        works["compiled"] = _built(_filled(), optimizer, flatten=True, compile=True).step
        for _ in range(4):
            works["compiled"]()
    found = _measured(works, rounds=12)
    yield Row(f"{name} step, {MODEL}", found["flat"], "its own step", found["own"], times=1.02)
    if compiled:
        times = 0.12 if name == "Lion" else 0.35
        yield Row(f"{name} step, {COMPILED}", found["compiled"], "its own step", found["own"], times=times)


def _muon() -> Row:
    models = [nn.ParameterList(p for p in transformer().parameters() if p.ndim == 2) for _ in range(2)]
    for model in models:
        fill_grads(model)
    hand = torch.optim.Muon(models[0].parameters(), lr=0.02)
    works = {"hand": hand.step, "optimzoo": _built(models[1], dict(type="Muon", lr=0.02)).step}
    found = _measured(works, rounds=10, calls=1)
    return Row("Muon step, 192 matrices of width 64", found["optimzoo"], "torch", found["hand"], times=0.15)


def _large() -> Iterator[Row]:
    """Yield the steps of models that are mostly of large tensors, with gradients that are new each time."""
    for name, make in (("ViT-B", ViTB), ("ResNet-50", ResNet50)):
        for optimizer in ("AdamW", "Lion"):
            works: dict[str, Work] = {}
            for flatten in (False, True):
                model = make()
                wrapper = _built(model, dict(type=optimizer, lr=1e-4), flatten=flatten)
                grads = [torch.randn_like(parameter) for parameter in model.parameters()]
                works[str(flatten)] = _with_new_gradients(wrapper, [*model.parameters()], grads)
            found = _measured(works, rounds=12, calls=1)
            yield Row(f"{optimizer} step, {name}, flat", found["True"], "its own step", found["False"], times=1.02)


def _with_new_gradients(wrapper: Any, params: list[nn.Parameter], grads: list[torch.Tensor]) -> Work:
    def work() -> None:
        for parameter, grad in zip(params, grads):
            parameter.grad = grad
        wrapper.step()

    return work


def _iteration() -> Iterator[Row]:
    x = torch.randn(2, 8, 64)

    def forward(model: nn.Module) -> torch.Tensor:
        loss: torch.Tensor = model(x).square().mean()
        return loss

    yield _whole(f"forward, backward, clip, step and zero_grad, {MODEL}", transformer, forward, 0.9)
    for name, make in (("ViT-B", ViTB), ("ResNet-50", ResNet50)):
        yield _whole(f"backward of squares, clip, step and zero_grad, {name}, flat", make, _squares, 1.01)


def _squares(model: nn.Module) -> torch.Tensor:
    """Return a loss that gives every parameter a new gradient, and costs little beside the step."""
    return torch.stack([parameter.square().sum() for parameter in model.parameters()]).sum()


def _whole(work: str, make: Any, forward: Any, times: float) -> Row:
    works: dict[str, Work] = {}
    for flatten in (False, True):
        torch.manual_seed(0)
        model = make()
        wrapper = _built(model, ADAMW, paramwise_cfg=NO_DECAY, flatten=flatten, **CLIP)
        works[str(flatten)] = lambda model=model, wrapper=wrapper: wrapper.update_params(forward(model))
    found = _measured(works, rounds=15, calls=1)
    return Row(work, found["True"], "as it is", found["False"], times=times)


def _clipping() -> Row:
    works: dict[str, Work] = {}
    for name in ("hand", "optimzoo"):
        model = nn.ParameterList(nn.Parameter(torch.randn(1000, 1000)) for _ in range(20))
        fill_grads(model)
        if name == "optimzoo":
            works[name] = _built(model, dict(type="AdamW", lr=1e-4), **CLIP).step
        else:
            works[name] = _clip_and_step(model, torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True))
    found = _measured(works, rounds=15, calls=1)
    peer = "clip_grad_norm_ and the fused step"
    return Row("AdamW clip and step, 20 tensors of 1 M", found["optimzoo"], peer, found["hand"], times=0.72)


def _clip_and_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> Work:
    def work() -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return work


def draw(found: Iterable[Row]) -> None:
    """Draw the steps of the transformer: each optimizer's own and the flat one, and what the memory allows."""
    steps = [row for row in found if row.work.endswith(f" step, {MODEL}")]
    compiled = {row.work.partition(" ")[0]: row for row in found if row.work.endswith(f" step, {COMPILED}")}
    source = torch.empty(2**25)
    target = torch.empty_like(source)
    seconds = _measured({"copy": lambda: target.copy_(source)}, rounds=5)["copy"]
    size = sum(parameter.numel() for parameter in transformer().parameters())
    limit = ADAMW_BYTES * size / (2 * source.nbytes / seconds)
    names = [row.work.partition(" ")[0] for row in steps]
    bars = {
        "own step (of AdamW the fused one)": [row.theirs for row in steps],
        "flat": [row.ours for row in steps],
        "flat and compiled": [compiled[name].ours if name in compiled else math.nan for name in names],
    }
    labels = [f"{name}\nwith clipping" if " clip " in row.work else name for name, row in zip(names, steps)]
    _draw(labels, bars, limit)


def _draw(names: list[str], bars: dict[str, list[float]], limit: float) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4.2), layout="constrained")
    for index, (label, values) in enumerate(bars.items()):
        places = [n + 0.28 * index for n in range(len(names))]
        axes.bar(places, [1e3 * value for value in values], width=0.28, label=label)
    axes.axhline(1e3 * limit, color="black", linestyle="--", label="AdamW's memory traffic at the speed of a copy")
    middle = 0.14 * (len(bars) - 1)
    lines = [name.replace(".", "\n").replace("_", "_\n") for name in names]
    axes.set_xticks([n + middle for n in range(len(names))], lines, fontsize=8)
    axes.set_ylabel("CPU time of a step, ms")
    figure.suptitle("578 tensors, 2.4 million parameters, one thread")
    figure.legend(loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    rows_found = []
    for row in rows():
        rows_found.append(row)
        print("  ".join(row.cells()), flush=True)
    draw(rows_found)
