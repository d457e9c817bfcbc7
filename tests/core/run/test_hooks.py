"""Hooks: named in a config, kept in checkpoints; the best checkpoint, averages, modes, and schedules on a metric."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from optimzoo import HOOKS, hookimpl
from optimzoo.config.load import load_config
from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning, UnknownNameError
from optimzoo.names.zoo import plugins
from optimzoo.run import EMAHook, Hook
from optimzoo.run.check import config_problems
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint

from ...faults.helpers import same
from .conftest import dataset, error, parameters

ACCUMULATING = dict(optimizer=dict(type="AdamW", lr=0.01), accumulative_counts=2)
AVERAGING = dict(optimizer=dict(type="Averaging", lr=0.05))
PLATEAU = dict(type="ReduceOnPlateauLR", monitor="grade", rule="greater", patience=0, factor=0.5)


class Tally(Hook):
    """Counts iterations, in checkpoints too."""

    def __init__(self, start: int = 0):
        self.count = start

    def after_iter(self, runner, outcome, logs):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


class Stop(Hook):
    def __init__(self, step: int):
        self.step = step

    def after_iter(self, runner, outcome, logs):
        if runner.iter == self.step:
            raise KeyboardInterrupt


@pytest.fixture
def val():
    return dict(val_dataloader=dict(dataset=dataset(8), batch_size=8), metrics=error)


class Averaging(torch.optim.SGD):
    """Trains y, halfway between the descent z and its average x, as schedule-free does; x is what to use."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        for group in self.param_groups:
            group.update(training=False, steps=0)

    def _mixed(self, training):
        for group in self.param_groups:
            if group["training"] is not training:
                group["training"] = training
                for p in (p for p in group["params"] if p in self.state):
                    z = self.state[p]["z"]
                    p.data.copy_(p.lerp(z, 0.3) if training else p.lerp(z, -0.3 / 0.7))

    def train(self):
        self._mixed(True)

    def eval(self):
        self._mixed(False)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            assert group["training"]
            group["steps"] += 1
            for p in (p for p in group["params"] if p.grad is not None):
                z = self.state[p].setdefault("z", p.clone())
                x = p.lerp(z, -0.3 / 0.7)
                z.sub_(p.grad, alpha=group["lr"])
                p.copy_(x.lerp(z, 1 / group["steps"]).lerp(z, 0.3))


class Plugin:
    @hookimpl
    def optimzoo_register(self, zoo):
        zoo.hook("Tally", Tally, about="Counts")
        zoo.optimizer("Averaging", Averaging, needs=["modes"])


@pytest.fixture
def _plugin():
    assert plugins.add(Plugin(), "hooked").status == "loaded"
    yield
    plugins.remove("hooked")


@pytest.mark.usefixtures("_plugin")
class TestNames:
    def test_a_plugin_names_hooks_for_the_config(self, make_runner):
        assert HOOKS.get("Tally") is Tally
        runner = make_runner(hooks=[dict(type="hooked.Tally", start=5)])
        runner.train()
        assert runner.hooks[0].count == 20

    def test_they_are_listed_with_the_other_names(self, optimzoo):
        assert "EMAHook" in optimzoo("list", "--kind", "hook").stdout

    def test_every_wrong_one_is_found_by_check(self):
        cfg = dict(hooks=[dict(type="Taly"), dict(type="Tally", begin=1), 3, dict(type="torch.nn:Linear")])
        problems = {p.path: str(p) for p in config_problems(cfg) if p.path.startswith("hooks")}
        assert list(problems) == ["hooks[0].type", "hooks[1].begin", "hooks[2]", "hooks[3].type"]
        assert "Did you mean 'Tally'" in problems["hooks[0].type"]
        assert "must be a subclass of optimzoo.run.Hook" in problems["hooks[3].type"]
        assert [str(p) for p in config_problems(dict(hooks=3)) if p.path == "hooks"]

    def test_the_runner_says_so_too(self, make_runner):
        with pytest.raises(UnknownNameError, match=r"^hooks\[0\]\.type: there is no hook 'EMA'"):
            make_runner(hooks=[dict(type="EMA")])
        with pytest.raises(ConfigError, match=r"^hooks\[0\]\.decay: .* below 1 is wanted"):
            make_runner(hooks=[dict(type="EMAHook", decay=1)])


def test_what_a_hook_keeps_is_in_the_checkpoint(make_runner):
    with pytest.raises(KeyboardInterrupt):
        make_runner(hooks=[Tally(), Tally(100), Stop(7)]).train()
    first, second, new = Tally(), Tally(), Tally()
    make_runner(hooks=[first, second, new], resume=True).train()
    assert (first.count, second.count, new.count) == (15, 115, 10)


