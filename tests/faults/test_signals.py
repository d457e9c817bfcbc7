"""SIGINT, SIGTERM and SIGHUP: the step ends, a checkpoint is saved, and the message says how to go on.

SIGUSR1 asks for a checkpoint, or stops the run with a code of its own.
"""

import os
import pty
import signal
import subprocess
import sys
import threading

import pytest
import torch

from optimzoo.errors import ConfigError
from optimzoo.run import EMAHook, Hook
from optimzoo.run.loop.signals import REQUEUE, SIGNALS
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint

from ..conftest import REPO
from ..core.run.network import dataset, error, parameters

RAISED = {
    signal.SIGINT: (KeyboardInterrupt, ()),
    signal.SIGTERM: (SystemExit, (143,)),
    signal.SIGHUP: (SystemExit, (129,)),
}


class Send(Hook):
    """Sends this process signals after an iteration."""

    def __init__(self, step, *numbers):
        self.step, self.numbers = step, numbers

    def after_iter(self, runner, outcome, logs):
        if runner.iter == self.step:
            for number in self.numbers:
                signal.raise_signal(number)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("step", [1, 7, 15])
def test_the_run_stops_after_the_step_and_goes_on_from_there(number, step, make_runner, tmp_path, capfd):
    wrapper = dict(optimizer=dict(type="AdamW", lr=0.01), accumulative_counts=4)
    straight = make_runner(optim_wrapper=wrapper, work_dir=tmp_path / "straight")
    straight.train()
    before = [signal.getsignal(n) for n in SIGNALS]
    error, arguments = RAISED[number]
    with pytest.raises(error) as raised:
        make_runner(optim_wrapper=wrapper, hooks=[Send(step, number)]).train()
    assert raised.value.args == arguments
    assert [signal.getsignal(n) for n in SIGNALS] == before
    newest = checkpoints_in(tmp_path / "run")[-1]
    assert load_checkpoint(newest)["iter"] == step
    shown = capfd.readouterr()
    assert f"{number.name}: stopping after this step" in shown.err
    assert f"interrupted after step {step}; {newest} is the last checkpoint; --resume" in shown.out
    resumed = make_runner(optim_wrapper=wrapper, resume=True)
    resumed.train()
    assert torch.equal(parameters(resumed), parameters(straight))
    assert (tmp_path / "run" / "metrics.csv").read_text() == (tmp_path / "straight" / "metrics.csv").read_text()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("epoch", [1, 3])
def test_it_cuts_a_validation_short_which_is_repeated(number, epoch, make_runner, tmp_path):
    class SendInValidation(Hook):
        def before_val(self, runner):
            if runner.epoch == epoch:
                signal.raise_signal(number)

    measured = []

    def measure(model, batch):
        measured.append(len(batch[0]))
        return error(model, batch)

    settings = dict(val_dataloader=dict(dataset=dataset(8), batch_size=4), metrics=measure, checkpoint=dict(interval=9))
    straight = make_runner(**settings, hooks=[EMAHook(0.5)], work_dir=tmp_path / "straight")
    straight.train()
    measured.clear()
    runner = make_runner(**settings, hooks=[EMAHook(0.5), SendInValidation()])
    with pytest.raises(RAISED[number][0]):
        runner.train()
    assert len(measured) == 2 * 2 * (epoch - 1)  # of the trained weights and of the average
    assert load_checkpoint(checkpoints_in(tmp_path / "run")[-1])["iter"] == 5 * epoch
    resumed = make_runner(**settings, hooks=[EMAHook(0.5)], resume=True)
    resumed.train()
    assert torch.equal(parameters(resumed), parameters(straight))
    assert (tmp_path / "run" / "metrics.csv").read_text() == (tmp_path / "straight" / "metrics.csv").read_text()


def test_a_signal_that_ends_the_workers_of_a_validation_loses_nothing(make_runner, tmp_path):
    class Ended(list):
        def __iter__(self):
            signal.raise_signal(signal.SIGTERM)
            raise RuntimeError("DataLoader worker exited unexpectedly")

    with pytest.raises(SystemExit):
        make_runner(val_dataloader=Ended(), metrics=error).train()
    assert load_checkpoint(checkpoints_in(tmp_path / "run")[-1])["validation_due"]


def test_a_validation_is_logged_once_though_the_run_is_lost_after_it(make_runner, tmp_path):
    settings = dict(val_dataloader=dict(dataset=dataset(8), batch_size=4), checkpoint=dict(interval=9))

    class Lose(Hook):
        def before_epoch(self, runner):
            if runner.epoch:
                raise ZeroDivisionError

    with pytest.raises(KeyboardInterrupt):
        make_runner(**settings, hooks=[Send(5, signal.SIGINT)]).train()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            make_runner(**settings, hooks=[Lose()], resume=True).train()
    runner = make_runner(**settings, resume=True)
    runner.train()
    assert [step for step, _ in runner.history.column("val_loss")] == [5, 10, 15]


