"""What is handed to a wrapper by itself, without a config, is read as a config is."""

import collections
import math
import sys

import numpy as np
import pytest
import torch
from torch import nn

from optimzoo import AmpOptimWrapper, LinearLR, LRSchedulerMixin, OptimWrapper, StepOutcome, build_param_scheduler
from optimzoo.errors import ConfigError, OptimzooError
from optimzoo.schedules.base import ParamScheduler
from optimzoo.wrappers.weights import over

NUMBERS = [int, float, np.float32, np.int64, torch.tensor]
IDS = ["int", "float", "float32", "int64", "tensor"]


def optimizer():
    torch.manual_seed(0)
    return torch.optim.SGD(nn.Linear(1, 1, bias=False).parameters(), lr=0.1)


class TestConstructors:
    @pytest.mark.parametrize("whole", [np.int64, np.uint8, torch.tensor])
    def test_counts_and_amounts_become_numbers_of_python(self, whole):
        clip = collections.UserDict(max_norm=np.float32(0.5), norm_type=torch.tensor(2.0))
        wrapper = OptimWrapper(optimizer(), accumulative_counts=whole(2), clip_grad=clip)
        assert type(wrapper._accumulative_counts) is int
        assert wrapper.clip_grad_kwargs == dict(max_norm=0.5, norm_type=2.0)
        assert {type(value) for value in wrapper.clip_grad_kwargs.values()} == {float}

    @pytest.mark.parametrize("kind", NUMBERS, ids=IDS)
    def test_so_do_loss_scales(self, kind):
        wrapper = AmpOptimWrapper(kind(64), "float16", optimizer=optimizer())
        assert wrapper.loss_scaler.get_scale() == 64.0
        scale = collections.UserDict(init_scale=kind(32), growth_interval=np.int64(7))
        wrapper = AmpOptimWrapper(scale, "float16", optimizer=optimizer())
        assert (wrapper.loss_scaler.get_scale(), wrapper.loss_scaler.get_growth_interval()) == (32.0, 7)

    @pytest.mark.parametrize(
        ("kwargs", "place"),
        [
            (dict(accumulative_counts=np.float32(2.5)), "accumulative_counts"),
            (dict(accumulative_counts=torch.tensor([1, 2])), "accumulative_counts"),
            (dict(accumulative_counts=np.bool_(True)), "accumulative_counts"),
            (dict(clip_grad=dict(max_norm=np.float32(-1))), "clip_grad.max_norm"),
            (dict(clip_grad=collections.UserList([1])), "clip_grad"),
        ],
    )
    def test_what_is_none_is_refused(self, kwargs, place):
        with pytest.raises(ConfigError) as raised:
            OptimWrapper(optimizer(), **kwargs)
        assert raised.value.path == place

    @pytest.mark.parametrize("interval", [0, -1, 1.5, "x", None])
    def test_a_scale_that_would_grow_in_every_update_or_never_is_refused(self, interval):
        with pytest.raises(ConfigError, match=r"^loss_scale\.growth_interval: "):
            AmpOptimWrapper(dict(growth_interval=interval), "float16", optimizer=optimizer())


class TestWeights:
    @pytest.mark.parametrize("kind", [*NUMBERS, lambda n: torch.tensor([n])], ids=[*IDS, "vector"])
    def test_any_kind_of_number_counts(self, kind):
        wrapper = OptimWrapper(optimizer(), accumulative_counts=2)
        (parameter,) = wrapper.param_groups[0]["params"]
        before = parameter.item()
        for value, weight in ((1.0, 3), (5.0, 1)):
            outcome = wrapper.update_params((parameter * value).sum(), weight=kind(weight))
        assert outcome is StepOutcome.UPDATED
        assert math.isclose(parameter.item(), before - 0.1 * (3 * 1.0 + 5.0) / 4, rel_tol=1e-6)

    @pytest.mark.parametrize("wrong", ["4", [4], np.float32("nan"), np.float64(-1), True, np.array([1, 2]), math.inf])
    def test_what_is_none_is_refused(self, wrong):
        wrapper = OptimWrapper(optimizer())
        with pytest.raises(OptimzooError, match="a weight is the number of samples or tokens in a batch"):
            wrapper.update_params(wrapper.param_groups[0]["params"][0].sum(), weight=wrong)

    @pytest.mark.parametrize("kind", [int, np.float32, torch.tensor], ids=["int", "float32", "tensor"])
    def test_a_window_of_no_weight_is_an_error(self, kind):
        wrapper = OptimWrapper(optimizer(), accumulative_counts=2)
        (parameter,) = wrapper.param_groups[0]["params"]
        wrapper.update_params(parameter.sum(), weight=kind(0))
        with pytest.raises(OptimzooError, match="the weights of an update add up to 0"):
            wrapper.update_params(parameter.sum(), weight=kind(0))

    def test_where_they_are_not_waited_for_no_gradient_becomes_nan(self):
        totals = torch.tensor([0.0, 4.0])
        assert [over(8.0, total).item() for total in totals] == [1.0, 2.0]
        assert [over(torch.tensor(8.0), total).item() for total in totals] == [1.0, 2.0]


class Leaves(torch.optim.SGD):
    def step(self, closure=None):
        raise SystemExit(0)


@pytest.mark.parametrize("cls", [OptimWrapper, AmpOptimWrapper])
def test_an_optimizer_that_calls_exit_in_a_step_is_an_error(cls):
    wrapper = cls(optimizer=Leaves(optimizer().param_groups, lr=0.1))
    with pytest.raises(OptimzooError, match=r"Leaves\.step called exit\(\): .*SystemExit: 0"):
        wrapper.update_params(wrapper.param_groups[0]["params"][0].sum())


def test_an_exit_in_zero_grad_or_in_a_schedule_is_an_error_in_a_loop_of_ones_own():
    class Leaves(torch.optim.SGD):
        def zero_grad(self, set_to_none=True):
            sys.exit(0)

    class Ends(LRSchedulerMixin, ParamScheduler):
        def height(self, step):
            return 1.0 if step < 1 else sys.exit(0)

    class EndsItself(LinearLR):
        def step(self):
            if self.last_step >= 0:
                sys.exit(0)
            super().step()

    model = nn.Linear(2, 1)
    with pytest.raises(OptimzooError, match=r"Leaves\.zero_grad called exit\(\): .*SystemExit: 0"):
        OptimWrapper(Leaves(model.parameters(), lr=0.1)).update_params(model(torch.ones(1, 2)).sum())
    for schedule, what in ((Ends, "Ends"), (EndsItself, "a schedule")):
        model.zero_grad()
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        group = build_param_scheduler(wrapper, dict(type=schedule, end=5, by="update"))
        outcome = wrapper.update_params(model(torch.ones(1, 2)).sum())
        with pytest.raises(OptimzooError, match=rf"{what} called exit\(\): .*SystemExit: 0"):
            group.step(outcome)
