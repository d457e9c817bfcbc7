"""What a step costs, counted instead of timed."""

from collections import Counter

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from optimzoo import build_optim_wrapper


def operators(work) -> Counter:
    work()
    with profile(activities=[ProfilerActivity.CPU]) as record:
        work()
    return Counter({event.key: event.count for event in record.key_averages() if event.key.startswith("aten::")})


def make() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 1)), torch.randn(8, 4)


def test_an_update_calls_no_operators_beyond_a_loop_by_hand_and_clips_without_a_pass():
    model, x = make()
    config = dict(
        optimizer=dict(type="AdamW", lr=1e-3),
        paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
        clip_grad=dict(max_norm=1.0),
    )
    wrapper = build_optim_wrapper(model, config)
    other, y = make()
    flat = [p for p in other.parameters() if p.ndim == 1]
    groups = [{"params": [p for p in other.parameters() if p.ndim > 1]}, {"params": flat, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)

    def by_hand() -> None:
        other(y).square().mean().backward()
        nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    ours, hand = operators(lambda: wrapper.update_params(model(x).square().mean())), operators(by_hand)
    assert set(ours - hand) <= {"aten::reciprocal", "aten::detach", "aten::stack"}
    assert (ours["aten::_foreach_mul_"], hand["aten::_foreach_mul_"]) == (0, 1)
    assert ours.total() < hand.total()
