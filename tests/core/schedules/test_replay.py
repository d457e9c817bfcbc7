"""Going on with the config's schedules as if they had run from the start, wherever in an epoch the run was stopped."""

import copy

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, build_param_scheduler

CHAIN = [
    dict(type="StepLR", step_size=2, gamma=0.5),
    dict(type="CosineRestartLR", periods=[5, 30], eta_min=0.01, by_epoch=False),
    dict(type="PolyLR", end=4, eta_min=0.01),
]


def run(epoch_length, steps, parts=None, begin=0):
    if parts is None:
        wrapper = OptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0))
        parts = wrapper, build_param_scheduler(wrapper, CHAIN)
    wrapper, schedule = parts
    found = []
    for step in range(begin, steps):
        found.append(wrapper.get_lr()["lr"])
        outcome = wrapper.update_params(wrapper.optimizer.param_groups[0]["params"][0].sum())
        schedule.step(outcome, epoch_end=(step + 1) % epoch_length == 0)
    return parts, found


@pytest.mark.parametrize("epoch_length", [4, 7])
@pytest.mark.parametrize("stop", [0, 3, 4, 6, 9, 14, 23])
def test_epochs_end_in_a_replay_where_they_ended_in_the_run(epoch_length, stop):
    _, expected = run(epoch_length, 30)
    first, _ = run(epoch_length, stop)
    state = copy.deepcopy([part.state_dict() for part in first])
    second, _ = run(epoch_length, 0)
    second[0].load_state_dict(state[0])
    second[1].load_state_dict(state[1], on_change="config")
    _, found = run(epoch_length, 30, second, stop)
    assert found == [pytest.approx(values) for values in expected[stop:]]
