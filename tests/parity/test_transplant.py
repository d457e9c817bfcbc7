"""The state of a wrapper of mmengine's goes on in another optimizer of ours."""

import torch
from mmengine.optim import build_optim_wrapper as mm_build_optim_wrapper
from torch import nn

from optimzoo import build_optim_wrapper
from optimzoo.transplant import convert_state


def test_what_adamw_kept_goes_on_in_muon_and_adamw():
    model = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 9))
    adamw = dict(type="AdamW", lr=1e-2, weight_decay=0.1)
    theirs = mm_build_optim_wrapper(model, dict(optimizer=adamw, paramwise_cfg=dict(norm_decay_mult=0.0)))
    for _ in range(3):
        theirs.update_params(model(torch.arange(9)).square().mean())
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="Muon", lr=0.02, rest=adamw)))
    state, report = convert_state(wrapper, model, theirs.state_dict())
    assert [each.outcome for each in report] == ["converted", *["carried"] * 6]
    wrapper.load_state_dict(state)
    for parameter in model.parameters():
        kept = wrapper.optimizer.state[parameter]
        mean = kept["momentum_buffer" if parameter is model[1].weight else "exp_avg"]
        assert torch.equal(mean, theirs.optimizer.state[parameter]["exp_avg"])
