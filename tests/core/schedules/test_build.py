"""Building schedules from a config: the run's length, shares of it, and what looks wrong."""

import warnings

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, OptimWrapperDict, build_param_scheduler
from optimzoo.errors import ConfigError, OptimzooWarning

COSINE = dict(type="CosineAnnealingLR", by_epoch=False)


def sgd(*lrs):
    return torch.optim.SGD([{"params": nn.Parameter(torch.zeros(1)), "lr": lr} for lr in lrs or (1.0,)], lr=1.0)


@pytest.mark.filterwarnings("ignore:.*were epochs meant")  # so short a window may be a mistake too
@pytest.mark.parametrize(
    ("cfg", "window"),
    [
        (dict(by_epoch=False, end="5%"), (0, 50)),
        (dict(by_epoch=False, begin="2.5%"), (25, 1000)),
        (dict(by_epoch=True, end="50%"), (0, 5)),
        (dict(by="update", end="10%"), (0, 25)),
        (dict(by="update"), (0, 250)),
        (dict(begin="5%", convert_to_iter_based=True), (50, 1000)),
        (dict(begin="3.3%", end="50%", convert_to_iter_based=True), (33, 500)),
        (dict(begin="3.33%", end="66.68%", convert_to_iter_based=True), (33, 667)),
        (dict(begin="0%", end="0.01%", convert_to_iter_based=True), (0, 1)),
        (dict(by_epoch=True, begin="0%", end="1%"), (0, 1)),
    ],
)
def test_windows_may_be_shares_of_the_run(cfg, window):
    wrapper = OptimWrapper(sgd(), accumulative_counts=4)
    (built,) = build_param_scheduler(wrapper, dict(type="LinearLR", **cfg), epoch_length=100, max_epochs=10)
    assert (built.begin, built.end) == window


@pytest.mark.filterwarnings("ignore:.*were epochs meant")
@pytest.mark.parametrize(
    "cfg",
    [
        dict(type="CosineAnnealingLR", T_max="5%"),
        dict(type="MultiStepLR", milestones=["5%", "60%"]),
        dict(type="StepLR", step_size="5%"),
        dict(type="OneCycleLR", total_steps="95%"),
        dict(type="CosineRestartLR", periods=["5%", "95%"]),
        dict(type="WSDLR", warmup="0%", decay="5%"),
    ],
)
@pytest.mark.parametrize("max_epochs", [1, 3])
def test_any_share_of_any_run_becomes_whole_iterations(cfg, max_epochs):
    converted = dict(cfg, convert_to_iter_based=True)
    (built,) = build_param_scheduler(sgd(), converted, epoch_length=7, max_epochs=max_epochs)
    for key, value in cfg.items():
        for share, found in zip(listed(value), listed(built.arguments.get(key))) if key != "type" else ():
            assert type(found) is int
            assert abs(found - float(share[:-1]) / 100 * 7 * max_epochs) <= 0.5 or found == 1


def listed(value):
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("lengths", [dict(max_iters=250), dict(max_iters=250, max_epochs=3)])
def test_a_run_that_ends_within_an_epoch_ends_its_schedules_there(lengths):
    cfg = dict(type="CosineAnnealingLR", convert_to_iter_based=True)
    (built,) = build_param_scheduler(sgd(), cfg, epoch_length=100, **lengths)
    assert (built.end, built.T_max) == (250, 250)


def test_other_counts_of_steps_may_be_shares_too():
    cfg = [
        dict(type="CosineAnnealingLR", T_max="50%", by_epoch=False),
        dict(type="MultiStepLR", milestones=["60%", 8], convert_to_iter_based=True),
        dict(type="WSDLR", warmup="1%", decay="20%", by_epoch=False),
        dict(type="SequenceLR", by_epoch=False, curves=[dict(type="InverseSqrt", warmup="5%", steps="30%")]),
    ]
    cosine, steps, wsd, sequence = build_param_scheduler(sgd(), cfg, epoch_length=100, max_epochs=10)
    assert (cosine.T_max, sorted(steps.milestones), wsd.warmup, wsd.decay) == (500, [600, 800], 10, 200)
    (curve,) = sequence.schedules
    assert (curve.warmup, curve.end) == (50, 300)


