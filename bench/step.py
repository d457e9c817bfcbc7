"""The optimizer's step, and the whole update around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mmengine.optim
import torch
from accelerate import Accelerator
from torch import nn

from bench.measure import Row, Work, rebuilt
from bench.models import ResNet50, ViTB, decayed_apart, fill_grads, transformer
from optimzoo import build_optim_wrapper

NO_DECAY = dict(norm_decay_mult=0.0, bias_decay_mult=0.0, all_biases=False)
ADAMW = dict(type="AdamW", lr=1e-4, weight_decay=0.05)
SGD = dict(type="SGD", lr=1e-4, momentum=0.9, weight_decay=1e-4)


def rows() -> Iterator[Row]:
    """Yield the rows about the step."""
    yield from _transformer()
    for name, model in (("ResNet-50", ResNet50()), ("ViT-B", ViTB())):
        fill_grads(model)
        for optimizer in (SGD, ADAMW):
            yield _against_hand(f"{optimizer['type']} step, {name}, no decay for norms and biases", model, optimizer)
    yield _layer_decay(model)
    yield from _update()


def _transformer() -> Iterator[Row]:
    model = transformer()
    fill_grads(model)
    config = dict(optimizer=ADAMW, paramwise_cfg=NO_DECAY)
    found = rebuilt(
        {
            "optimzoo": lambda: build_optim_wrapper(model, config).step,
            "hand": lambda: _by_hand(model, ADAMW),
            "mmengine": lambda: mmengine.optim.build_optim_wrapper(model, dict(config)).step,
        },
        calls=10,
        builds=12,
    )
    work = "AdamW step, transformer of 578 tensors, no decay for norms and biases"
    yield Row(work, found["optimzoo"], "two groups by hand, fused", found["hand"], times=1.05)
    peer = f"mmengine, of which by hand takes {found['hand'] / found['mmengine']:.3f}"
    yield Row(work, found["optimzoo"], peer, found["mmengine"], times=1 / 5)


def _by_hand(model: nn.Module, config: dict[str, object]) -> Work:
    decay, flat = decayed_apart(model)
    arguments = {key: value for key, value in config.items() if key != "type"}
    groups = [{"params": decay}, {"params": flat, "weight_decay": 0.0}]
    step: Work = getattr(torch.optim, str(config["type"]))(groups, **arguments, fused=True).step
    return step


def _against_hand(work: str, model: nn.Module, optimizer: dict[str, object]) -> Row:
    config = dict(optimizer=optimizer, paramwise_cfg=dict(flat_decay_mult=0.0))
    makers = {
        "optimzoo": lambda: build_optim_wrapper(model, config).step,
        "hand": lambda: _by_hand(model, optimizer),
    }
    found = rebuilt(makers, calls=2)
    return Row(work, found["optimzoo"], "two groups by hand, fused", found["hand"], times=1.05)


def _layer_decay(model: ViTB) -> Row:
    rate, top = 0.75, len(model.blocks) + 1
    depth = {id(p): index for index, block in enumerate(model.blocks, 1) for p in block.parameters()}
    depth |= {id(p): 0 for p in (model.cls_token, model.pos_embed, *model.patch_embed.parameters())}
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        groups.setdefault((depth.get(id(parameter), top), parameter.ndim == 1), []).append(parameter)
    settings = [
        {"params": params, "lr": 1e-4 * rate ** (top - level), "weight_decay": 0.0 if flat else 0.05}
        for (level, flat), params in groups.items()
    ]
    config = dict(
        optimizer=ADAMW,
        constructor="LayerDecayOptimWrapperConstructor",
        paramwise_cfg=dict(layer_decay_rate=rate, flat_decay_mult=0.0),
    )
    makers = {
        "optimzoo": lambda: build_optim_wrapper(model, config).step,
        "hand": lambda: torch.optim.AdamW(map(dict, settings), fused=True).step,
    }
    found = rebuilt(makers, calls=2)
    work = "AdamW step, ViT-B, layer decay"
    return Row(work, found["optimzoo"], f"{len(groups)} groups by hand, fused", found["hand"], times=1.05)


def _update() -> Iterator[Row]:
    """Yield what ``update_params`` with clipping adds to the raw loop, on a model of two tensors."""
    x = torch.randn(4, 8)
    config = dict(optimizer=dict(type="SGD", lr=1e-6), clip_grad=dict(max_norm=1.0))
    accelerator = Accelerator(cpu=True)

    def built(build: Callable[[nn.Module, dict[str, object]], Any]) -> Work:
        model = nn.Linear(8, 1)
        wrapper = build(model, dict(config))
        return lambda: wrapper.update_params(model(x).sum())

    def by_hand() -> Work:
        model = nn.Linear(8, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, fused=True)

        def update() -> None:
            model(x).sum().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

        return update

    def accelerated() -> Work:
        model = nn.Linear(8, 1)
        optimizer = accelerator.prepare_optimizer(torch.optim.SGD(model.parameters(), lr=1e-6, fused=True))

        def update() -> None:
            accelerator.backward(model(x).sum())
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

        return update

    makers = {
        "raw": by_hand,
        "optimzoo": lambda: built(build_optim_wrapper),
        "mmengine": lambda: built(mmengine.optim.build_optim_wrapper),
        "accelerate": accelerated,
    }
    found = rebuilt(makers, rounds=40, calls=50)
    work = "forward, update with clipping, two tensors"
    yield Row(work, found["optimzoo"], "raw loop", found["raw"], "us", plus=5e-6)
    for peer in ("mmengine", "accelerate"):
        yield Row(work, found["optimzoo"], peer, found[peer], "us")
