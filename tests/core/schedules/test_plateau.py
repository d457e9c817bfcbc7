"""A plateau of a metric below 0: torch's relative threshold never sees it, and the schedule says so."""

import warnings

import pytest
import torch

from optimzoo import ReduceOnPlateauLR
from optimzoo.errors import OptimzooWarning


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
        final_lr(rule, values)
