"""A plateau of a metric below 0: torch's relative threshold never sees it, and the schedule says so."""

import math
import warnings

import numpy as np
import pytest
import torch

from optimzoo import ReduceOnPlateauLR
from optimzoo.errors import ConfigError, OptimzooWarning


def final_lr(rule, values, **arguments):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = ReduceOnPlateauLR(optimizer, rule=rule, patience=1, **arguments)
    for value in values:
        schedule.step({"loss": value})
    return optimizer.param_groups[0]["lr"]


def torchs(mode, values):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, patience=1)
    for value in values:
        schedule.step(value)
    return optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize(
    ("rule", "mode", "values"),
    [
        ("less", "min", [-10.0] * 12),
        ("greater", "max", [-10.0] * 12),
        ("less", "min", [-10.0 + 0.0005 * step for step in range(12)]),
    ],
)
def test_a_metric_below_zero_is_told_that_a_relative_threshold_never_reduces(rule, mode, values):
    with pytest.warns(OptimzooWarning, match="threshold_rule='abs'"):
        assert final_lr(rule, values) == torchs(mode, values) == 1.0
    assert final_lr(rule, values, threshold_rule="abs") < 1e-3


@pytest.mark.parametrize(
    ("rule", "values"), [("less", [10.0] * 12), ("greater", [10.0] * 12), ("less", [-1.0 - step for step in range(12)])]
)
def test_metrics_for_which_the_threshold_is_right_are_not_questioned(rule, values):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert final_lr(rule, values) == torchs("min" if rule == "less" else "max", values)


@pytest.mark.parametrize("metric", [None, "x", True, 1j, [1.0], torch.ones(2), np.ones(3)], ids=repr)
def test_a_metric_that_is_no_number_is_named_and_nothing_is_counted(metric):
    schedule = ReduceOnPlateauLR(torch.optim.SGD([torch.zeros(1)], lr=1.0))
    before = schedule.state_dict()
    with pytest.raises(ConfigError, match="the metric 'loss' is .*: a number is wanted"):
        schedule.step({"loss": metric})
    assert schedule.state_dict() == before


@pytest.mark.parametrize("metrics", [0.5, [0.5], torch.tensor(0.5)], ids=repr)
def test_metrics_without_names_are_told_what_is_wanted(metrics):
    with pytest.raises(ConfigError, match=r"metrics by name are wanted, such as \{'loss': 0.5\}"):
        ReduceOnPlateauLR(torch.optim.SGD([torch.zeros(1)], lr=1.0)).step(metrics)


@pytest.mark.parametrize("one", [np.float32, torch.tensor, lambda v: torch.tensor([v]), lambda v: np.array([[v]])])
def test_a_single_number_is_one_whatever_holds_it(one):
    assert final_lr("less", map(one, [1.0, 1.0, 1.0])) == pytest.approx(0.1)


@pytest.mark.parametrize("rule", ["less", "greater"])
@pytest.mark.parametrize(
    "values",
    [[1.0, math.nan, math.nan, 0.5, 2.0, math.nan, math.nan], [math.nan] * 5, [1.0, math.inf, -math.inf, 1.0, 1.0]],
)
def test_a_metric_that_is_nan_is_no_improvement_as_in_torch(rule, values):
    assert final_lr(rule, values) == torchs({"less": "min", "greater": "max"}[rule], values)


@pytest.mark.parametrize(("rule", "mode", "worst"), [("less", "min", math.inf), ("greater", "max", -math.inf)])
def test_a_first_metric_that_nothing_is_worse_than_is_no_improvement_as_in_torch(rule, mode, worst):
    assert final_lr(rule, [worst, worst]) == torchs(mode, [worst, worst]) == 0.1
    assert final_lr(rule, [worst, 1.0]) == torchs(mode, [worst, 1.0]) == 1.0


@pytest.mark.parametrize("name", ["loss", "val_loss"])
def test_a_metric_is_also_called_as_the_log_calls_it(name):
    assert final_lr("less", [1.0, 1.0, 1.0], monitor=name) == torchs("min", [1.0, 1.0, 1.0]) == 0.1


def test_a_metric_that_is_not_there_is_told_with_the_near_ones():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = ReduceOnPlateauLR(optimizer, monitor="val_los")
    with pytest.raises(ConfigError, match="no metric 'val_los'; it has loss, ema_val_loss.* Did you mean 'loss'"):
        schedule.step({"loss": 1.0, "ema_val_loss": 2.0})
