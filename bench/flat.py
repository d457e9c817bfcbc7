"""Steps over buffers beside those over single tensors, in CPU time of one thread: ``python -m bench.flat``."""

from __future__ import annotations

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
OWN_LOOP = ("Lion", "NAdam", "pytorch_optimizer.AdaBelief", "pytorch_optimizer.ADOPT", "optimi.Adan", "madgrad.MADGRAD")
CLIP = dict(clip_grad=dict(max_norm=1.0))
MODEL = "transformer of 578 tensors, flat"
ADAMW_BYTES = 28
"""It reads a parameter, its gradient and two moments, and writes all but the gradient, of 4 bytes each."""
PICTURE = Path(__file__).parents[1] / "docs" / "speed.svg"


def rows() -> Iterator[Row]:
    """Yield the rows about flat steps and clipping."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from _transformer()
        yield from _large()
        yield from _iteration()
        yield _clipping()
    finally:
        torch.set_num_threads(threads)


def _measured(works: dict[str, Work], rounds: int = 25, calls: int = 2) -> dict[str, float]:
    return in_turns(works, rounds=rounds, calls=calls, clock=time.process_time)


def _built(model: nn.Module, optimizer: dict[str, Any], **settings: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is known of an optimizer
        return build_optim_wrapper(model, dict(optimizer=optimizer, **settings))


def _by_hand(model: nn.Module) -> torch.optim.Optimizer:
    decay, flat = decayed_apart(model)
    return torch.optim.AdamW(
        [{"params": decay}, {"params": flat, "weight_decay": 0.0}], lr=1e-4, weight_decay=0.05, fused=True
    )


def _transformer() -> Iterator[Row]:
    one, two = transformer(), transformer()
    fill_grads(one)
    fill_grads(two)
    hand = _by_hand(one)

    def clipped() -> None:
        nn.utils.clip_grad_norm_(one.parameters(), 1.0)
        hand.step()

    works: dict[str, Work] = {
        "step": _built(two, ADAMW, paramwise_cfg=NO_DECAY, flatten=True).step,
        "hand": hand.step,
        "hand, clipped": clipped,
    }
    found = _measured(works)
    other = transformer()
    fill_grads(other)
    wrapper = _built(other, ADAMW, paramwise_cfg=NO_DECAY, flatten=True, **CLIP)
    found |= _measured({"clip": wrapper.step, "hand, clipped": clipped})
    yield Row(f"AdamW step, {MODEL}", found["step"], "two groups by hand, fused", found["hand"], times=0.5)
    peer = "the same by hand, clip_grad_norm_"
    yield Row(f"AdamW clip and step, {MODEL}", found["clip"], peer, found["hand, clipped"], times=0.4)
    for name in OWN_LOOP:
        optimizer, models = dict(type=name, lr=1e-4), [transformer(), transformer()]
        for model in models:
            fill_grads(model)
        own, flat = (_built(model, optimizer, flatten=bool(n)).step for n, model in enumerate(models))
        found = _measured({"own": own, "flat": flat}, rounds=10)
        yield Row(f"{name} step, {MODEL}", found["flat"], "its own step", found["own"], times=0.35)


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
    works: dict[str, Work] = {}
    x = torch.randn(2, 8, 64)
    for flatten in (False, True):
        torch.manual_seed(0)
        model = transformer()
        wrapper = _built(model, ADAMW, paramwise_cfg=NO_DECAY, flatten=flatten, **CLIP)
        works[str(flatten)] = lambda model=model, wrapper=wrapper: wrapper.update_params(model(x).square().mean())
    found = _measured(works, calls=1)
    work = f"forward, backward, clip, step and zero_grad, {MODEL}"
    yield Row(work, found["True"], "as it is", found["False"], times=0.9)


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
    from matplotlib import pyplot

    steps = [row for row in found if row.work.endswith(f" step, {MODEL}")]
    source = torch.empty(2**25)
    target = torch.empty_like(source)
    seconds = _measured({"copy": lambda: target.copy_(source)}, rounds=5)["copy"]
    size = sum(parameter.numel() for parameter in transformer().parameters())
    limit = ADAMW_BYTES * size / (2 * source.nbytes / seconds)
    figure, axes = pyplot.subplots(figsize=(8, 4))
    for index, (label, values) in enumerate(
        (("own step", [r.theirs for r in steps]), ("flat", [r.ours for r in steps]))
    ):
        axes.bar([n + 0.4 * index for n in range(len(steps))], [1e3 * v for v in values], width=0.4, label=label)
    axes.axhline(1e3 * limit, color="black", linestyle="--", label="AdamW's memory traffic at the speed of a copy")
    names = [row.work.partition(" ")[0].replace(".", "\n") for row in steps]
    axes.set_xticks([n + 0.2 for n in range(len(steps))], names, fontsize=8)
    axes.set_ylabel("CPU time of a step, ms")
    axes.set_title("578 tensors, 2.4 million parameters, one thread")
    axes.legend()
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    rows_found = []
    for row in rows():
        rows_found.append(row)
        print("  ".join(row.cells()), flush=True)
    draw(rows_found)
