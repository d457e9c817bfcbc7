"""Hooks: named in a config, called in order, kept in checkpoints."""

import pytest
import torch

from optimzoo import HOOKS
from optimzoo.config.load import load_config
from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning, UnknownNameError
from optimzoo.run import Hook
from optimzoo.run.check import config_problems
from optimzoo.run.store.checkpoint import checkpoints_in

from .network import parameters
from .plugin import Stop, Tally


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


def test_the_config_of_a_run_with_hooks_can_be_run_again(make_runner, tmp_path):
    make_runner(hooks=[dict(type="EMAHook", decay=0.5)]).train()
    assert load_config(tmp_path / "run" / "config.yaml")["hooks"] == [{"type": "EMAHook", "decay": 0.5}]
