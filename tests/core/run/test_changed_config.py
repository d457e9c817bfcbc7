"""A config that changed since the checkpoint: nothing about it is silent."""

import warnings

import pytest
import torch
from torch import nn

from optimzoo.errors import CheckpointError, ConfigError, OptimzooWarning
from optimzoo.run.store.changes import warn_of_changes
from optimzoo.run.store.checkpoint import checkpoints_in

from .network import SCHEDULES, dataset, files


class TakesAny(torch.optim.SGD):
    def __init__(self, params, power=1.0, **kwargs):
        super().__init__(params, **kwargs)
        self.power = power


class TestChangedConfig:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (dict(model=nn.Linear(3, 1)), "does not fit this config"),
            (dict(optim_wrapper=dict(optimizer=dict(type="SGD", lr=1.0))), "made with the optimizer .*AdamW.*SGD"),
            (dict(param_scheduler=dict(type="LinearLR")), "param.* schedule"),
        ],
    )
    def test_one_that_does_not_fit_is_refused_and_nothing_is_touched(self, change, said, make_runner, tmp_path):
        make_runner().train()
        before = files(tmp_path / "run")
        with pytest.raises(CheckpointError, match=said):
            make_runner(resume=True, **change)
        assert files(tmp_path / "run") == before

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                dict(optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.5))),
                r"optim_wrapper\.optimizer\.lr stays 0\.01 \(0\.5 in the config\)$",
            ),
            (
                dict(optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.01), clip_grad=dict(max_norm=1.0))),
                r"optim_wrapper\.clip_grad is .*max_norm.* \(was unset\)$",
            ),
            (dict(randomness=dict(seed=2)), r"randomness\.seed stays 1 \(2 in the config\)$"),
            (
                dict(train_dataloader=dict(dataset=dataset(), batch_size=5)),
                r"train_dataloader is .*batch_size.* \(was <torch.*DataLoader object>\)$",
            ),
        ],
    )
    def test_what_differs_is_named_with_what_becomes_of_it(self, change, said, make_runner):
        make_runner().train()
        with pytest.warns(OptimzooWarning, match=said):
            runner = make_runner(resume=True, **change)
        assert runner.optim_wrapper.get_lr()["lr"] == [0.01]
        assert runner.seed == 1

    def test_the_class_of_an_optimizer_is_the_configs_whatever_a_checkpoint_says(self, make_runner, tmp_path):
        make_runner().train()
        path = checkpoints_in(tmp_path / "run")[-1]
        state = torch.load(path)
        state["config"]["optim_wrapper"] = dict(optimizer=dict(type="colorsys:Other", lr=0.5))
        torch.save(state, path)
        said = r"optimizer\.type is AdamW \(was colorsys:Other\).*optimizer\.lr stays 0\.5"
        with pytest.warns(OptimzooWarning, match=said):
            make_runner(resume=True, optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.01)))

    def test_of_several_optimizers_too_the_settings_of_the_groups_stay(self):
        old, new = ({"optim_wrapper": {"head": {"optimizer": {"type": "SGD", "lr": lr}}}} for lr in (0.1, 0.2))
        with pytest.warns(OptimzooWarning, match=r"optim_wrapper\.head\.optimizer\.lr stays 0\.1 \(0\.2 in the"):
            warn_of_changes(old, new, None, "error", {"lr"})

    def test_of_many_differences_some_are_told_and_the_others_counted(self):
        with pytest.warns(OptimzooWarning, match=r"a19 is 0 \(was unset\); and 9980 more$") as caught:
            warn_of_changes({}, {f"a{n}": 0 for n in range(10_000)}, None, "error", ())
        assert len(str(caught[0].message)) < 1000

    def test_on_change_config_takes_the_settings_of_the_groups_from_the_config(self, make_runner):
        make_runner().train()
        with pytest.warns(OptimzooWarning, match=r"optimizer\.lr is 0\.5 \(was 0\.01\)"):
            runner = make_runner(
                resume=True, on_change="config", optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.5))
            )
        assert runner.optim_wrapper.get_lr()["lr"] == [0.5]
        assert runner.optim_wrapper.optimizer.state  # the moments are the checkpoint's

    @pytest.mark.parametrize(
        "optimizer",
        [
            lambda lr: dict(type="Muon", lr=lr, weight_decay=lr, rest=dict(type="AdamW", lr=2 * lr, weight_decay=lr)),
            lambda lr: dict(type=TakesAny, lr=lr, weight_decay=lr, momentum=lr),
        ],
        ids=["parts", "keywords"],
    )
    @pytest.mark.parametrize("schedule", [None, dict(type="LinearLR", start_factor=0.5, by_epoch=False, end=15)])
    @pytest.mark.filterwarnings("ignore:the config differs")
    def test_on_change_config_is_as_a_run_with_that_config(self, optimizer, schedule, make_runner, tmp_path):
        def settings(lr, **how):
            runner = make_runner(optim_wrapper=dict(optimizer=optimizer(lr)), param_scheduler=schedule, **how)
            runner.train()
            groups = runner.optim_wrapper.optimizer.param_groups
            return [{k: float(v) for k, v in g.items() if k in ("lr", "weight_decay", "momentum")} for g in groups]

        settings(0.01)
        longer = dict(train_cfg=dict(max_epochs=4))
        resumed = settings(0.03, resume=True, on_change="config", **longer)
        straight = settings(0.03, work_dir=tmp_path / "straight", **longer)
        assert [each == pytest.approx(other) for each, other in zip(resumed, straight)] == [True] * len(straight)

    def test_an_argument_that_no_group_has_is_the_configs(self, make_runner):
        make_runner(optim_wrapper=dict(optimizer=dict(type=TakesAny, lr=0.01, power=1.0))).train()
        with pytest.warns(OptimzooWarning, match=r"optimizer\.power is 5\.0 \(was 1\.0\)$"):
            runner = make_runner(resume=True, optim_wrapper=dict(optimizer=dict(type=TakesAny, lr=0.01, power=5.0)))
        assert runner.optim_wrapper.optimizer.power == 5

    @pytest.mark.filterwarnings("ignore:the config differs")
    def test_a_setting_for_which_the_state_has_nothing_is_refused_before_the_first_step(self, make_runner):
        make_runner().train()
        other = dict(optimizer=dict(type="AdamW", lr=0.01, amsgrad=True))
        with pytest.raises(CheckpointError, match=r"lacks 'max_exp_avg_sq', which AdamW keeps"):
            make_runner(optim_wrapper=other, resume=True, on_change="config")

    @pytest.mark.parametrize("same_lr", [True, False])
    def test_a_longer_run_asks_what_becomes_of_its_schedule(self, same_lr, make_runner, tmp_path):
        cosine = dict(param_scheduler=dict(type="CosineAnnealingLR", by_epoch=False))
        lr = dict(optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.01 if same_lr else 0.03)))
        make_runner(**cosine).train()
        longer = dict(train_cfg=dict(max_epochs=4), **cosine)
        with pytest.raises(CheckpointError, match="the schedules are not those of the checkpoint.*'restore'.*'config'"):
            make_runner(resume=True, **longer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if not same_lr else "error", OptimzooWarning)
            runner = make_runner(resume=True, on_change="config", **longer, **lr)
        runner.train()
        straight = make_runner(work_dir=tmp_path / "straight", **longer, **lr)
        straight.train()
        rates = [[lr for _, lr in each.history.column("lr")[15:]] for each in (runner, straight)]
        assert rates[0] == pytest.approx(rates[1])

    def test_restore_keeps_the_schedule_of_the_checkpoint(self, make_runner):
        make_runner(param_scheduler=dict(type="ConstantLR", factor=0.5, end=20, by_epoch=False)).train()
        other = dict(type="ConstantLR", factor=0.1, end=20, by_epoch=False)
        with pytest.warns(OptimzooWarning, match=r"param_scheduler\.factor stays 0\.5 \(0\.1 in the config\)"):
            runner = make_runner(param_scheduler=other, resume=True, on_change="restore", train_cfg=dict(max_epochs=4))
        runner.train()
        assert runner.history.column("lr")[-2] == (19, 0.005)

    def test_on_change_config_sets_an_unchanged_schedule_to_the_new_learning_rate(self, make_runner):
        schedule = dict(param_scheduler=dict(type="ConstantLR", factor=0.5, end=20, by_epoch=False))
        make_runner(**schedule).train()
        with pytest.warns(OptimzooWarning, match=r"optimizer\.lr is 0\.4 \(was 0\.01\)"):
            runner = make_runner(
                resume=True, on_change="config", optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.4)), **schedule
            )
        assert runner.optim_wrapper.get_lr()["lr"] == [0.2]

    def test_the_same_config_is_no_news(self, make_runner):
        make_runner(train_dataloader=dict(dataset=dataset(), batch_size=5), param_scheduler=SCHEDULES).train()
        loader = dict(dataset=dataset(), batch_size=5)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            resumed = make_runner(resume=True, train_dataloader=loader, param_scheduler=SCHEDULES)
        assert resumed.iter > 0
        assert not [str(each.message) for each in told if issubclass(each.category, OptimzooWarning)]

    def test_an_unknown_choice_is_an_error(self, make_runner):
        with pytest.raises(ConfigError, match="^on_change: 'error' or 'restore' or 'config' is wanted"):
            make_runner(on_change="confg")