def test_hooks_see_every_batch_and_every_checkpoint(make_runner, tmp_path):
    seen = []

    class See(Hook):
        def before_iter(self, runner, batch):
            seen.append((runner.iter, len(batch[0])))

        def before_checkpoint(self, runner):
            seen.append(len(checkpoints_in(runner.work_dir)))

        def after_checkpoint(self, runner, path):
            seen.append(path)

    make_runner(hooks=[See()], train_cfg=dict(max_epochs=1)).train()
    assert seen == [*((step, 4) for step in range(5)), 0, tmp_path / "run" / "checkpoint_00000005.pt"]


def test_an_error_reaches_the_user_though_a_hook_fails_over_it(make_runner):
    class Faulty(Hook):
        def after_iter(self, runner, outcome, logs):
            raise KeyError("the cause")

        def on_exception(self, runner, error):
            raise OSError("another")

    told = []

    class Told(Hook):
        def on_exception(self, runner, error):
            told.append(error)

    with (
        pytest.raises(KeyError, match="the cause"),
        pytest.warns(OptimzooWarning, match="Faulty.on_exception failed: "),
    ):
        make_runner(hooks=[Faulty(), Told()]).train()
    assert len(told) == 1


class TestBest:
    @pytest.mark.parametrize(
        ("cfg", "value", "epochs"),
        [
            (dict(best="val_grade"), 3.0, 3),
            (dict(best="grade", rule="less"), 1.0, 1),
            (dict(best="val_error"), 1.0, 2),
            (dict(best="val_error", rule="greater"), 5.0, 1),
        ],
    )
    def test_it_is_the_checkpoint_of_the_best_validation(self, cfg, value, epochs, make_runner, tmp_path, val):
        measured = iter([{"grade": 1, "error": 5}, {"grade": 2, "error": 1}, {"grade": 3, "error": float("nan")}])
        runner = make_runner(**{**val, "metrics": lambda model, batch: next(measured)}, checkpoint=cfg)
        runner.train()
        best = load_checkpoint(tmp_path / "run" / "best.pt")
        assert best["epoch"] == epochs
        assert runner.hooks[-1].best_value == value

    def test_the_best_value_outlives_a_resume(self, make_runner, tmp_path, val):
        grades = iter([9, 1, 2, 3])
        settings = {**val, "metrics": lambda model, batch: {"grade": next(grades)}, "checkpoint": dict(best="grade")}
        make_runner(**settings).train()
        make_runner(**settings, resume=True, train_cfg=dict(max_epochs=4)).train()
        assert load_checkpoint(tmp_path / "run" / "best.pt")["epoch"] == 1

    def test_a_run_can_be_resumed_from_it(self, make_runner, tmp_path, val):
        settings = {**val, "checkpoint": dict(best="error", rule="greater")}
        straight = make_runner(**settings)
        straight.train()
        rows = list(straight.history.rows())
        best = tmp_path / "run" / "best.pt"
        assert load_checkpoint(best)["epoch"] < 3
        resumed = make_runner(**settings, resume=best, work_dir=tmp_path / "again")
        assert 0 < resumed.iter < 15
        resumed.history.load(tmp_path / "run" / "metrics.csv", 0)
        resumed.train()
        assert torch.equal(parameters(resumed), parameters(straight))
        assert list(resumed.history.rows()) == rows

    def test_a_run_that_is_resumed_from_it_keeps_it_and_the_log_up_to_it(self, make_runner, tmp_path, val):
        grades = iter([9, 1, 2, 3, 4])
        settings = {**val, "metrics": lambda model, batch: {"grade": next(grades)}, "checkpoint": dict(best="grade")}
        make_runner(**settings).train()
        best = tmp_path / "run" / "best.pt"
        resumed = make_runner(**settings, resume=best)
        resumed.train()
        assert load_checkpoint(best)["epoch"] == 1
        assert [value for _, value in resumed.history.column("val_grade")] == [9, 3, 4]
        left = {path.name for path in (tmp_path / "run" / "previous-1").glob("*.pt")}
        assert left == {"best.pt", "checkpoint_00000010.pt", "checkpoint_00000015.pt"}

    def test_a_later_run_moves_it_aside(self, make_runner, tmp_path, val):
        make_runner(**val, checkpoint=dict(best="error")).train()
        saved = (tmp_path / "run" / "best.pt").read_bytes()
        make_runner().train()
        assert (tmp_path / "run" / "previous-1" / "best.pt").read_bytes() == saved

    def test_a_metric_that_is_none_is_named_with_those_there_are(self, make_runner, val):
        with pytest.raises(ConfigError, match=r"^checkpoint\.best: .*no 'val_eror'; it has val_loss, val_error\. Did"):
            make_runner(**val, checkpoint=dict(best="eror")).train()

    def test_without_validation_it_is_an_error(self, make_runner):
        with pytest.raises(ConfigError, match=r"^checkpoint\.best: it watches a metric, and there is no val_data"):
            make_runner(checkpoint=dict(best="loss"))


