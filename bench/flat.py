"""Steps over buffers beside those over single tensors: ``python -m bench.flat``."""

from __future__ import annotations

import dataclasses
import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import heavyball
import mmengine.optim
import torch
from accelerate import Accelerator
from torch import nn

from bench.measure import Row, Work, compared, in_turns
from bench.models import ResNet50, ViTB, decayed_apart, fill_grads, small_tensors, transformer
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
        yield from _peers()
        for name, compiled in OWN_LOOP.items():
            yield from _own_loop(name, compiled, times=0.12 if name == "Lion" else 0.35)
        yield from _many()
        yield _muon()
        yield from _large()
        yield from _iteration()
        yield _clipping()
        torch.set_num_threads(2)
        for row in (*_adamw(), *_own_loop("Lion", True, times=0.12), *_many(), _muon(), _clipping()):
            yield dataclasses.replace(row, work=f"{row.work}, two threads")
    finally:
        torch.set_num_threads(threads)


def _compared(work: str, ours: Work, peer: str, theirs: Work, times: float, **how: int) -> Row:
    return compared(work, ours, peer, theirs, times, cpu=torch.get_num_threads() == 1, **how)


def built(model: nn.Module, optimizer: dict[str, Any], **settings: Any) -> Any:
    """Return the wrapper, built without a word about what is known of the optimizer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build_optim_wrapper(model, dict(optimizer=optimizer, **settings))


def _by_hand(model: nn.Module) -> torch.optim.Optimizer:
    decay, flat = decayed_apart(model)
    return torch.optim.AdamW(
        [{"params": decay}, {"params": flat, "weight_decay": 0.0}], lr=1e-4, weight_decay=0.05, fused=True
    )


def filled(make: Callable[[], nn.Module] = transformer) -> nn.Module:
    """Return a model with gradients."""
    model = make()
    fill_grads(model)
    return model


def _adamw(
    make: Callable[[], nn.Module] = transformer, name: str = MODEL, times: tuple[float, float] = (0.5, 0.4)
) -> Iterator[Row]:
    model = filled(make)
    hand = _by_hand(model)
    flat = dict(paramwise_cfg=NO_DECAY, flatten=True)
    step = built(filled(make), ADAMW, **flat).step
    yield _compared(f"AdamW step, {name}", step, "two groups by hand, fused", hand.step, times[0])
    step = built(filled(make), ADAMW, **flat, **CLIP).step
    peer = "the same by hand, clip_grad_norm_"
    yield _compared(f"AdamW clip and step, {name}", step, peer, _clip_and_step(model, hand), times[1])


def _peers() -> Iterator[Row]:
    """Yield what other packages take to clip and step, as each does it."""
    work = f"AdamW clip and step, {MODEL}"
    flat = built(filled(), ADAMW, paramwise_cfg=NO_DECAY, flatten=True, **CLIP).step
    cfg = dict(optimizer=dict(ADAMW), paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0), **CLIP)
    wrapper = mmengine.optim.build_optim_wrapper(filled(), cfg)
    yield _compared(work, flat, "mmengine", wrapper.step, 1, rounds=8)
    accelerator, model = Accelerator(cpu=True), filled()
    prepared = accelerator.prepare_optimizer(_by_hand(model))

    def accelerated() -> None:
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        prepared.step()

    yield _compared(work, flat, "accelerate, two groups by hand, fused", accelerated, 1)
    small = filled(partial(transformer, layers=8))  # heavyball compiles its step for minutes on more
    compiled = heavyball.AdamW(small.parameters(), lr=1e-4, weight_decay=0.05)

    def heavyballs() -> None:
        for parameter, grad in zip(params, grads):  # which its step drops
            parameter.grad = grad
        compiled.step()

    params = [*small.parameters()]
    grads = [parameter.grad for parameter in params]
    flat = built(filled(partial(transformer, layers=8)), ADAMW, flatten=True).step
    yield _compared("AdamW step, transformer of 98 tensors, flat", flat, "heavyball, compiled", heavyballs, 1)


def _own_loop(
    name: str,
    compiled: bool,
    make: Callable[[], nn.Module] = transformer,
    model: str = MODEL,
    times: float = 0.35,
) -> Iterator[Row]:
    optimizer = dict(type=name, lr=1e-4)
    own = built(filled(make), optimizer).step
    flat = built(filled(make), optimizer, flatten=True).step
    yield _compared(f"{name} step, {model}", flat, "its own step", own, 1.02, rounds=12)
    if compiled:
        step = built(filled(make), optimizer, flatten=True, compile=True).step
        for _ in range(4):
            step()
        yield _compared(f"{name} step, {model} and compiled", step, "its own step", own, times, rounds=12)


def _many() -> Iterator[Row]:
    """Yield the steps of 2,000 tensors of 20 million parameters."""
    name = "2,000 tensors of 96x104, flat"
    yield from _adamw(small_tensors, name, (1.02, 1.02))
    yield from _own_loop("Lion", True, small_tensors, name, 1.02)


def _muon() -> Row:
    models = [nn.ParameterList(p for p in transformer().parameters() if p.ndim == 2) for _ in range(2)]
    for model in models:
        fill_grads(model)
    hand = torch.optim.Muon(models[0].parameters(), lr=0.02)
    step = built(models[1], dict(type="Muon", lr=0.02)).step
    return _compared("Muon step, 192 matrices of width 64", step, "torch", hand.step, 0.15, rounds=10, calls=1)


def _large() -> Iterator[Row]:
    """Yield the steps of models that are mostly of large tensors, with gradients that are new each time."""
    for name, make in (("ViT-B", ViTB), ("ResNet-50", ResNet50)):
        for optimizer in ("AdamW", "Lion"):
            works: list[Work] = []
            for flatten in (True, False):
                model = make()
                wrapper = built(model, dict(type=optimizer, lr=1e-4), flatten=flatten)
                grads = [torch.randn_like(parameter) for parameter in model.parameters()]
                works.append(_with_new_gradients(wrapper, [*model.parameters()], grads))
            work = f"{optimizer} step, {name}, flat"
            yield _compared(work, works[0], "its own step", works[1], 1.02, rounds=12, calls=1)


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
    works: list[Work] = []
    for flatten in (True, False):
        torch.manual_seed(0)
        model = make()
        wrapper = built(model, ADAMW, paramwise_cfg=NO_DECAY, flatten=flatten, **CLIP)
        works.append(lambda model=model, wrapper=wrapper: wrapper.update_params(forward(model)))
    return _compared(work, works[0], "as it is", works[1], times, rounds=15, calls=1)


def _clipping() -> Row:
    models = [nn.ParameterList(nn.Parameter(torch.randn(1000, 1000)) for _ in range(20)) for _ in range(2)]
    for model in models:
        fill_grads(model)
    step = built(models[0], dict(type="AdamW", lr=1e-4), **CLIP).step
    hand = _clip_and_step(models[1], torch.optim.AdamW(models[1].parameters(), lr=1e-4, fused=True))
    peer = "clip_grad_norm_ and the fused step"
    return _compared("AdamW clip and step, 20 tensors of 1 M", step, peer, hand, 0.72, rounds=15, calls=1)


def _clip_and_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> Work:
    def work() -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return work


def draw(found: Iterable[Row]) -> None:
    """Draw the steps of the transformer: each optimizer's own and the flat one, and what the memory allows."""
    steps = [*{row.work: row for row in reversed([*found]) if row.work.endswith(f" step, {MODEL}")}.values()][::-1]
    compiled = {row.work.partition(" ")[0]: row for row in found if row.work.endswith(f" step, {COMPILED}")}
    source = torch.empty(2**25)
    target = torch.empty_like(source)
    seconds = in_turns({"copy": lambda: target.copy_(source)})["copy"]
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
    logging.disable()  # mmengine's line per parameter
    rows_found = []
    for row in rows():
        rows_found.append(row)
        print("  ".join(row.cells()), flush=True)
    draw(rows_found)
