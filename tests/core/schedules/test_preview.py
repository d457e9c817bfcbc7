import json

import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper, build_param_scheduler
from optimzoo.errors import ConfigError
from optimzoo.inspect import plot_schedules, schedule_courses

CFG = dict(
    optim_wrapper=dict(
        optimizer=dict(type="SGD", lr=1.0, momentum=0.9, weight_decay=0.1),
        paramwise_cfg=dict(bias_lr_mult=2.0, norm_decay_mult=0.0),
        accumulative_counts=2,
    ),
    param_scheduler=[
        dict(type="LinearLR", start_factor=0.0, by="update", end="20%"),
        dict(type="CosineAnnealingLR", by_epoch=True, begin=2, convert_to_iter_based=True),
        dict(type="StepMomentum", step_size=5, gamma=0.5),
    ],
    train_cfg=dict(by_epoch=True, max_epochs=10),
)


def test_courses_are_the_values_that_a_run_trains_with():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    wrapper = build_optim_wrapper(model, CFG["optim_wrapper"])
    schedule = build_param_scheduler(wrapper, CFG["param_scheduler"], epoch_length=5, max_epochs=10)
    seen = []
    for iteration in range(1, 51):
        group = wrapper.base_param_settings
        seen.append((group["lr"], group["momentum"]))
        schedule.step(wrapper.update_params(model(torch.ones(3, 2)).sum()), epoch_end=iteration % 5 == 0)
    courses = {(c.key, c.group): c.values for c in schedule_courses(CFG, epoch_length=5, max_epochs=10)}
    assert courses["lr", "base, norm_decay_mult"] == [lr for lr, _ in seen]
    assert courses["lr", "bias_lr_mult"] == pytest.approx([2 * lr for lr, _ in seen])
    assert courses["momentum", "base, bias_lr_mult, norm_decay_mult"] == [momentum for _, momentum in seen]


def test_schedules_by_update_and_by_iteration_are_drawn_in_the_order_of_the_run():
    halved = dict(type="MultiStepLR", by="update", milestones=[3], gamma=0.5)
    cycle = dict(type="OneCycleLR", by_epoch=False, eta_max=2.0, total_steps=12)
    for cfgs in ([halved, cycle], [cycle, halved]):
        model = nn.Linear(2, 1)
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=1.0, momentum=0.9)))
        schedule, seen = build_param_scheduler(wrapper, cfgs), []
        for _ in range(8):
            seen.append(wrapper.param_groups[0]["lr"])
            schedule.step(wrapper.update_params(model(torch.ones(2)).sum()))
        cfg = dict(optim_wrapper=dict(optimizer=dict(type="SGD", lr=1.0, momentum=0.9)), param_scheduler=cfgs)
        assert schedule_courses(cfg, max_iters=8)[0].values == seen


@pytest.mark.parametrize(
    "paramwise_cfg",
    [
        dict(custom_keys=dict(head=dict(lr=0.5))),
        dict(custom_keys=dict(head=dict(lr_mult=3.0, decay_mult=0.0))),
        dict(rules=[dict(match="head", lr=0.5, lr_mult=2.0)]),
        dict(bias_lr_mult=2.0, norm_decay_mult=None),
        dict(rules=[dict(match="head", lr_mult=0.0)], bias_lr_mult=4),
    ],
    ids=str,
)
def test_the_groups_that_are_drawn_are_those_that_are_built(paramwise_cfg):
    model = nn.ModuleDict(dict(body=nn.Linear(2, 2, bias=False), head=nn.Linear(2, 1)))
    optim_wrapper = dict(optimizer=dict(type="AdamW", lr=0.1), paramwise_cfg=paramwise_cfg)
    built = build_optim_wrapper(model, optim_wrapper)
    cfg = dict(optim_wrapper=optim_wrapper, param_scheduler=dict(type="LinearLR", start_factor=1.0, by_epoch=False))
    drawn = {label: c.values[-1] for c in schedule_courses(cfg, max_iters=4) for label in c.group.split(", ")}
    for group in built.optimizer.param_groups:
        for rule in {built.param_rules.get(name, "base") for name in group["param_names"]} - {"bias_lr_mult, rules[0]"}:
            assert drawn[rule] == pytest.approx(group["lr"])


def test_a_built_wrapper_shows_its_own_groups_and_stays_as_it_is():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    wrapper = build_optim_wrapper(model, CFG["optim_wrapper"])
    courses = schedule_courses({**CFG, "optim_wrapper": wrapper}, epoch_length=5, max_epochs=10)
    assert [course.group for course in courses[:2]] == ["base, norm_decay_mult", "bias_lr_mult"]
    assert [group["lr"] for group in wrapper.optimizer.param_groups if "initial_lr" in group] == []