def test_a_second_one_leaves_at_once(make_runner, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make_runner(hooks=[Send(7, signal.SIGTERM, signal.SIGINT)]).train()
    assert [load_checkpoint(path)["iter"] for path in checkpoints_in(tmp_path / "run")] == [5]


def test_one_that_is_ignored_stays_ignored(make_runner):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        runner = make_runner(hooks=[Send(7, signal.SIGINT)])
        runner.train()
        assert runner.finished
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("by_epoch", [True, False])
def test_one_that_asks_for_a_checkpoint_gets_it_and_the_run_goes_on(by_epoch, make_runner, tmp_path, capfd):
    cfg = dict(max_epochs=3) if by_epoch else dict(by_epoch=False, max_iters=15, val_interval=5)
    settings = dict(train_cfg=cfg, optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.01), accumulative_counts=4))
    straight = make_runner(**settings, work_dir=tmp_path / "straight")
    straight.train()
    runner = make_runner(**settings, hooks=[Send(7, signal.SIGUSR1, signal.SIGUSR1)], checkpoint=dict(keep=9))
    runner.train()
    assert [load_checkpoint(path)["iter"] for path in checkpoints_in(tmp_path / "run")] == [5, 7, 10, 15]
    assert torch.equal(parameters(runner), parameters(straight))
    assert capfd.readouterr().err.count("SIGUSR1: after this step follows a checkpoint") == 2
    start = tmp_path / "run" / "checkpoint_00000007.pt"
    resumed = make_runner(**settings, work_dir=tmp_path / "again", resume=start)
    resumed.train()
    assert torch.equal(parameters(resumed), parameters(straight))


def test_it_does_not_cut_a_validation_short(make_runner, tmp_path):
    class SendInValidation(Hook):
        def before_val(self, runner):
            signal.raise_signal(signal.SIGUSR1)

    settings = dict(val_dataloader=dict(dataset=dataset(8), batch_size=4), metrics=error)
    runner = make_runner(**settings, hooks=[SendInValidation()], checkpoint=dict(keep=9, interval=9))
    runner.train()
    assert [load_checkpoint(path)["iter"] for path in checkpoints_in(tmp_path / "run")] == [5, 10, 15]
    assert [step for step, _ in runner.history.column("val_error")] == [5, 10, 15]


def test_one_that_a_batch_system_sends_before_its_limit_ends_the_run_to_be_queued_again(make_runner, tmp_path):
    straight = make_runner(work_dir=tmp_path / "straight")
    straight.train()
    requeue = dict(checkpoint=dict(usr1="requeue"))
    with pytest.raises(SystemExit) as raised:
        make_runner(**requeue, hooks=[Send(7, signal.SIGUSR1, signal.SIGUSR1)]).train()
    assert raised.value.code == REQUEUE == 75
    resumed = make_runner(**requeue, resume=True)
    assert resumed.iter == 7
    resumed.train()
    assert torch.equal(parameters(resumed), parameters(straight))


def test_a_handler_of_the_users_for_it_stays(make_runner):
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    try:
        make_runner(hooks=[Send(7, signal.SIGUSR1)], checkpoint=dict(usr1="requeue")).train()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [1]


def test_what_it_does_is_one_of_two(make_runner):
    with pytest.raises(ConfigError, match=r"^checkpoint\.usr1: 'save' or 'requeue' is wanted, got 'stop'"):
        make_runner(checkpoint=dict(usr1="stop"))


def test_in_another_thread_nothing_is_handled(make_runner):
    before = [signal.getsignal(n) for n in SIGNALS]
    during = []

    class Look(Hook):
        def before_train(self, runner):
            during.extend(signal.getsignal(n) for n in SIGNALS)

    thread = threading.Thread(target=make_runner(hooks=[Look()]).train)
    thread.start()
    thread.join()
    assert during == before


CONFIG = """
import torch
from torch import nn
from torch.utils.data import TensorDataset

model = dict(type="torch.nn:Linear", in_features=3, out_features=1)
train_dataloader = dict(dataset=TensorDataset(torch.randn(64, 3)), batch_size=4, num_workers={workers})
optim_wrapper = dict(optimizer=dict(type="SGD", lr=1e-3))
train_cfg = dict(max_epochs=10**6)
loss = lambda model, batch: model(batch[0]).square().mean()
"""


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 0), (signal.SIGINT, 1), (signal.SIGTERM, 1)])
def test_the_command_line_exits_with_128_and_the_number(number, workers, tmp_path):
    (tmp_path / "endless.py").write_text(CONFIG.format(workers=workers))
    paths = os.pathsep.join([str(REPO / "core"), str(REPO / "plugins")])
    process = subprocess.Popen(
        [sys.executable, "-m", "optimzoo", "train", "endless.py", "--work-dir", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        for line in process.stdout:
            if line.startswith("epoch"):
                break
        os.killpg(process.pid, number)  # as a terminal sends Ctrl-C: to the workers of the data loader too
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    newest = checkpoints_in(tmp_path / "run")[-1]
    assert f"run/{newest.name} is the last checkpoint; --resume" in out
    assert "Traceback" not in err


def test_a_terminal_that_is_lost_costs_nothing(tmp_path):
    (tmp_path / "endless.py").write_text(CONFIG.format(workers=0))
    paths = os.pathsep.join([str(REPO / "core"), str(REPO / "plugins")])
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        command = [sys.executable, "-m", "optimzoo", "train", "endless.py", "--work-dir", "run"]
        os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": paths, "TERM": "xterm"})
    shown = b""
    while b"epoch" not in shown:
        shown += os.read(terminal, 4096)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 128 + signal.SIGHUP
    rows = len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) - 1
    assert load_checkpoint(checkpoints_in(tmp_path / "run")[-1])["rows"] == rows > 0