@pytest.mark.parametrize(
    ("cfg", "lengths", "path", "said"),
    [
        (dict(COSINE, begin="5%"), {}, "", "'5%' is a share of the run.*pass max_iters=, or total_updates= to torch"),
        (dict(COSINE, T_max="5%", by_epoch=True), dict(max_iters=9), "", "in epochs is not known: pass max_epochs="),
        (dict(COSINE, T_max="120%"), dict(max_iters=9), "", "from 0% to 100%"),
        (dict(COSINE, T_max="x%"), dict(max_iters=9), "", "written as '5%'"),
        (COSINE, {}, ".T_max", "needs its length: give T_max or end, or the run's length"),
        (dict(type="PolyLR"), dict(max_iters=9), ".end", "in the unit of the schedule"),
        (dict(type="OneCycleLR"), {}, ".total_steps", "needs its length"),
        (COSINE, dict(max_iters=0), "", "begins at iter 0, and the run ends at 0"),
        (dict(COSINE, begin=9), dict(max_iters=9), "", "begins at iter 9, and the run ends at 9"),
        (dict(type="LambdaLR", function="math:sqrt"), {}, ".function", "TOML, YAML and JSON cannot hold one"),
        (dict(type="LinearLR", convert_to_iter_based=True), {}, ".convert_to_iter_based", "pass epoch_length="),
        (dict(a=[dict(type="LinearLR")]), {}, "", "'type' is missing; schedules by name are for several optimizers"),
        (dict(typ="LinearLR"), {}, "", "Is it under 'typ'"),
        (dict(type="SequenceLR", curves=[dict(type="Linaer")]), {}, ".curves[0].type", "Did you mean 'Linear"),
        (dict(type="SequenceLR", curves=[dict(type="Linear")] * 2), {}, ".curves[0].steps", "need their length"),
        (dict(type="SequenceLR", curves=[]), {}, ".curves", r"'type' is wanted, got \[\]"),
        (dict(type="CosineRestartLR", periods=[]), {}, ".periods", r"such as \[100, 200\] is wanted, got \[\]"),
        (dict(type="StepLR", step_size=0), {}, ".step_size", "at least 1"),
        (dict(type="ExponentialLR", gamma="x"), {}, ".gamma", "wants a number for 'gamma', got 'x'"),
        (
            dict(type="CosineRestartLR", periods=[3], restart_weights=[1, 2]),
            {},
            ".restart_weights",
            "list of 1 numbers",
        ),
        (dict(type="CosineAnnealingLR", T_max=0), {}, ".T_max", "above 0"),
        (dict(type="WSDLR", decay=6, warmup=6, end=9), {}, ".decay", "do not fit into 9"),
    ],
)
def test_what_cannot_be_built_is_explained(cfg, lengths, path, said):
    with pytest.raises(ConfigError, match=said) as caught:
        build_param_scheduler(sgd(), cfg, **lengths)
    assert caught.value.path == f"param_scheduler{path}"


@pytest.mark.parametrize(
    ("cfg", "lengths", "said"),
    [
        (dict(type="MultiStepLR", milestones=[30000]), dict(epoch_length=9, max_epochs=12), "counts to epoch 30000"),
        (dict(type="StepLR", step_size=30), dict(max_epochs=5), "counts to epoch 30, and the run has 5"),
        (dict(type="StepLR", step_size=500, by="iter"), dict(max_iters=100), "counts to iter 500"),
        (dict(type="InverseSqrtLR", warmup=500, begin=5), dict(max_epochs=20), "counts to epoch 505"),
        (dict(COSINE, T_max=12), dict(epoch_length=99, max_epochs=12), "iter 12 of 1188: were epochs meant"),
        (dict(type="LinearLR", end=500), dict(max_iters=1000), "the run is 1000 iterations, .*values never move"),
        (dict(type="StepLR", step_size=1), dict(max_iters=5, epoch_length=9), "values never move"),
    ],
)
def test_a_horizon_far_from_the_run_is_a_warning(cfg, lengths, said):
    with pytest.warns(OptimzooWarning, match=said):
        build_param_scheduler(sgd(), cfg, **lengths)


