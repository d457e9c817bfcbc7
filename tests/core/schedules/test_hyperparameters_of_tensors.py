"""A rate that is a tensor, which torch has all groups share: each follows its own schedules."""

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, build_param_scheduler
from optimzoo.errors import ConfigError
from optimzoo.schedules import ExponentialLR, LinearParamScheduler

HALVES = dict(type="ExponentialLR", gamma=0.5, by="update")


def values(lr, schedules, groups, joins=()):
    model = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))
    wrapper = OptimWrapper(
        torch.optim.SGD([{"params": [*model[i].parameters()], "name": str(i)} for i in range(groups)], lr=lr)
    )
    schedule = build_param_scheduler(wrapper, schedules)
    seen = []
    for update in range(6):
        for _ in range(joins.count(update)):
            joined = len(wrapper.optimizer.param_groups)
            wrapper.optimizer.add_param_group({"params": [*model[joined].parameters()], "name": str(joined)})
        layers = model[: len(wrapper.optimizer.param_groups)]
        schedule.step(wrapper.update_params(sum(layer(torch.ones(1, 2)).sum() for layer in layers)))
        seen.append(wrapper.get_lr()["lr"])
    return seen


@pytest.mark.parametrize(
    ("schedules", "groups", "joins"),
    [
        ([HALVES], 2, ()),
        ([HALVES], 1, (2, 4)),
        ([HALVES], 2, (3, 3)),
        ([dict(type="LinearLR", start_factor=0.1, by="update", end=5, groups="1"), dict(**HALVES, groups="0")], 2, ()),
    ],
)
def test_the_values_are_those_of_a_number(schedules, groups, joins):
    seen, expected = (values(lr, schedules, groups, joins) for lr in (torch.tensor(0.1), 0.1))
    assert seen == [pytest.approx(each) for each in expected]


def test_a_single_group_keeps_the_tensor_that_it_was_given():
    lr = torch.tensor(0.1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    ExponentialLR(optimizer, 0.5)
    assert optimizer.param_groups[0]["lr"] is lr


def test_betas_that_are_tensors_are_parted_too():
    model = nn.Linear(2, 1)
    groups = [{"params": [model.weight], "name": "w"}, {"params": [model.bias], "name": "b"}]
    optimizer = torch.optim.Adam(groups, lr=torch.tensor(0.1), betas=(torch.tensor(0.9), torch.tensor(0.99)))
    LinearParamScheduler(optimizer, "betas[0]", start_factor=0.5, end=5, groups="b")
    seen = [float(group["betas"][0]) for group in (*optimizer.param_groups, optimizer.defaults)]
    assert seen == pytest.approx([0.9, 0.45, 0.9])


@pytest.mark.parametrize("beta", [0.9, torch.tensor(0.9)])
def test_an_element_that_is_not_there_is_named(beta):
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=torch.tensor(0.1), betas=(beta, beta))
    with pytest.raises(ConfigError, match=r"param_name: 'betas' is .* and has no element 5"):
        LinearParamScheduler(optimizer, "betas[5]", end=5)
