"""The folder of a run: nothing of an earlier one is lost, and one run at a time."""

import os
import random
import shutil
import signal

import pytest
import torch
from torch.utils.data import DataLoader

from optimzoo.errors import ConfigError
from optimzoo.run import Hook
from optimzoo.run.store.checkpoint import checkpoints_in

from .network import ADAMW, Interrupt, Noisy, dataset, fail, files, parameters
from .network import error as metric

VAL = dict(val_dataloader=dict(dataset=dataset(8), batch_size=8), metrics=metric)


class FailsAt(Hook):
    def __init__(self, event):
        setattr(self, event, lambda runner, *batch: fail(None, batch))


class TestWorkDir:
    def test_a_new_run_moves_the_earlier_one_aside_and_says_so(self, make_runner, tmp_path, capsys):
        make_runner().train()
        capsys.readouterr()
        make_runner(train_cfg=dict(max_epochs=1)).train()
        folder = tmp_path / "run"
        assert f"what an earlier run left in {folder} is now in {folder / 'previous-1'}" in capsys.readouterr().out
        assert [p.name for p in checkpoints_in(folder)] == ["checkpoint_00000005.pt"]
        assert len(checkpoints_in(folder / "previous-1")) == 2
        assert {"metrics.csv", "config.yaml", "curves.png"} <= {p.name for p in (folder / "previous-1").iterdir()}

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            (dict(loss=fail), RuntimeError),
            (dict(train_dataloader=[]), ConfigError),
            (dict(train_dataloader=[torch.zeros(4, 9)]), Exception),
            (dict(VAL, metrics=fail, checkpoint=dict(best="error")), RuntimeError),
            (dict(**VAL, checkpoint=dict(best="eror")), ConfigError),
            (dict(**VAL, param_scheduler=dict(type="ReduceOnPlateauLR", monitor="eror")), ConfigError),
            (dict(hooks=[FailsAt("before_train")]), RuntimeError),
            (dict(hooks=[FailsAt("before_epoch")]), RuntimeError),
            (dict(hooks=[FailsAt("before_iter")]), RuntimeError),
            (dict(loss=fail, resume=True, train_cfg=dict(max_epochs=4)), RuntimeError),
            (dict(loss=fail, resume="run/checkpoint_00000010.pt"), RuntimeError),
        ],
        ids=[*"abcdefghijk"],  # the same in each process
    )
    @pytest.mark.filterwarnings("ignore:the config differs")
    def test_an_attempt_that_fails_in_its_first_step_leaves_an_earlier_run_as_it_is(
        self, change, error, make_runner, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        make_runner().train()
        before = files(tmp_path / "run")
        for _ in range(2):
            with pytest.raises(error):
                make_runner(**change).train()
        assert files(tmp_path / "run") == before
        make_runner().train()
        assert [p.name for p in (tmp_path / "run").glob("previous-*")] == ["previous-1"]
        assert len(checkpoints_in(tmp_path / "run" / "previous-1")) == 2

    def test_one_that_fails_at_once_in_a_new_folder_leaves_nothing_there(self, make_runner, tmp_path):
        with pytest.raises(RuntimeError):
            make_runner(loss=fail).train()
        assert files(tmp_path / "run") == {}

    def test_the_records_of_a_run_outlive_its_checkpoints(self, make_runner, tmp_path):
        make_runner().train()
        make_runner().train()
        previous = tmp_path / "run" / "previous-1"
        rows = (previous / "metrics.csv").read_text()
        for path in checkpoints_in(previous):
            path.unlink()
        make_runner().train()
        assert (previous / "metrics.csv").read_text() == rows

    def test_a_mistake_in_the_config_leaves_an_earlier_run_where_it_is(self, make_runner, tmp_path):
        make_runner().train()
        before = files(tmp_path / "run")
        with pytest.raises(ConfigError):
            make_runner(param_scheduler=dict(type="LinerLR"))
        assert files(tmp_path / "run") == before

    @pytest.mark.parametrize("name", ["config.yaml", "metrics.csv", "curves.png", "checkpoint_10.pt"])
    def test_a_file_of_the_users_is_never_taken_for_one_of_a_run(self, name, make_runner, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / name).write_text("mine")
        with pytest.raises(ConfigError, match=f"{name} was not written by a run"):
            make_runner().train()
        assert files(tmp_path / "run") == {name: b"mine"}

    def test_two_runs_at_once_in_one_folder_are_refused(self, make_runner, tmp_path):
        class Second(Hook):
            def after_epoch(self, runner):
                with pytest.raises(ConfigError, match=f"another run .process {os.getpid()}. is writing to .*run"):
                    make_runner().train()

        make_runner(hooks=[Second()]).train()
        assert len(checkpoints_in(tmp_path / "run")) == 2
        make_runner().train()  # the first has let go

    def test_the_lock_of_a_dead_process_is_no_obstacle(self, run, make_runner, tmp_path):
        code = (
            "import os; from pathlib import Path; from optimzoo.run.store.work_dir import hold\n"
            f"with hold(Path({str(tmp_path / 'run')!r})): os._exit(1)"
        )
        run("-c", code, check=False)
        assert (tmp_path / "run" / ".lock").read_text()
        make_runner().train()

    def test_a_second_call_of_train_goes_on(self, make_runner, tmp_path):
        runner = make_runner(hooks=[Interrupt(dict(max_epochs=1))])
        with pytest.raises(KeyboardInterrupt):
            runner.train()
        runner.hooks = runner.hooks[1:]
        runner.train()
        assert [row["iter"] for row in runner.history.rows()] == list(range(1, 16))
        assert not (tmp_path / "run" / "previous-1").exists()

    @pytest.mark.parametrize("step", [7, 10, 12])
    def test_ctrl_c_and_another_call_of_train_equal_a_run_that_never_stopped(self, step, make_runner, tmp_path):
        class CtrlC(Hook):
            def after_iter(self, runner, outcome, logs):
                if runner.iter == step:
                    signal.raise_signal(signal.SIGINT)

        settings = dict(train_dataloader=DataLoader(Noisy(), batch_size=4, shuffle=True), optim_wrapper=ADAMW)
        straight = make_runner(work_dir=tmp_path / "straight", **settings)
        straight.train()
        runner = make_runner(hooks=[CtrlC()], **settings)
        with pytest.raises(KeyboardInterrupt):
            runner.train()
        torch.manual_seed(999)
        random.seed(999)
        runner.train()
        assert torch.equal(parameters(runner), parameters(straight))
        assert list(runner.history.rows()) == list(straight.history.rows())

    def test_what_a_crash_left_half_written_is_cleared(self, make_runner, tmp_path):
        make_runner().train()
        half = tmp_path / "run" / "checkpoint_00000020.partial"
        half.write_bytes(b"half")
        make_runner(resume=True).train()
        assert not half.exists()

    def test_a_copied_folder_can_be_resumed_from(self, make_runner, tmp_path):
        make_runner().train()
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        assert make_runner(work_dir=tmp_path / "copy", resume=True).iter == 15
