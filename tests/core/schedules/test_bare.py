"""A schedule by itself, in a loop as torch's are used: the order of the steps, and loading."""

import contextlib
import copy
import types
import warnings

import pytest
import torch
from torch import nn

import optimzoo.schedules
from optimzoo import OptimWrapper, build_optim_wrapper, build_param_scheduler
from optimzoo.errors import CheckpointError, ConfigError, OptimzooWarning
from optimzoo.schedules import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LinearMomentum,
    MultiStepLR,
    OneCycleLR,
    SequenceLR,
)
from optimzoo.schedules.preview import schedule_courses

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of mmengine's dependencies, at import
    import mmengine.optim


def sgd(lr=1.0, **kwargs):
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr, **kwargs)


def lr_of(optimizer):
    return optimizer.param_groups[0]["lr"]


class TestOrder:
    """torch's and mmengine's schedules warn of the same loops."""

    PEERS = (
        lambda o: LinearLR(o, 0.5, end=9),
        lambda o: SequenceLR(o, [dict(type="Linear", steps=3), dict(type="Exponential", gamma=0.5)]),
        lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.5),
        lambda o: mmengine.optim.LinearLR(o, 0.5, end=9),
    )

    @pytest.mark.parametrize("make", PEERS)
    def test_stepping_before_the_optimizer_is_told_once(self, make):
        optimizer = sgd()
        schedule = make(optimizer)
        with pytest.warns(UserWarning, match=r"optimizer.step"):
            schedule.step()
        optimizer.step()
        schedule.step()

    @pytest.mark.parametrize("make", PEERS)
    def test_a_step_that_was_replaced_is_told(self, make):
        optimizer = sgd()
        schedule = make(optimizer)
        optimizer.step = types.MethodType(lambda self: None, optimizer)
        optimizer.step()
        with pytest.warns(UserWarning, match=r"optimizer.step\W.*(replaced|overridden)"):
            schedule.step()

    @pytest.mark.parametrize("with_gradient", [True, False])
    @pytest.mark.parametrize("make", PEERS)
    def test_the_right_order_is_not(self, make, with_gradient):
        optimizer = sgd()
        schedule = make(optimizer)
        if with_gradient:
            optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
        for _ in range(3):
            optimizer.step()
            schedule.step()

    def test_nor_is_a_wrapper_that_accumulates(self):
        wrapper = OptimWrapper(sgd(), accumulative_counts=4)
        schedule = LinearLR(wrapper, 0.5, end=9)
        for _ in range(3):
            wrapper.update_params(wrapper.optimizer.param_groups[0]["params"][0].sum())
            schedule.step()
        assert wrapper.get_lr()["lr"] == [0.5 + 3 / 16]

    def test_several_schedules_of_ours_and_torchs_watch_one_optimizer(self):
        optimizer = sgd(momentum=0.9)
        schedules = [
            LinearLR(optimizer, 0.5, end=9),
            torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
            LinearMomentum(optimizer, 0.5, end=9),
        ]
        optimizer.step()
        for schedule in schedules:
            schedule.step()

    def test_one_that_was_loaded_is_not_at_its_first_step(self):
        optimizer = sgd()
        schedule = LinearLR(optimizer, 0.5, end=9)
        schedule.load_state_dict(schedule.state_dict())
        schedule.step()

    def test_nothing_stays_on_the_optimizer(self):
        optimizer = sgd()
        schedule = LinearLR(optimizer, 0.5, end=9)
        optimizer.step()
        schedule.step()
        assert (len(optimizer._optimizer_step_post_hooks), "step" in vars(optimizer)) == (0, False)