@pytest.mark.parametrize(
    "cfg",
    [
        dict(type="CosineAnnealingLR", T_max=12, by="iter"),
        dict(type="LinearLR", start_factor=0.1, end=12, by_epoch=False),
        dict(type="ConstantLR", end=12, by_epoch=False),
        dict(type="QuadraticWarmupLR", end=12, by_epoch=False),
        [dict(type="LinearLR", end=12, by_epoch=False), dict(type="MultiStepLR", milestones=[6, 9])],
        dict(type="LinearLR", start_factor=0.1, end="0.1%", by_epoch=False),
        [dict(COSINE, T_max=12), dict(type="MultiStepLR", milestones=[2, 3])],
    ],
    ids=str,
)
def test_a_warm_up_of_few_iterations_is_not_asked_about_nor_what_says_that_it_counts_them(cfg):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_param_scheduler(sgd(), cfg, epoch_length=99, max_epochs=12)


def test_one_warning_says_that_absolute_floors_end_the_proportions_of_the_groups():
    floored = dict(COSINE, T_max=5, eta_min=0.1)
    with pytest.warns(OptimzooWarning, match="eta_min=0.1.*eta_min_ratio keeps them") as caught:
        build_param_scheduler(sgd(1.0, 0.5), [floored, floored])
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_param_scheduler(sgd(1.0, 1.0), floored)
        build_param_scheduler(sgd(1.0, 0.5), dict(COSINE, T_max=5, eta_min_ratio=0.1))


class TestSeveralOptimizers:
    def wrappers(self):
        return OptimWrapperDict(gen=OptimWrapper(sgd(1.0)), disc=OptimWrapper(sgd(0.5)))

    def test_a_list_goes_to_every_member(self):
        wrappers = self.wrappers()
        schedule = build_param_scheduler(wrappers, dict(type="ExponentialLR", gamma=0.5, by="iter"))
        outcome = wrappers["gen"].update_params(wrappers["gen"].param_groups[0]["params"][0].sum())
        schedule.step(outcome)
        assert wrappers.get_lr() == {"gen.lr": [0.5], "disc.lr": [0.25]}

    def test_each_member_has_its_own_and_counts_its_own_updates(self):
        wrappers = self.wrappers()
        halve = dict(type="ExponentialLR", gamma=0.5, by="update")
        schedule = build_param_scheduler(wrappers, dict(gen=[halve], disc=halve))
        for member, times in (("disc", 2), ("gen", 1)):
            for _ in range(times):
                outcome = wrappers[member].update_params(wrappers[member].param_groups[0]["params"][0].sum())
        schedule.step(outcome)
        assert wrappers.get_lr() == {"gen.lr": [0.5], "disc.lr": [0.125]}

    def test_members_that_are_not_there_are_named(self):
        with pytest.raises(ConfigError, match="schedules for each of 'gen', 'disc' are wanted, got 'generator'"):
            build_param_scheduler(self.wrappers(), dict(generator=[dict(type="ExponentialLR", gamma=0.5)]))

    def test_a_mistake_is_named_by_its_member(self):
        with pytest.raises(ConfigError, match=r"param_scheduler\.gen\[0\]\.gama"):
            build_param_scheduler(self.wrappers(), dict(gen=[dict(type="StepLR", step_size=3, gama=1)], disc=[]))