class TestSave:
    def test_a_hook_may_save_where_a_run_can_go_on(self, make_runner, tmp_path):
        class Keep(Hook):
            def checkpoint_due(self, runner):
                if runner.epoch == 2:
                    runner.save(tmp_path / "kept.pt")

        straight = make_runner(hooks=[Keep()])
        straight.train()
        straight.save(tmp_path / "end.pt")
        resumed = make_runner(resume=tmp_path / "kept.pt", work_dir=tmp_path / "again")
        resumed.train()
        assert torch.equal(parameters(resumed), parameters(straight))

    @pytest.mark.parametrize("event", ["before_iter", "after_iter", "after_epoch", "after_val"])
    def test_elsewhere_it_is_told_so(self, event, make_runner, val):
        early = type("Early", (Hook,), {event: lambda self, runner, *_: runner.save("x.pt")})
        with pytest.raises(OptimzooError, match=rf"Early.{event} cannot save .* save in checkpoint_due"):
            make_runner(hooks=[early()], **val).train()

    def test_nor_when_an_error_has_cut_an_iteration_short(self, make_runner, tmp_path):
        class Late(Hook):
            def after_iter(self, runner, outcome, logs):
                raise ZeroDivisionError

            def on_exception(self, runner, error):
                runner.save(tmp_path / "late.pt")

        with pytest.raises(ZeroDivisionError), pytest.warns(OptimzooWarning, match="Late.on_exception cannot save"):
            make_runner(hooks=[Late()]).train()
        assert not (tmp_path / "late.pt").exists()


class TestEMA:
    def test_before_training_there_is_no_average_but_that_of_a_checkpoint(self, make_runner, tmp_path, val):
        runner = make_runner(hooks=[EMAHook()], **val)
        first = runner.val()
        with torch.no_grad():
            for parameter in runner.model.parameters():
                parameter.add_(1.0)
        assert runner.val() != first
        runner.train()
        checkpoint = checkpoints_in(tmp_path / "run")[-1]
        again = make_runner(hooks=[EMAHook()], **val, work_dir=tmp_path / "again", resume=checkpoint)
        again.save(tmp_path / "copy.pt")
        assert same(load_checkpoint(tmp_path / "copy.pt")["hooks"], load_checkpoint(checkpoint)["hooks"])

    def test_it_averages_the_updates_and_validates_the_average(self, make_runner, val):
        twins, measured = [], []

        class Twin(Hook):
            def before_train(self, runner):
                twins.append(AveragedModel(runner.model, multi_avg_fn=get_ema_multi_avg_fn(0.5)))

            def after_iter(self, runner, outcome, logs):
                if runner.iter % 2 == 0 or runner.iter == 15:
                    twins[0].update_parameters(runner.model)

            def after_val(self, runner, metrics):
                measured.append(metrics["error"])

        data = next(iter(torch.utils.data.DataLoader(dataset(8), batch_size=8)))
        expected = []

        class Measure(Hook):
            def before_val(self, runner):
                expected.append(error(copy.deepcopy(twins[0].module).eval(), data)["error"].item())

        ema = EMAHook(0.5)
        runner = make_runner(**val, hooks=[Twin(), Measure(), ema], optim_wrapper=ACCUMULATING)
        runner.train()
        assert measured == expected
        assert same(ema.averaged.state_dict(), twins[0].state_dict())
        assert not torch.equal(parameters(runner), nn.utils.parameters_to_vector(ema.averaged.parameters()))

    def test_it_does_not_change_the_training_and_resumes_bit_equal(self, make_runner, tmp_path, val):
        plain = make_runner(**val, work_dir=tmp_path / "plain", optim_wrapper=ACCUMULATING)
        plain.train()
        straight = EMAHook(0.9)
        make_runner(**val, work_dir=tmp_path / "straight", hooks=[straight], optim_wrapper=ACCUMULATING).train()
        with pytest.raises(KeyboardInterrupt):
            make_runner(**val, hooks=[EMAHook(0.9), Stop(8)], optim_wrapper=ACCUMULATING).train()
        resumed = make_runner(**val, hooks=[dict(type="EMAHook", decay=0.9)], resume=True, optim_wrapper=ACCUMULATING)
        resumed.train()
        assert torch.equal(parameters(resumed), parameters(plain))
        assert same(resumed.hooks[0].averaged.state_dict(), straight.averaged.state_dict())
        saved = load_checkpoint(checkpoints_in(tmp_path / "run")[-1])["hooks"]["optimzoo.run.hooks.ema:EMAHook"][0]
        assert same(saved, dict(straight.averaged.state_dict()))

    def test_several_averages_are_kept_apart(self, make_runner, val):
        plain = make_runner(**val)
        plain.train()
        averages = EMAHook(0.5), EMAHook(0.9)
        alone = EMAHook(0.9)
        runner = make_runner(**val, hooks=averages)
        runner.train()
        make_runner(**val, hooks=[alone]).train()
        assert torch.equal(parameters(runner), parameters(plain))
        assert same(averages[1].averaged.state_dict(), alone.averaged.state_dict())

    def test_an_evaluation_by_hand_is_of_the_average_too(self, make_runner, val):
        runner = make_runner(**val, hooks=[EMAHook(0.9)])
        runner.train()
        logged = runner.history.column("val_error")[-1][1]
        assert runner.val()["error"] == logged
        assert make_runner(**val, hooks=[EMAHook(0.9)], resume=True).val()["error"] == logged

    def test_a_validation_that_fails_leaves_the_trained_weights(self, make_runner, val):
        straight = make_runner(**val, train_cfg=dict(max_epochs=1))
        straight.train()
        settings = {**val, "metrics": lambda model, batch: {"error": 1 / 0}}
        runner = make_runner(**settings, hooks=[EMAHook(0.5)])
        with pytest.raises(ZeroDivisionError):
            runner.train()
        assert torch.equal(parameters(runner), parameters(straight))