class TestLoading:
    """The state's arguments win, as in torch and mmengine, and what changed is named."""

    CASES = (
        (LinearLR, dict(start_factor=0.1, end=8), dict(start_factor=0.5, end=4), "start_factor of LinearLR was 0.1"),
        (MultiStepLR, dict(milestones=[4, 6]), dict(milestones=[2]), r"milestones of MultiStepLR was \[4, 6\]"),
        (ExponentialLR, dict(gamma=0.9), dict(gamma=0.5), "gamma of ExponentialLR was 0.9, and is 0.5"),
        (CosineAnnealingLR, dict(T_max=9, eta_min=0.1), dict(T_max=5), "T_max of CosineAnnealingLR was 9"),
        (OneCycleLR, dict(eta_max=0.4, total_steps=20), dict(total_steps=30), "eta_max of OneCycleLR was 0.4"),
        (CosineAnnealingLR, dict(end=9), dict(end=5), "end of CosineAnnealingLR was 9, and is 5"),
        (
            SequenceLR,
            dict(curves=[dict(type="Linear", start_factor=0, steps=3), dict(type="Exponential", gamma=0.8)]),
            dict(curves=[dict(type="Exponential", gamma=0.5)]),
            "curves of SequenceLR was",
        ),
        (ExponentialLR, dict(gamma=0.9, by="update"), dict(gamma=0.9), "by of ExponentialLR was 'update'"),
    )

    @pytest.mark.parametrize(("cls", "saved", "own", "said"), CASES)
    def test_a_schedule_goes_on_as_the_saved_one_would(self, cls, saved, own, said):
        first = sgd()
        whole = cls(first, **saved)
        for _ in range(3):
            first.step(), whole.step()
        state = copy.deepcopy((first.state_dict(), whole.state_dict()))
        second = sgd()
        schedule = cls(second, **own)
        second.load_state_dict(state[0])
        with pytest.warns(OptimzooWarning, match=said):
            schedule.load_state_dict(state[1])
        for _ in range(12):
            first.step(), whole.step(), second.step(), schedule.step()
            assert lr_of(second) == lr_of(first)
        assert schedule.state_dict() == whole.state_dict()

    @pytest.mark.parametrize(("cls", "saved", "own", "said"), CASES[:4])
    def test_the_same_arguments_are_loaded_without_a_word(self, cls, saved, own, said):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            schedule = cls(sgd(), **saved)
            schedule.load_state_dict(cls(sgd(), **saved).state_dict())

    def test_as_mmengine_does(self):
        found = []
        for module in (optimzoo.schedules, mmengine.optim):
            first, second = sgd(), sgd()
            saved = module.LinearLR(first, start_factor=0.1, end=8)
            other = module.LinearLR(second, start_factor=0.5, end=4)
            for _ in range(2):
                first.step(), saved.step()
            second.load_state_dict(first.state_dict())
            told = pytest.warns(OptimzooWarning) if module is optimzoo.schedules else contextlib.nullcontext()
            with told:
                other.load_state_dict(saved.state_dict())
            values = []
            for _ in range(7):
                second.step(), other.step()
                values.append(lr_of(second))
            found.append(values)
        assert found[0] == pytest.approx(found[1])

    def test_a_function_is_the_programs_own(self):
        saved = LambdaLR(sgd(), lambda step: 0.5**step, end=9).state_dict()
        optimizer = sgd()
        schedule = LambdaLR(optimizer, lambda step: 1 / (1 + step), end=20)
        with pytest.warns(OptimzooWarning, match="end of LambdaLR was 9, and is 20 in the program"):
            schedule.load_state_dict(saved)
        optimizer.step(), schedule.step()
        assert (lr_of(optimizer), schedule.end) == (0.5, 9)

    def test_arguments_that_make_no_schedule_are_refused_and_nothing_changes(self):
        schedule = LinearLR(sgd(), 0.5, end=9)
        state = schedule.state_dict()
        state["args"]["start_factor"] = -1
        with pytest.raises(CheckpointError, match="LinearLR cannot be restored: start_factor"):
            schedule.load_state_dict(state)
        assert schedule.start_factor == 0.5

    def test_a_group_of_schedules_still_asks(self):
        state = build_param_scheduler(sgd(), dict(type="LinearLR", end=8)).state_dict()
        with pytest.raises(CheckpointError, match="end of LinearLR was 8, and is 4"):
            build_param_scheduler(sgd(), dict(type="LinearLR", end=4)).load_state_dict(state)


