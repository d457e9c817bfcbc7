"""Windows at their edges: of one step, of a share of a short run, of less than an iteration."""

import math
import warnings

import pytest
import torch
from torch import nn

from optimzoo import build_param_scheduler
from optimzoo.errors import ConfigError, OptimzooWarning
from optimzoo.schedules import ConstantLR, LinearLR, LinearMomentum, SequenceLR


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


@pytest.mark.parametrize("begin", [0, 1, 3])
@pytest.mark.parametrize(
    ("curve", "arguments", "first", "after"),
    [
        (LinearLR, dict(start_factor=0.1), 0.1, 1.0),
        (LinearLR, dict(start_factor=0.0), 0.0, 1.0),
        (LinearLR, dict(start_factor=0.0, end_factor=0.5), 0.0, 0.5),
        (LinearLR, dict(start_factor=3.0), 3.0, 1.0),
        (ConstantLR, dict(factor=0.1), 0.1, 1.0),
        (ConstantLR, dict(factor=0.0), 0.0, 1.0),
        (ConstantLR, dict(factor=2.5), 2.5, 1.0),
    ],
)
def test_a_window_of_one_step_has_the_first_value_once_and_then_the_last(curve, arguments, first, after, begin):
    optimizer = sgd()
    found = course(optimizer, [curve(optimizer, begin=begin, end=begin + 1, **arguments)], begin + 4)
    assert found == pytest.approx([*[1.0] * begin, first, after, after, after])


@pytest.mark.parametrize(("start", "steps"), [(0.0, 1), (0.2, 1), (0.0, 2), (0.0, 3)])
def test_a_sequence_may_begin_with_a_curve_of_one_step(start, steps):
    optimizer = sgd()
    curves = [dict(type="Linear", start_factor=start, steps=steps), dict(type="Exponential", gamma=0.5)]
    found = course(optimizer, [SequenceLR(optimizer, curves)], steps + 3)
    rise = [start + (1 - start) * t / max(steps - 1, 1) for t in range(steps)]
    assert found == pytest.approx([*rise, 1.0, 0.5, 0.25])


def test_a_window_of_one_step_resumes_after_it():
    cfg = dict(type="LinearLR", start_factor=0.0, end=1, by_epoch=False)
    optimizer, other = sgd(), sgd()
    state = build_param_scheduler(optimizer, cfg).state_dict()
    resumed = build_param_scheduler(other, cfg)
    resumed.load_state_dict(state)
    assert course(other, resumed, 3) == [0, 1, 1]


@pytest.mark.parametrize(
    ("share", "unit", "start", "listed_first"),
    [
        ("10%", dict(by_epoch=False), 0.0, 0),
        ("10%", dict(convert_to_iter_based=True), 0.01, 0),
        ("3.3%", dict(convert_to_iter_based=True), 0.01, 1),
        ("50%", dict(by="update"), 0.0, 0),
        ("100%", dict(by_epoch=False), 0.01, 1),
    ],
)
def test_windows_that_meet_at_a_share_have_neither_gap_nor_jump_at_any_length(share, unit, start, listed_first):
    for length in range(1, 201):
        optimizer = sgd()
        cfg = [
            dict(type="LinearLR", start_factor=start, end=share, **unit),
            dict(type="CosineAnnealingLR", begin=share, **unit),
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimzooWarning)
            schedules = build_param_scheduler(
                optimizer, cfg[::-1] if listed_first else cfg, epoch_length=1, max_epochs=length
            )
            found = course(optimizer, schedules, length)
        warmup = max(round(float(share[:-1]) / 100 * length), 1)
        rise = [start + (1 - start) * t / max(warmup - 1, 1) for t in range(min(warmup, length))]
        rest = length - warmup
        fall = [(1 + math.cos(math.pi * t / rest)) / 2 for t in range(rest)]
        assert found == pytest.approx([*rise, *fall], abs=1e-12), length