def test_several_optimizers_have_courses_of_their_own():
    cfg = dict(
        optim_wrapper={name: dict(optimizer=dict(type="SGD", lr=lr)) for name, lr in (("gen", 0.1), ("disc", 0.4))},
        param_scheduler=dict(gen=[dict(type="StepLR", step_size=2, by_epoch=False)], disc=[]),
    )
    (course,) = schedule_courses(cfg, max_iters=4)
    assert (course.key, course.values) == ("gen.lr", pytest.approx([0.1, 0.1, 0.01, 0.01]))


def test_groups_that_only_the_model_decides_are_said_to_be_missing():
    optim_wrapper = dict(
        optimizer=dict(type="SGD", lr=1.0),
        constructor="LayerDecayOptimWrapperConstructor",
        paramwise_cfg=dict(layer_decay_rate=0.5),
    )
    cfg = dict(optim_wrapper=optim_wrapper, param_scheduler=dict(type="LinearLR", by_epoch=False))
    (course,) = schedule_courses(cfg, max_iters=4)
    assert course.group == "base (not those of LayerDecayOptimWrapperConstructor)"


def test_of_a_built_wrapper_every_group_has_a_course_under_its_name():
    model = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(2, 2, bias=False) for _ in range(3)])})
    cfg = dict(
        optimizer=dict(type="SGD", lr=1.0),
        constructor="LayerDecayOptimWrapperConstructor",
        paramwise_cfg=dict(layer_decay_rate=0.5),
    )
    schedule = dict(type="LinearLR", by_epoch=False, end=3)
    courses = schedule_courses(
        dict(optim_wrapper=build_optim_wrapper(model, cfg), param_scheduler=schedule), max_iters=4
    )
    assert {c.group: c.values[-1] for c in courses} == {f"depth {n} of 4": 0.5 ** (4 - n) for n in (1, 2, 3)}


def test_the_picture_has_a_panel_for_each_hyperparameter_and_a_line_for_each_group(tmp_path):
    figure = plot_schedules(CFG, tmp_path / "lr.png", epoch_length=5, max_epochs=10)
    assert [(axis.get_ylabel(), len(axis.lines)) for axis in figure.axes] == [("lr", 2), ("momentum", 1)]
    assert (tmp_path / "lr.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("change", "lengths", "said"),
    [
        ({}, {}, "length of the run is not known"),
        ({}, dict(max_iters=-3), "^max_iters: a number of at least 0 is wanted, got -3"),
        ({}, dict(epoch_length=5, max_epochs="2"), "^max_epochs: a number of at least 0 is wanted, got '2'"),
        (dict(param_scheduler=[]), dict(max_iters=3), "no schedule to draw"),
        (dict(param_scheduler=dict(gen=[])), dict(max_iters=3), "'type' is missing; .* there is one"),
        (
            dict(optim_wrapper=dict(gen=CFG["optim_wrapper"], disc=CFG["optim_wrapper"]), param_scheduler=dict(gen=[])),
            dict(max_iters=3),
            "schedules for each of 'gen', 'disc' are wanted, got 'gen'",
        ),
    ],
)
def test_what_cannot_be_drawn_is_explained(change, lengths, said):
    with pytest.raises(ConfigError, match=said):
        plot_schedules({**CFG, **change}, **lengths)


def test_a_config_without_an_optimizer_is_told_what_it_wants():
    with pytest.raises(ConfigError, match="^optim_wrapper: a dict with the key 'optimizer' is wanted"):
        schedule_courses({"param_scheduler": CFG["param_scheduler"]}, max_iters=3)


def test_the_command_writes_the_picture_or_prints_the_corners(tmp_path, optimzoo):
    cfg = {**CFG, "model": dict(type="nowhere:Model"), "train_dataloader": dict(dataset=dict(type="nowhere:Data"))}
    (tmp_path / "run.json").write_text(json.dumps(cfg))
    optimzoo("plot", "run.json", "--out", "lr.png", "--epoch-length", 5)
    assert (tmp_path / "lr.png").exists()
    table = optimzoo("plot", "run.json", "--table", "--epoch-length", 5).stdout
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines()]
    corners = [
        (int(at), float(value))
        for key, group, at, value in filter(None, cells)
        if (key, group) == ("lr", "bias_lr_mult")
    ]
    assert corners[:4] == [(0, 0.0), (1, 0.0), (8, 2.0), (11, pytest.approx(1.9969, abs=1e-4))]
    assert corners[-1][0] == 49
