"""What flat steps and Muon cannot go below: the kernels, products and passes alone: ``python -m bench.least``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bench.flat import ADAMW, CLIP, MODEL, NO_DECAY, built, filled
from bench.measure import Row, compared
from bench.models import transformer

RATE, DECAY, BETAS = 1e-4, 0.05, (0.95, 0.98)


def rows() -> Iterator[Row]:
    """Yield rows about one thread; the peer is what no step of the same numbers can do without."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for row in (*_adamw(), _lion(), _muon(), _clipping(), _iteration()):
            yield dataclasses.replace(row, work=f"{row.work}, beside what it cannot do without")
    finally:
        torch.set_num_threads(threads)


def _whole(size: int) -> nn.Parameter:
    """Return one parameter of as many elements, with a gradient."""
    whole = nn.Parameter(torch.randn(size))
    whole.grad = torch.randn_like(whole)
    return whole


def _size() -> int:
    return sum(parameter.numel() for parameter in transformer().parameters())


def _adamw() -> Iterator[Row]:
    flat = dict(paramwise_cfg=NO_DECAY, flatten=True)
    whole = _whole(_size())
    kernel = torch.optim.AdamW([whole], lr=RATE, weight_decay=DECAY, fused=True)
    step = built(filled(), ADAMW, **flat).step
    yield compared(f"AdamW step, {MODEL}", step, "its kernel over one buffer", kernel.step)

    def norm_and_kernel() -> None:
        kernel.grad_scale = torch.linalg.vector_norm(whole.grad).clamp(min=1.0)  # type: ignore[attr-defined,arg-type]
        kernel.step()
        del kernel.grad_scale  # type: ignore[attr-defined]

    step = built(filled(), ADAMW, **flat, **CLIP).step
    yield compared(f"AdamW clip and step, {MODEL}", step, "one norm and its kernel over one buffer", norm_and_kernel)


def _lion() -> Row:
    whole, mean = _whole(_size()), torch.zeros(_size())

    @torch.compile
    def update(weights: Tensor, grad: Tensor, mean: Tensor) -> None:
        sign = mean.lerp(grad, 1 - BETAS[0]).sign()
        weights.mul_(1 - RATE * DECAY).sub_(sign, alpha=RATE)
        mean.lerp_(grad, 1 - BETAS[1])

    step = built(filled(), dict(type="Lion", lr=RATE, weight_decay=DECAY), flatten=True, compile=True).step
    for _ in range(4):
        step()

    def alone() -> None:
        update(whole.data, whole.grad, mean)  # type: ignore[arg-type]

    return compared(f"Lion step, {MODEL} and compiled", step, "a compiled Lion over one buffer", alone)


def _muon() -> Row:
    model = nn.ParameterList(p for p in transformer().parameters() if p.ndim == 2)
    step = built(filled(lambda: model), dict(type="Muon", lr=0.02)).step
    shapes: dict[tuple[int, int], int] = {}
    for parameter in model:
        short, long = sorted(parameter.shape)
        shapes[short, long] = shapes.get((short, long), 0) + 1
    batches = [torch.randn(count, *shape).bfloat16() for shape, count in shapes.items()]

    def products() -> None:
        for batch in batches:
            for _ in range(5):
                gram = torch.bmm(batch, batch.mT)
                torch.bmm(gram, gram)
                torch.bmm(gram, batch)

    return compared(
        "Muon step, 192 matrices of width 64", step, "the products of its iterations alone", products, rounds=10
    )


def _clipping() -> Row:
    models = [nn.ParameterList(_whole(1_000_000) for _ in range(20)) for _ in range(2)]
    step = built(models[0], dict(type="AdamW", lr=RATE), **CLIP).step
    kernel = torch.optim.AdamW(models[1].parameters(), lr=RATE, fused=True)
    work, peer = "AdamW clip and step, 20 tensors of 1 M", "the step by hand, without a norm"
    return compared(work, step, peer, kernel.step, rounds=15, calls=1)


def _iteration() -> Row:
    x = torch.randn(2, 8, 64)
    models = [transformer() for _ in range(2)]
    wrapper = built(models[0], ADAMW, paramwise_cfg=NO_DECAY, flatten=True, **CLIP)

    def iteration() -> None:
        wrapper.update_params(models[0](x).square().mean())

    def backward() -> None:
        models[1](x).square().mean().backward()
        models[1].zero_grad()

    work = f"forward, backward, clip, step and zero_grad, {MODEL}"
    return compared(work, iteration, "forward, backward and zero_grad", backward, rounds=15, calls=1)


if __name__ == "__main__":
    for row in rows():
        print("  ".join(row.cells()), flush=True)
