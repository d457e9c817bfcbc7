"""Schedules written against mmengine run as they stand, once their import is changed."""

import math

import pytest
import torch
from torch import nn

from optimzoo import (
    INF,
    LRSchedulerMixin,
    MomentumSchedulerMixin,
    MultiStepLR,
    ReduceOnPlateauLR,
    _ParamScheduler,
    build_param_scheduler,
)
from optimzoo.errors import ConfigError


def sgd(lr=1.0, **kwargs):
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr, **kwargs)


def course(optimizer, schedules, steps, key="lr"):
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0][key])
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    return values


class RampParamScheduler(_ParamScheduler):
    """The shape of the public warm-ups: ``total_iters`` set before ``super().__init__``, a conversion of its own."""

    def __init__(self, optimizer, param_name, begin=0, end=INF, last_step=-1, by_epoch=True, verbose=False):
        if end >= INF:
            raise ValueError("end must be less than infinity")
        self.total_iters = end - begin
        super().__init__(
            optimizer=optimizer, param_name=param_name, begin=begin, end=end, last_step=last_step, by_epoch=by_epoch,
            verbose=verbose,
        )  # fmt: skip

    @classmethod
    def build_iter_from_epoch(cls, *args, begin=0, end=INF, by_epoch=True, epoch_length=None, **kwargs):
        assert by_epoch
        return cls(*args, begin=int(begin * epoch_length), end=int(end * epoch_length), by_epoch=False, **kwargs)

    def _get_value(self):
        rise = (2 * self.last_step + 1) / self.total_iters**2
        if self.last_step == 0:
            return [base * rise for base in self.base_values]
        return [
            group[self.param_name] + base * rise for base, group in zip(self.base_values, self.optimizer.param_groups)
        ]


class RampLR(LRSchedulerMixin, RampParamScheduler):
    pass


class RampMomentum(MomentumSchedulerMixin, RampParamScheduler):
    pass


class GeometricWarmup(_ParamScheduler):
    """Passes its window on by position, and works out a factor beforehand."""

    def __init__(
        self, optimizer, param_name, start_factor=0.1, begin=0, end=INF, last_step=-1, by_epoch=True, verbose=False
    ):
        self.start_factor = start_factor
        self.total_iters = end - begin - 1
        self.gamma = math.pow(1 / start_factor, 1 / self.total_iters)
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    def _get_value(self):
        factor = self.gamma if self.last_step else self.start_factor
        return [group[self.param_name] * factor for group in self.optimizer.param_groups]


class GeometricWarmupLR(LRSchedulerMixin, GeometricWarmup):
    pass


RAMP = [((t + 1) / 4) ** 2 for t in range(4)]
WARMUP = [0.1 * 10 ** (t / 3) for t in range(4)]


@pytest.mark.parametrize(
    ("cls", "arguments", "key", "expected"),
    [
        (RampLR, dict(end=4), "lr", RAMP),
        (RampMomentum, dict(end=4), "momentum", RAMP),
        (RampParamScheduler, dict(param_name="weight_decay", end=4), "weight_decay", RAMP),
        (GeometricWarmupLR, dict(end=4), "lr", WARMUP),
        (GeometricWarmup, dict(param_name="lr", start_factor=0.1, end=4), "lr", WARMUP),
    ],
)
def test_a_class_of_mmengines_shape_runs_alone_and_from_a_config(cls, arguments, key, expected):
    optimizer = sgd(momentum=1.0, weight_decay=1.0)
    assert course(optimizer, [cls(optimizer, **arguments)], 5, key) == pytest.approx([*expected, 1.0])
    optimizer = sgd(momentum=1.0, weight_decay=1.0)
    built = build_param_scheduler(optimizer, dict(type=cls, **arguments))
    assert course(optimizer, built, 5, key) == pytest.approx([*expected, 1.0])


@pytest.mark.parametrize("by_position", [True, False])
def test_own_arguments_may_be_positional(by_position):
    optimizer = sgd()
    schedule = GeometricWarmupLR(optimizer, 0.1, 0, 4) if by_position else GeometricWarmupLR(optimizer, 0.1, end=4)
    assert (schedule.begin, schedule.end, schedule.total_iters) == (0, 4, 3)
    assert course(optimizer, [schedule], 4) == pytest.approx(WARMUP)


def test_its_own_conversion_to_iterations_is_used():
    optimizer = sgd()
    cfg = dict(type=RampLR, end=2, convert_to_iter_based=True)
    (built,) = build_param_scheduler(optimizer, cfg, epoch_length=2, max_epochs=4)
    assert (built.by, built.end, built.total_iters) == ("iter", 4, 4)
    assert course(optimizer, [built], 4) == pytest.approx(RAMP)


@pytest.mark.parametrize("on_change", ["error", "config"])
def test_its_state_resumes_in_the_middle_and_replays_from_the_start(on_change):
    cfg = dict(type=RampLR, end=6, by_epoch=False)
    whole = sgd()
    expected = course(whole, build_param_scheduler(whole, cfg), 8)
    first = sgd()
    saved = build_param_scheduler(first, cfg)
    course(first, saved, 3)
    saved.counts["iter"] = 3
    second = sgd()
    resumed = build_param_scheduler(second, cfg)
    resumed.load_state_dict(saved.state_dict(), on_change)
    second.load_state_dict(first.state_dict())
    assert course(second, resumed, 5) == pytest.approx(expected[3:])


def test_an_override_may_use_milestones_as_mmengines_counter():
    class Doubled(MultiStepLR):
        def _get_value(self):
            if self.last_step not in self.milestones:
                return [group[self.param_name] for group in self.optimizer.param_groups]
            factor = self.gamma ** (2 * self.milestones[self.last_step])
            return [group[self.param_name] * factor for group in self.optimizer.param_groups]

    optimizer = sgd()
    assert course(optimizer, [Doubled(optimizer, [1, 3, 3], 0.5)], 5) == [1, 0.25, 0.25, 0.015625, 0.015625]


@pytest.mark.parametrize(("rule", "worse"), [("less", math.inf), ("greater", -math.inf)])
def test_a_plateaus_least_values_and_worst_metric_are_there_to_use(rule, worse):
    class Restarting(ReduceOnPlateauLR):
        def forget(self):
            self.best = self.rule_worse

    optimizer = sgd()
    schedule = Restarting(optimizer, rule=rule, patience=0, factor=0.5, min_value=0.3)
    assert (schedule.min_values, schedule.rule_worse) == ([0.3], worse)
    found = []
    for _ in range(4):
        schedule.step({"loss": 1.0})
        found.append(optimizer.param_groups[0]["lr"])
    assert found == [1.0, 0.5, 0.3, 0.3]
    schedule.forget()
    schedule.step({"loss": 1.0})
    assert schedule.num_bad_epochs == 0


def test_both_mixins_name_what_an_optimizer_lacks():
    rprop = torch.optim.Rprop([nn.Parameter(torch.zeros(1))])
    with pytest.raises(ConfigError, match="Rprop, has neither momentum nor betas"):
        RampMomentum(rprop, end=4)