class Without(torch.optim.Optimizer):
    """An optimizer that keeps its learning rate in the groups alone, or nowhere."""

    def __init__(self, groups, defaults=None):
        super().__init__(groups, defaults or {})

    def step(self, closure=None):
        return None


class TestWhereTheRateIs:
    def groups(self, *lrs):
        return [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs]

    @pytest.mark.parametrize("lrs", [(1.0,), (1.0, 0.5)])
    def test_a_rate_in_the_groups_alone_can_be_scheduled_and_asked_for(self, lrs):
        wrapper = OptimWrapper(Without(self.groups(*lrs)))
        schedule = build_param_scheduler(wrapper, dict(type="LinearLR", start_factor=0.5, end=3))
        assert wrapper.get_lr()["lr"] == [lr / 2 for lr in lrs]
        wrapper.optimizer.step()
        schedule[0].step()
        assert wrapper.get_lr()["lr"] == [lr * 0.75 for lr in lrs]

    def test_no_rate_at_all_names_the_optimizer(self):
        optimizer = Without([{"params": [nn.Parameter(torch.zeros(1))], "step_size": 0.1}])
        with pytest.raises(ConfigError, match="Without, has groups that have no 'lr' to schedule") as caught:
            LinearLR(optimizer)
        assert caught.value.path == "param_name"
        with pytest.raises(ConfigError, match="Without, has parameter groups without an 'lr'"):
            OptimWrapper(optimizer).get_lr()
        with pytest.raises(ConfigError, match="Without"):
            build_param_scheduler(OptimWrapper(optimizer), dict(type="LinearLR"))


BIASES = dict(custom_keys={"0.bias": dict(lr_mult=0.5, name="bias"), "2.bias": dict(lr_mult=0.5, name="bias")})
BIASES["custom_keys"]["1.bias"] = dict(name="norm")