@pytest.mark.usefixtures("_plugin")
class TestModes:
    def test_validation_and_checkpoints_use_the_parameters_to_use(self, make_runner, tmp_path, val):
        used = []

        def record(model, batch):
            used.append(nn.utils.parameters_to_vector(model.parameters()).clone())
            return {}

        trained = []

        class Look(Hook):
            def before_val(self, runner):
                trained.append(parameters(runner))

            def after_val(self, runner, metrics):
                assert torch.equal(trained[-1], parameters(runner))

        settings = {**val, "metrics": [error, record]}
        runner = make_runner(**settings, optim_wrapper=AVERAGING, hooks=[Look()])
        returned = runner.train()
        assert not torch.equal(used[-1], trained[-1])
        saved = load_checkpoint(checkpoints_in(tmp_path / "run")[-1])
        for state in (saved["model"], returned.state_dict()):
            assert torch.equal(torch.cat([value.flatten() for value in state.values()]), used[-1])
        assert runner.val()["error"] == runner.history.column("val_error")[-1][1]

    def test_a_resumed_run_equals_one_that_never_stopped(self, make_runner, tmp_path, val):
        straight = make_runner(**val, work_dir=tmp_path / "straight", optim_wrapper=AVERAGING)
        straight.train()
        with pytest.raises(KeyboardInterrupt):
            make_runner(**val, hooks=[Stop(8)], optim_wrapper=AVERAGING).train()
        resumed = make_runner(**val, resume=True, optim_wrapper=AVERAGING)
        assert resumed.val()["error"] == straight.history.column("val_error")[0][1]
        resumed.train()
        assert torch.equal(parameters(resumed), parameters(straight))

    def test_two_averages_are_one_too_many(self, make_runner):
        with pytest.raises(ConfigError, match="Averaging does so too"):
            make_runner(optim_wrapper=AVERAGING, hooks=[EMAHook()]).train()


class TestPlateau:
    def test_a_schedule_on_a_metric_is_fed_by_the_validations(self, make_runner, val):
        grades = iter([1, 2, 2, 3, 1])
        settings = {**val, "metrics": lambda model, batch: {"grade": next(grades)}}
        runner = make_runner(**settings, param_scheduler=PLATEAU, train_cfg=dict(max_epochs=5))
        runner.train()
        rates = [lr for _, lr in runner.history.column("lr")][::5]
        assert rates == [0.01, 0.01, 0.01, 0.005, 0.005]

    def test_it_goes_on_after_a_resume(self, make_runner, val):
        settings = {**val, "metrics": lambda model, batch: {"grade": 1}, "param_scheduler": PLATEAU}
        with pytest.raises(KeyboardInterrupt):
            make_runner(**settings, hooks=[Stop(12)], train_cfg=dict(max_epochs=4)).train()
        runner = make_runner(**settings, resume=True, train_cfg=dict(max_epochs=4))
        runner.train()
        assert [lr for _, lr in runner.history.column("lr")][::5] == [0.01, 0.01, 0.005, 0.0025]

    def test_without_validation_it_is_an_error(self, make_runner):
        with pytest.raises(ConfigError, match=r"^param_scheduler\[0\]: it watches a metric"):
            make_runner(param_scheduler=[PLATEAU])


def test_the_config_of_a_run_with_hooks_can_be_run_again(make_runner, tmp_path):
    make_runner(hooks=[dict(type="EMAHook", decay=0.5)]).train()
    assert load_config(tmp_path / "run" / "config.yaml")["hooks"] == [{"type": "EMAHook", "decay": 0.5}]
