"""A process that fails or dies in the middle of training ends the others, which say which one it was, and why."""

import os
import signal
from pathlib import Path

import pytest
import torch.distributed as dist

from optimzoo.errors import CheckpointError, LostProcessError
from optimzoo.run import Hook
from optimzoo.run.store import checkpoint
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint

from .task import make_runner

STEP = 5


class At(Hook):
    """Does something in one process after an iteration."""

    def __init__(self, rank, function):
        self.rank, self.function = rank, function

    def after_iter(self, runner, outcome, logs):
        if runner.iter == STEP and dist.get_rank() == self.rank:
            self.function()


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise ZeroDivisionError("no samples left")


def full(path):
    raise OSError(28, "No space left on device")


def first_dies(folder):
    make_runner(folder, hooks=[At(0, die)]).train()


def second_dies_after_a_disk_was_full(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "replacing", full)
        with pytest.raises((CheckpointError, LostProcessError)) as raised:
            make_runner(folder).train()
    told = "" if dist.get_rank() == 0 else "rank 0 stopped: CheckpointError: "
    assert str(raised.value).startswith(told + str(folder))
    assert "No space left on device" in str(raised.value)
    make_runner(folder, hooks=[At(1, die)]).train()


def first_fails(folder):
    make_runner(folder, hooks=[At(0, fail)]).train()


def second_fails(folder):
    make_runner(folder, hooks=[At(1, fail)], strategy="fsdp2").train()


@pytest.mark.parametrize(
    ("scenario", "code", "told"),
    [
        (first_dies, -signal.SIGKILL, "LostProcessError: rank 0 ended without a word, killed or out of memory"),
        (second_dies_after_a_disk_was_full, -signal.SIGKILL, "LostProcessError: rank 1 ended without a word, killed"),
        (first_fails, 1, "LostProcessError: rank 0 stopped: ZeroDivisionError: no samples left"),
        (second_fails, 1, "LostProcessError: rank 1 stopped: ZeroDivisionError: no samples left"),
    ],
)
def test_the_other_process_ends_and_names_it(scenario, code, told, launch, tmp_path):
    lost = int(scenario.__name__.startswith("second"))
    results = launch(scenario, tmp_path)
    assert results[lost][0] == code, results[lost][1]
    found, output = results[1 - lost]
    assert found == 1, output
    assert told in output


def second_is_asked_to_end(folder):
    folder = Path(folder)
    stop = At(1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as raised:
        make_runner(folder, hooks=[stop]).train()
    assert raised.value.code == 128 + signal.SIGTERM
    assert [load_checkpoint(path)["iter"] for path in checkpoints_in(folder)][-1] == STEP


def second_is_asked_to_save(folder):
    folder = Path(folder)
    make_runner(folder, checkpoint=dict(keep=9), hooks=[At(1, lambda: os.kill(os.getpid(), signal.SIGUSR1))]).train()
    assert STEP in [load_checkpoint(path)["iter"] for path in checkpoints_in(folder)]


@pytest.mark.parametrize("scenario", [second_is_asked_to_end, second_is_asked_to_save])
def test_a_signal_to_one_process_is_acted_on_by_all_at_the_same_step(scenario, launch, tmp_path):
    for code, output in launch(scenario, tmp_path):
        assert code == 0, output