@pytest.mark.parametrize("unit", [dict(by_epoch=False), dict(by_epoch=True), dict(convert_to_iter_based=True)], ids=str)
@pytest.mark.parametrize("cuts", [["10%", "50%"], ["1%", "99%"], ["50%", "50.1%"], ["5%", "10%", "90%"]])
def test_windows_in_a_row_leave_no_step_out_at_any_length_and_one_that_has_none_is_told(cuts, unit):
    begins, ends = [{}, *({"begin": cut} for cut in cuts)], [*({"end": cut} for cut in cuts), {}]
    cfg = [dict(type="ExponentialLR", gamma=0.5, **begin, **end, **unit) for begin, end in zip(begins, ends)]
    for length in range(1, 201):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            built = build_param_scheduler(sgd(), cfg, epoch_length=1, max_epochs=length)
        acting = [[index for index, s in enumerate(built) if s.begin <= step < s.end] for step in range(length)]
        assert [len(found) for found in acting] == [1] * length
        assert acting == sorted(acting)
        idle = set(range(len(cfg))) - {index for found in acting for index in found}
        said = [str(w.message) for w in caught if "there is no whole step of the run's" in str(w.message)]
        assert [f"param_scheduler[{index}]" for index in sorted(idle)] == [text.partition(":")[0] for text in said]


def test_a_window_that_is_left_out_is_told_as_it_is_written():
    cfg = [
        dict(type="LinearLR", by_epoch=False, begin=b, end=e)
        for b, e in (("0%", "10%"), ("10%", "50%"), ("50%", "100%"))
    ]
    said = r"param_scheduler\[1\]: from '10%' to '50%' there is no whole step of the run's 2: the LinearLR does nothing"
    with pytest.warns(OptimzooWarning, match=said):
        build_param_scheduler(sgd(), cfg, max_iters=2)


@pytest.mark.parametrize("unit", [dict(by_epoch=False), dict(convert_to_iter_based=True)], ids=str)
def test_the_shares_of_a_sequence_add_up_to_the_run_at_any_length(unit):
    curves = [
        dict(type="Linear", steps="10%"),
        dict(type="Exponential", gamma=0.9, steps="40%"),
        dict(type="Poly", steps="50%"),
    ]
    for length in range(1, 201):
        (built,) = build_param_scheduler(sgd(), dict(type="SequenceLR", curves=curves, **unit), 1, length)
        windows = [(schedule.begin, schedule.end) for schedule in built.schedules]
        assert (windows[0][0], windows[-1][1]) == (0, length)
        assert [end for _, end in windows[:-1]] == [begin for begin, _ in windows[1:]]


@pytest.mark.parametrize(
    ("window", "epoch_length", "said"),
    [
        (dict(end=0.02), 20, "from epoch 0 to 0.02 there is no whole iteration: an epoch has 20"),
        (dict(begin=1, end=1.2), 4, "from epoch 1 to 1.2 there is no whole iteration: an epoch has 4"),
        (dict(begin=0.5, end=0.5), 4, "from epoch 0.5 to 0.5 there"),
    ],
)
def test_a_converted_window_without_an_iteration_is_told_in_epochs(window, epoch_length, said):
    with pytest.raises(ConfigError, match=said) as caught:
        build_param_scheduler(
            sgd(), [dict(type="LinearLR", convert_to_iter_based=True, **window)], epoch_length=epoch_length
        )
    assert caught.value.path == "param_scheduler[0].end"


@pytest.mark.parametrize("unit", [dict(by_epoch=False), dict(convert_to_iter_based=True)])
def test_a_share_without_a_step_is_told_as_a_share(unit):
    cfg = [dict(type="LinearLR", begin="20%", end="21%", **unit)]
    with pytest.raises(ConfigError, match="from '20%' to '21%' there is no whole step of the run's 20") as caught:
        build_param_scheduler(sgd(), cfg, epoch_length=1, max_epochs=20)
    assert caught.value.path == "param_scheduler[0].end"


