"""Hooks: named in a config, called in order, kept in checkpoints."""

import pytest
import torch

from optimzoo import HOOKS
from optimzoo.config.load import load_config
from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning, UnknownNameError
from optimzoo.run import EMAHook, Hook
from optimzoo.run.check import config_problems
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint, save_checkpoint

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


def test_a_hook_that_logs_several_numbers_as_one_is_named_and_no_row_is_lost(make_runner, tmp_path):
    class Pair(Hook):
        def after_iter(self, runner, outcome, logs):
            if runner.iter == 3:
                logs["pair"] = torch.zeros(2)

    with pytest.raises(ConfigError, match=r"^hooks: .*'pair' has the shape \(2,\)"):
        make_runner(hooks=[Pair()]).train()
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[1:]
    assert [row.partition(",")[0] for row in rows] == ["1", "2"]


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


def test_the_groups_are_logged_by_name_on_request(make_runner, capsys):
    """A group that joins during the run, too; the lines that are printed stay short."""

    class Unfreeze(Hook):
        def after_epoch(self, runner):
            if runner.epoch == 2:
                runner.optim_wrapper.optimizer.add_param_group({"params": [("extra", frozen)], "lr": 0.5})

    frozen = torch.nn.Parameter(torch.zeros(1))
    paramwise = dict(custom_keys={"3.": dict(lr_mult=0.1, decay_mult=2.0)})
    optim_wrapper = dict(optimizer=dict(type="AdamW", lr=0.1, weight_decay=0.5), paramwise_cfg=paramwise)
    schedule = dict(type="LinearLR", start_factor=0.5, end=10, by_epoch=False)
    settings = dict(optim_wrapper=optim_wrapper, param_scheduler=schedule)
    runner = make_runner(**settings, log_groups=True, hooks=[Unfreeze()])
    runner.train()
    lr, head = (dict(runner.history.column(name)) for name in ("lr", "lr[custom_keys['3.']]"))
    assert lr == dict(runner.history.column("lr[base]"))
    assert list(lr.values())[:2] == [0.05, pytest.approx(0.05 + 0.05 / 9)]
    assert head == {step: pytest.approx(0.1 * value) for step, value in lr.items()}
    assert {value for _, value in runner.history.column("weight_decay[custom_keys['3.']]")} == {1.0}
    assert [step for step, _ in runner.history.column("lr[base (extra)]")] == [11, 12, 13, 14, 15]
    assert "[" not in capsys.readouterr().out.partition("epoch 1/3")[2]
    (axis,) = (axis for axis in runner.plot().get_axes() if axis.get_ylabel() == "lr")
    assert {"lr, [base]", "lr[custom_keys['3.']]"} < {line.get_label() for line in axis.get_lines()}
    make_runner(**settings).train()
    assert not any("[" in column for column in make_runner(**settings, resume=True).history.columns)


def test_what_a_hook_adds_to_the_logs_is_logged(make_runner):
    class GradNorm(Hook):
        def after_iter(self, runner, outcome, logs):
            logs["grad_norm"] = runner.optim_wrapper.grad_norm

    clipped = dict(optimizer=dict(type="AdamW", lr=0.1), clip_grad=dict(max_norm=1.0))
    runner = make_runner(hooks=[GradNorm()], optim_wrapper=clipped)
    runner.train()
    assert len(runner.history.column("grad_norm")) == 15


@pytest.mark.parametrize("kept", [{}, {"optimzoo.run:EMAHook": []}])
def test_a_hook_of_which_the_checkpoint_has_nothing_says_that_it_begins_anew(kept, make_runner, tmp_path):
    make_runner(hooks=[EMAHook()]).train()
    path = sorted((tmp_path / "run").glob("checkpoint_*.pt"))[0]
    save_checkpoint({**load_checkpoint(path), "hooks": kept}, path)
    with pytest.warns(OptimzooWarning, match="EMAHook has nothing in the checkpoint: it begins anew"):
        make_runner(hooks=[EMAHook()], resume=path)


@pytest.mark.parametrize("hooks", [[], [Stop(99)], [Tally()]])
def test_a_state_that_no_hook_takes_is_told(hooks, make_runner):
    with pytest.raises(KeyboardInterrupt):
        make_runner(hooks=[Tally(), Tally(), Stop(7)]).train()
    with pytest.warns(OptimzooWarning, match="a state of Tally in the checkpoint is taken by no hook, and is dropped"):
        make_runner(hooks=hooks, resume=True)


def test_the_learning_rate_of_each_part_is_logged(make_runner):
    muon = dict(type="Muon", lr=0.02, rest=dict(type="AdamW", lr=0.004))
    schedule = dict(type="LinearLR", start_factor=0.5, end=3, by_epoch=False)
    runner = make_runner(optim_wrapper=dict(optimizer=muon), param_scheduler=schedule)
    runner.train()
    for column, rate in (("lr", 0.02), ("lr[Muon]", 0.02), ("lr[rest]", 0.004)):
        seen = [value for _, value in runner.history.column(column)]
        assert seen[:4] == [pytest.approx(rate * factor) for factor in (0.5, 0.75, 1, 1)]


class StopIn(Hook):
    """Asks for the end of the run in one of its methods, at a number of iterations."""

    def __init__(self, event, step):
        setattr(self, event, lambda runner, *_: setattr(runner, "should_stop", runner.iter >= step))


EPOCHS, ITERATIONS = dict(max_epochs=4), dict(by_epoch=False, max_iters=20, val_interval=4)


@pytest.mark.parametrize(
    ("event", "train_cfg", "step", "stopped", "validated"),
    [
        ("after_iter", EPOCHS, 7, 7, [5]),
        ("after_iter", EPOCHS, 10, 10, [5, 10]),
        ("before_iter", EPOCHS, 6, 7, [5]),
        ("after_epoch", EPOCHS, 6, 10, [5, 10]),
        ("after_val", EPOCHS, 6, 10, [5, 10]),
        ("after_iter", ITERATIONS, 7, 7, [4]),
        ("after_iter", ITERATIONS, 8, 8, [4, 8]),
        ("after_iter", ITERATIONS, 10, 10, [4, 8]),  # where an epoch ends
        ("after_epoch", ITERATIONS, 10, 10, [4, 8]),
        ("after_val", ITERATIONS, 5, 8, [4, 8]),
        ("before_train", EPOCHS, 0, 0, []),
    ],
)
def test_a_hook_ends_the_run_and_another_goes_on(
    event, train_cfg, step, stopped, validated, make_runner, val, tmp_path, capsys
):
    settings = {**val, "train_cfg": train_cfg}
    whole = make_runner(**settings, work_dir=tmp_path / "whole")
    whole.train()
    capsys.readouterr()
    runner = make_runner(**settings, hooks=[StopIn(event, step)])
    runner.train()
    assert (runner.iter, [at for at, _ in runner.history.column("val_loss")]) == (stopped, validated)
    assert f"stopped after step {stopped}, as a hook asked" in capsys.readouterr().out
    assert [load_checkpoint(path)["iter"] for path in checkpoints_in(runner.work_dir)[-1:]] == [stopped][
        : len(validated)
    ]
    ways = [lambda: make_runner(**settings, resume=True)] if validated else []
    for on in [*ways, lambda: runner]:
        goes_on = on()
        goes_on.hooks = [hook for hook in goes_on.hooks if not isinstance(hook, StopIn)]
        goes_on.train()
        assert torch.equal(parameters(goes_on), parameters(whole))
