import os
import re
import shutil
import subprocess
import sys

import pytest
from tests.conftest import REPO
from tests.core.named import PLUGIN

CONFIG = """
loss = "task:loss"
metrics = "task:error"
randomness = {seed = 0}
train_cfg = {max_epochs = 2}
model = {type = "torch.nn:Linear", in_features = 3, out_features = 1}
train_dataloader = {batch_size = 4, shuffle = true, dataset = {type = "task:data"}}
val_dataloader = {batch_size = 4, dataset = {type = "task:data"}}
param_scheduler = [{type = "LinearLR", by_epoch = false, end = 4}]
[optim_wrapper]
optimizer = {type = "AdamW", lr = 1e-2}
paramwise_cfg = {bias_decay_mult = 0.0}
"""
TASK = """
import torch
from torch.utils.data import TensorDataset

def data() -> TensorDataset:
    x = torch.linspace(-1, 1, 60).reshape(20, 3)
    return TensorDataset(x, x.sum(1, keepdim=True))

def loss(model, batch):
    return (model(batch[0]) - batch[1]).square().mean()

def faulty(model, batch):
    return batch['x']

def square(model, batch):
    return model(batch[0]).square().mean()

def error(model, batch):
    return {"error": (model(batch[0]) - batch[1]).abs().mean()}
"""


@pytest.fixture
def config(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "task.py").write_text(TASK)
    path = folder / "task.toml"
    path.write_text(CONFIG)
    return path


class TestTrain:
    def test_it_trains_and_leaves_its_results_in_runs_under_the_name_of_the_config(self, optimzoo, config, tmp_path):
        done = optimzoo("train", config)
        assert "AdamW: 2 parameter groups" in done.stdout
        assert "bias_decay_mult" in done.stdout
        assert re.search(r"epoch 2/2  mean loss \S+  lr 0\.01  val_loss \S+  val_error \S+", done.stdout)
        assert re.search(r"^trained +epoch 2 of 2, \d+ iterations", done.stdout, re.M)
        assert re.search(r"^last loss +\d", done.stdout, re.M)
        assert re.search(r"^val_loss +\d", done.stdout, re.M)
        assert re.search(r"^results +runs/task: curves.png, metrics.csv, config.yaml, checkpoint_", done.stdout, re.M)
        assert (tmp_path / "runs" / "task" / "curves.png").stat().st_size > 1000

    def test_any_key_is_changed_by_set_and_the_folder_by_work_dir(self, optimzoo, config, tmp_path):
        changes = ("--set", "optim_wrapper.optimizer.type=AdamW8bit", "--set", "train_cfg.max_epochs=1")
        done = optimzoo("train", config, *changes, "--work-dir", tmp_path / "elsewhere")
        assert "AdamW8bit: 2 parameter groups" in done.stdout
        assert "epoch 1/1" in done.stdout
        assert "type: AdamW8bit" in (tmp_path / "elsewhere" / "config.yaml").read_text()

    def test_the_config_that_a_run_leaves_can_be_trained_again(self, optimzoo, config, tmp_path):
        first = optimzoo("train", config).stdout
        left = tmp_path / "runs" / "task" / "config.yaml"
        refused = optimzoo("train", left, "--work-dir", "again", check=False).stderr
        assert refused.startswith("error: code_dir: ")
        assert f"--code-dir '{config.parent}'" in refused
        again = optimzoo("train", left, "--work-dir", "again", "--code-dir", config.parent).stdout
        assert re.findall("^val_.*", first, re.M) == re.findall("^val_.*", again, re.M) != []

    def test_it_resumes(self, optimzoo, config):
        optimzoo("train", config)
        done = optimzoo("train", config, "--resume", "--set", "train_cfg.max_epochs=3")
        assert "resumed after step 10 (epochs done: 2)" in done.stdout
        assert "epoch 3/3" in done.stdout
        assert "epoch 2/3" not in done.stdout

    def test_there_being_nothing_to_resume_from_is_said(self, optimzoo, config):
        done = optimzoo("train", config, "--resume", check=False)
        assert (done.returncode, "no checkpoint in runs/task to resume from" in done.stderr) == (1, True)

    def test_a_python_config_is_said_to_be_run_and_may_hold_helpers(self, optimzoo, config):
        path = config.with_name("run.py")
        path.write_text(
            "base_lr = 1e-2\nmodel = dict(type='torch.nn:Linear', in_features=3, out_features=1)\n"
            "train_dataloader = dict(batch_size=4, dataset=dict(type='task:data'))\nloss = 'task:loss'\n"
            "train_cfg = dict(max_epochs=1)\noptim_wrapper = dict(optimizer=dict(type='SGD', lr=base_lr))\n"
        )
        done = optimzoo("train", path)
        assert "run.py is a Python config: it is being run as a program" in done.stderr
        path.write_text(path.read_text().replace("loss = 'task:loss'", "from task import loss\nlosses = metric = []"))
        checked = optimzoo("check", path)
        assert checked.stderr.splitlines()[1:] == [
            "warning: metric: there is no such key; it is taken for a helper. Did you mean 'metrics'?"
        ]

    def test_keys_of_mmengine_in_a_python_config_are_told(self, optimzoo, config):
        path = config.with_name("other.py")
        path.write_text(
            "from optimzoo import load_config\n"
            "globals().update(load_config(__file__.replace('other.py', 'task.toml')))\n"
            "load_from, visualizer = None, dict()\ncustom_hooks = [dict(type='EMAHook')]\nlr_config = dict()\n"
        )
        told = optimzoo("check", path).stderr
        assert "custom_hooks: there is no such key, and it is left out. Here hooks are listed under 'hooks'." in told
        assert "visualizer: " in told
        assert "lr_config: there is no such key, and it is left out. Here schedules are listed under" in told
        assert "load_from" not in told

    def test_a_file_gets_plain_lines_and_a_terminal_the_same_after_a_bar(self, config, tmp_path):
        unmatched = "optim_wrapper.paramwise_cfg.custom_keys={nothing={lr_mult=2}}"
        arguments = ["train", str(config), "--set", unmatched, "--set", "train_cfg.max_epochs=4"]
        with (tmp_path / "log.txt").open("wb") as log:
            streams, wide = dict(stdout=log, stderr=log), _environment(COLUMNS="80")
            subprocess.run(_command(arguments), **streams, cwd=tmp_path, env=wide, check=True)
        written = (tmp_path / "log.txt").read_bytes().decode()
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", written)
        assert all(said in written for said in ("warning: ", "epoch 1/4", "epoch 4/4"))
        for term in ("xterm-256color", "dumb"):
            shutil.rmtree(tmp_path / "runs")
            sent = _in_a_terminal(arguments, tmp_path, term)
            assert _left_of(sent) == [line.rstrip() for line in written.split("\n")]
            assert bool(re.search(r"epoch \d/4  mean loss \S+  lr .*━", sent)) == ("\x1b" in sent) == (term != "dumb")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["missing.toml"], "error: there is no file missing.toml"),
            (["{config}", "--set", "optim_wrapper.optimizer.type=Lyon"], "optim_wrapper.optimizer.type: there is no"),
            (["{config}", "--set", "loss='task:lose'"], "has no 'lose'. Did you mean 'loss'?"),
            (["{config}", "--set", "optim_wrapper.optimizer.lr=1e30"], "the loss is inf at step 2"),
            (["{config}", "--work-dir", "/proc/nowhere"], "work_dir: /proc/nowhere cannot be written to"),
            (["{config}", "--set", "loss='task:faulty'"], "task.py:13 in faulty: return batch['x']\n"),
        ],
    )
    def test_an_error_is_one_message_and_an_exit_code(self, arguments, said, optimzoo, config):
        done = optimzoo("train", *(a.format(config=config) for a in arguments), check=False)
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_how_to_go_on_is_refused_where_nothing_is_to_go_on(optimzoo, config):
    done = optimzoo("train", config, "--on-change", "config", check=False)
    assert (done.returncode, "give --resume, too" in done.stderr) == (2, True)
    assert not (config.parent / "runs").exists()