@pytest.mark.parametrize(
    ("cfg", "path"),
    [
        (dict(type="LinearLR", start_factor=-1e-9), ".start_factor"),
        (dict(type="LinearLR", end_factor=math.nan), ".end_factor"),
        (dict(type="LinearLR", end_factor=math.inf), ".end_factor"),
        (dict(type="ConstantLR", factor=math.nan), ".factor"),
        (dict(type="ExponentialLR", gamma=math.inf), ".gamma"),
        (dict(type="StepLR", step_size=math.inf), ".step_size"),
        (dict(type="MultiStepLR", milestones=[1, math.nan]), ".milestones[1]"),
        (dict(type="MultiStepLR", milestones=[1, math.inf]), ".milestones[1]"),
        (dict(type="CosineAnnealingLR", T_max=math.inf), ".T_max"),
        (dict(type="CosineAnnealingLR", T_max=math.nan), ".T_max"),
        (dict(type="CosineAnnealingLR", T_max=9, eta_min=-1e-3), ".eta_min"),
        (dict(type="CosineAnnealingLR", T_max=9, eta_min_ratio=math.nan), ".eta_min_ratio"),
        (dict(type="CosineRestartLR", periods=[math.inf]), ".periods[0]"),
        (dict(type="CosineRestartLR", periods=[3], restart_weights=[-1]), ".restart_weights[0]"),
        (dict(type="PolyLR", end=9, power=math.inf), ".power"),
        (dict(type="OneCycleLR", total_steps=9, eta_max=-0.1), ".eta_max"),
        (dict(type="OneCycleLR", total_steps=math.inf), ".total_steps"),
        (dict(type="ReduceOnPlateauLR", min_value=-0.1), ".min_value"),
        (dict(type="WSDLR", decay=math.inf, end=9), ".decay"),
        (dict(type="InverseSqrtLR", warmup=math.nan), ".warmup"),
        (dict(type="LinearLR", begin=math.nan), ".begin"),
        (dict(type="LinearLR", end=math.inf), ".end"),
        (dict(type="LinearLR", end=math.inf, convert_to_iter_based=True), ".end"),
        (dict(type="LinearLR", end=math.nan, convert_to_iter_based=True), ".end"),
        (dict(type="LinearLR", begin=math.inf, convert_to_iter_based=True), ".begin"),
        (dict(type="CosineAnnealingLR", T_max=math.inf, convert_to_iter_based=True), ".T_max"),
        (dict(type="StepLR", step_size=math.nan, convert_to_iter_based=True), ".step_size"),
        (dict(type="LambdaLR", function=lambda t: -1.0), ".function(0)"),
        (dict(type="LambdaLR", function=lambda t: math.nan), ".function(0)"),
    ],
)
def test_a_number_that_makes_no_rate_and_no_step_is_refused_at_its_place(cfg, path):
    with pytest.raises(ConfigError) as caught:
        build_param_scheduler(sgd(), [cfg], epoch_length=5)
    assert caught.value.path == f"param_scheduler[0]{path}"


@pytest.mark.parametrize("ratio", [0, 0.0, 0.1])
@pytest.mark.parametrize("curve", [dict(type="CosineAnnealingLR", T_max=5), dict(type="PolyLR", end=5)])
def test_two_floors_are_refused_at_zero_too(curve, ratio):
    with pytest.raises(ConfigError, match="give eta_min or eta_min_ratio, not both"):
        build_param_scheduler(sgd(), dict(curve, eta_min=0, eta_min_ratio=ratio))


def test_a_warm_up_may_come_down_from_above():
    optimizer = sgd(0.01, momentum=0.5)
    lr, momentum = LinearLR(optimizer, 10.0, end=4), LinearMomentum(optimizer, 1.5, end=4)
    optimizer.step()
    assert course(optimizer, [lr, momentum], 4) == pytest.approx([0.1, 0.07, 0.04, 0.01])


def test_a_momentum_above_1_is_told():
    with pytest.warns(OptimzooWarning, match="LinearMomentum sets the momentum to 1.35: above 1, it grows"):
        LinearMomentum(sgd(momentum=0.9), 1.5, end=4)