class TestSomeGroups:
    def wrapper(self, **paramwise_cfg):
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
        cfg = dict(optimizer=dict(type="SGD", lr=1.0), paramwise_cfg=paramwise_cfg or BIASES)
        return build_optim_wrapper(model, cfg)

    def by_name(self, wrapper):
        return {name: g["lr"] for g in wrapper.optimizer.param_groups for name in g["param_names"]}

    @pytest.mark.parametrize("groups", ["bias", ["bi*"], r"re:[02]\.bias", ["0.bias", "2.bias"]])
    def test_only_the_groups_that_a_pattern_names_move(self, groups):
        wrapper = self.wrapper()
        schedule = build_param_scheduler(wrapper, dict(type="LinearLR", start_factor=0.1, end=3, groups=groups))
        assert self.by_name(wrapper) == pytest.approx(
            {"0.weight": 1, "0.bias": 0.05, "1.weight": 1, "1.bias": 1, "2.weight": 1, "2.bias": 0.05}
        )
        assert wrapper.get_lr()["base_lr"] == [1.0]
        assert schedule[0].base_values == [0.5]

    def test_yolos_bias_warm_up_falls_while_the_others_rise(self):
        wrapper = self.wrapper()
        cfg = [
            dict(type="LinearLR", start_factor=0.0, end=5, by_epoch=False, groups="*.weight"),
            dict(type="LinearLR", start_factor=10.0, end=5, by_epoch=False, groups=["0.bias", "2.bias"]),
        ]
        schedule = build_param_scheduler(wrapper, cfg)
        for _ in range(2):
            wrapper.optimizer.step()
            for each in schedule:
                each.step()
        found = self.by_name(wrapper)
        assert (found["0.weight"], found["1.bias"], found["2.bias"]) == pytest.approx((0.5, 1.0, 0.5 * 5.5))

    def test_a_part_of_a_group_is_refused_with_the_way_to_a_group_of_its_own(self):
        said = r"a part of group . .* is matched, and not '0.bias': .*custom_keys={'bias': dict\(name='bias'\)}"
        with pytest.raises(ConfigError, match=said):
            build_param_scheduler(self.wrapper(bias_lr_mult=1.0), dict(type="LinearLR", groups=["*.weight"]))
        wrapper = self.wrapper(custom_keys={"bias": dict(name="bias")})
        build_param_scheduler(wrapper, dict(type="LinearLR", start_factor=0.5, groups="*.bias"))
        assert sorted(self.by_name(wrapper).values()) == [0.5] * 3 + [1.0] * 3

    @pytest.mark.parametrize("key", ["name", "part"])
    def test_a_groups_name_or_part_counts_too(self, key):
        groups = [{"params": [nn.Parameter(torch.zeros(1))], key: title} for title in ("body", "head")]
        optimizer = torch.optim.SGD(groups, lr=1.0)
        LinearLR(optimizer, 0.5, end=3, groups="he*")
        assert [g["lr"] for g in optimizer.param_groups] == [1.0, 0.5]

    @pytest.mark.parametrize(
        ("groups", "said"),
        [
            ("*.bais", r"no parameter group matches '\*\.bais'. There are group 0 \(0.weight"),
            (["*.bias", "nothing"], "matches 'nothing'"),
            ([], "a pattern such as"),
            (3, "a pattern such as"),
            ("re:(", "no regular expression"),
        ],
    )
    def test_a_pattern_that_chooses_nothing_names_what_there_is(self, groups, said):
        with pytest.raises(ConfigError, match=said) as caught:
            build_param_scheduler(self.wrapper(), dict(type="LinearLR", groups=groups))
        assert caught.value.path.startswith("param_scheduler.groups")

    def test_the_course_is_shown_before_there_is_a_model(self):
        schedule = dict(type="LinearLR", start_factor=0.1, by_epoch=False, groups="*.bias")
        cfg = dict(optim_wrapper=dict(optimizer=dict(type="SGD", lr=1.0)), param_scheduler=schedule)
        (course,) = schedule_courses(cfg, max_iters=10)
        assert course.values == pytest.approx([0.1 * (t + 1) for t in range(10)])

    def test_groups_without_names_are_told_how_to_get_them(self):
        with pytest.raises(ConfigError, match="without names: build it from named_parameters"):
            LinearLR(sgd(), groups="*.bias")

    def test_a_group_that_comes_later_joins_if_it_is_named(self):
        weight, bias = (nn.Parameter(torch.zeros(1)) for _ in range(2))
        optimizer = torch.optim.SGD([{"params": [("0.bias", bias)]}], lr=1.0)
        schedule = LinearLR(optimizer, 0.5, end=3, groups="*.bias")
        for name, param, lr in (("1.weight", weight, 1.0), ("1.bias", nn.Parameter(torch.zeros(1)), 0.1)):
            optimizer.add_param_group({"params": [(name, param)], "lr": lr})
        optimizer.step()
        schedule.step()
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.75, 1.0, 0.075])

    @pytest.mark.parametrize("on_change", ["error", "config", "restore"])
    def test_they_resume(self, on_change):
        cfg = dict(type="LinearLR", start_factor=0.1, end=9, by_epoch=False, groups="*.bias")
        cfg = [dict(cfg, groups=["0.bias", "2.bias"]), dict(type="ExponentialLR", gamma=0.9, by_epoch=False)]

        def stepped(parts, steps):
            for _ in range(steps):
                parts[0].optimizer.step()
                for each in parts[1]:
                    each.step()
                parts[1].counts["iter"] += 1
            return [g["lr"] for g in parts[0].param_groups]

        def built(change=1):
            wrapper = self.wrapper()
            return wrapper, build_param_scheduler(wrapper, [dict(cfg[0], end=8 + change), cfg[1]])

        whole, first = built(), built()
        stepped(first, 4)
        second = built(change=5 if on_change == "restore" else 1)
        second[1].load_state_dict(first[1].state_dict(), on_change)
        second[0].load_state_dict(first[0].state_dict())
        assert stepped(second, 4) == pytest.approx(stepped(whole, 8))