def test_an_error_in_the_users_code_shows_the_users_lines_or_on_demand_all(optimzoo, config):
    faulty = ("train", config, "--set", "loss='task:faulty'")
    shown = optimzoo(*faulty, check=False).stderr
    assert shown.count(".py:") == 1
    assert "error: TypeError: list indices must be integers or slices, not str" in shown
    assert "Traceback (most recent call last)" in optimzoo(*faulty, check=False, OPTIMZOO_TRACEBACK="1").stderr


def test_what_optimzoo_logs_is_a_line_and_the_table_of_groups_comes_once(optimzoo, config):
    batch_norm = ("--set", "model={type='torch.nn:BatchNorm1d', num_features=3}", "--set", "loss='task:square'")
    config.with_name("task.py").write_text(
        TASK + "def square(model, batch):\n    return model(batch[0]).square().sum()\n"
    )
    changes = (*batch_norm, "--set", "optim_wrapper.accumulative_counts=2", "--set", "metrics=[]")
    done = optimzoo("train", config, *changes)
    assert "warning: the model has batch norm" in done.stderr
    assert (done.stdout + done.stderr).count("first parameter, rules") == 1


def test_an_ascii_terminal_shows_everything(optimzoo, config):
    (config.with_name("größe.toml")).write_text(config.read_text() + "# größer\n", encoding="utf-8")
    ascii_only = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert "Adafactor" in optimzoo("list", "torch", **ascii_only).stdout
    assert "no problem found" in optimzoo("check", config.with_name("größe.toml"), **ascii_only).stdout


def _command(arguments):
    return [sys.executable, "-m", "optimzoo", *arguments]


def _environment(**env):
    return {**os.environ, "COLUMNS": "120", **env}


def _in_a_terminal(arguments, folder, term):
    """Run the command line in a pseudo-terminal and return all that it sent there."""
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    streams = dict(stdin=follower, stdout=follower, stderr=follower)
    process = subprocess.Popen(_command(arguments), cwd=folder, env=_environment(TERM=term, COLUMNS="80"), **streams)
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # Linux's way of saying that the other end is closed
            break
        if not part:
            break
        shown += part
    assert process.wait(timeout=60) == 0, shown.decode()
    os.close(leader)
    return shown.decode()


def _left_of(sent):
    """The lines that stand on a terminal in the end, of what was written, gone back over and erased."""
    lines, row, column = [""], 0, 0
    for number, command, text in re.findall(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n]|[^\x1b\r\n]+)", sent):
        if command == "A":
            row -= int(number)
        elif command == "K":
            lines[row] = ""
        elif text == "\r":
            column = 0
        elif text == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        else:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
    return [line.rstrip() for line in lines]


class TestCheck:
    def test_a_sound_config_passes(self, optimzoo, config):
        said = optimzoo("check", config).stdout
        assert "no problem found" in said
        assert "what only the first step shows" in said
        assert "what `optimzoo plot` shows: whether schedules that count iterations fit the run" in said

    def test_every_problem_is_listed_with_its_path(self, optimzoo, config, tmp_path):
        changes = [
            "optim_wrapper.optimizer.ler=1",
            "optim_wrapper.clipgrad=1",
            "param_scheduler[0].type=LinerLR",
            "model.out_feature=1",
            "metrics='task:eror'",
            "train_cfg.max_epochs=0",
            "trian=1",
        ]
        done = optimzoo("check", config, *(word for change in changes for word in ("--set", change)), check=False)
        assert done.returncode == 1
        assert [line.split(": ")[1] for line in done.stderr.splitlines() if line.startswith("problem: ")] == [
            "trian",
            "model.out_feature",
            "train_cfg.max_epochs",
            "optim_wrapper.optimizer.ler",
            "optim_wrapper.clipgrad",
            "param_scheduler[0].type",
            "metrics[0]",
        ]
        assert not (tmp_path / "runs").exists()

    def test_a_library_that_exits_at_import_is_a_problem_among_others(self, optimzoo, config, install_plugin):
        folder = install_plugin(PLUGIN.format(target="faulty_library:Nova", more=""))
        (folder / "faulty_library.py").write_text("raise SystemExit(0)")
        changes = ("--set", "optim_wrapper.optimizer.type=Nova", "--set", "trian=1")
        done = optimzoo("check", config, *changes, path=[folder], check=False)
        assert done.returncode == 1
        problems = [line.split(": ")[1] for line in done.stderr.splitlines() if line.startswith("problem: ")]
        assert problems == ["trian", "optim_wrapper.optimizer.type"]

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ("optim_wrapper.optimizer.lr=-1.0", "optim_wrapper.optimizer.lr: a number of at least 0"),
            ("optim_wrapper.optimizer.eps=-1.0", "optim_wrapper.optimizer: AdamW refused"),
            ("optim_wrapper.accumulative_counts=0", "optim_wrapper.accumulative_counts: a whole number"),
            ("param_scheduler[0].end=0", "param_scheduler[0].end: it must be larger than begin"),
            ("optim_wrapper.paramwise_cfg.bias_lr=1", "optim_wrapper.paramwise_cfg.bias_lr: Default"),
            ("optim_wrapper.optimizer.type='os:fspath'", "optim_wrapper.optimizer.type: 'os:fspath' is not looked at"),
        ],
    )
    def test_values_are_tried_too(self, change, said, optimzoo, config):
        done = optimzoo("check", config, "--set", change, check=False)
        assert (done.returncode, f"problem: {said}" in done.stderr) == (1, True), done.stderr

    def test_the_example_passes(self, optimzoo):
        assert "no problem found" in optimzoo("check", REPO / "examples" / "digits" / "lion.toml").stdout


class TestPlot:
    EXAMPLE = REPO / "examples" / "digits" / "lion.toml"

    def test_the_length_of_an_epoch_is_that_of_the_data_that_a_module_beside_the_config_brings(self, optimzoo):
        assert re.search(
            r"lr +│ base\b.*│ +539 │", optimzoo("plot", self.EXAMPLE, "--table", "--trust", "digits").stdout
        )
        refused = optimzoo("plot", self.EXAMPLE, "--table", check=False).stderr
        assert "'digits:digits' is not looked at: needs --trust digits, or the length of an epoch" in refused

    @pytest.mark.parametrize("picture", ["nowhere/a.png", "a.foo"])
    def test_a_picture_that_cannot_be_written_is_an_error_in_one_line(self, picture, optimzoo):
        done = optimzoo("plot", self.EXAMPLE, "--epoch-length", 5, "--out", picture, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {picture} cannot be written: ")
        assert done.stderr.count("\n") == 1


def test_the_version_is_the_packages(optimzoo):
    from optimzoo import __version__

    assert optimzoo("--version").stdout == f"optimzoo {__version__}\n"
