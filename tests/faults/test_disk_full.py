"""A disk that takes no more, a folder that is gone: typed errors that say how much was wanted, and nothing lost."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from optimzoo.errors import CheckpointError, ConfigError, OptimzooWarning, WriteError
from optimzoo.run import Hook
from optimzoo.run.store.atomic import write as write_text
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint
from optimzoo.run.store.history import History
from optimzoo.run.store.work_dir import hold, insist

from ..conftest import REPO
from ..core.run.network import dataset, error, parameters

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
"""TensorBoard writes in a thread of its own, which says so where the folder is gone."""

SWEEP = """
import json, resource, sys, warnings
from pathlib import Path
from optimzoo import Runner
from optimzoo.errors import OptimzooError
from optimzoo.run import Hook
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint
from tests.core.run.network import dataset, error, mse, network

class Limit(Hook):
    def __init__(self, size, late):
        self.size, self.late = size, late
    def limit(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, resource.RLIM_INFINITY))
    def before_train(self, runner):
        if not self.late:
            self.limit()
    def after_epoch(self, runner):
        if self.late and runner.epoch == 2:
            self.limit()

warnings.simplefilter("ignore")
sys.stdout, told = open("/dev/null", "w"), sys.stdout
for size in (0, 3, 50, 150, 300, 500, 620, 700, 900, 3000, 15000, 20000):
    for late in (None, False, True) if size < 100 else (None, True):
        folder = Path(f"run-{size}-{late}")
        runner = Runner(
            model=network(), work_dir=folder, loss=mse, metrics=error, randomness=dict(seed=1), log_interval=2,
            train_dataloader=dict(dataset=dataset(), batch_size=4), train_cfg=dict(max_epochs=3),
            val_dataloader=dict(dataset=dataset(8), batch_size=8), checkpoint=dict(best="error"),
            optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.01)),
            hooks=[Limit(size, late)] if late is not None else [],
        )
        if late is None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        try:
            runner.train()
            found = None
        except BaseException as raised:
            found = [type(raised).__name__, isinstance(raised, OptimzooError), str(raised)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        saved = [load_checkpoint(path)["iter"] for path in checkpoints_in(folder)]
        print(json.dumps([size, late, found, saved]), file=told, flush=True)
"""


def test_wherever_a_file_cannot_grow_the_error_is_typed_and_names_the_file_and_the_size(run, tmp_path):
    pytest.importorskip("resource")
    done = run("-c", SWEEP, path=[REPO])
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 27
    for size, late, found, saved in rows:
        assert found is not None, (size, late)
        kind, typed, said = found
        assert typed, found
        assert kind in ("WriteError", "CheckpointError"), found
        assert f"run-{size}-{late}/" in said, found
        assert " bytes were wanted, and " in said, found
        if late:
            assert 5 in saved, found


def test_a_picture_that_cannot_be_drawn_does_not_fail_a_finished_run(make_runner, tmp_path, monkeypatch):
    def broken(self):
        raise MemoryError("no room for a canvas")

    runner = make_runner()
    monkeypatch.setattr(type(runner), "plot", broken)
    with pytest.warns(OptimzooWarning, match=r"curves\.png cannot be drawn: .*MemoryError: no room for a canvas"):
        runner.train()
    assert runner.finished
    assert not list((tmp_path / "run").glob("curves*"))


def test_rows_that_could_not_be_written_are_written_later_once(tmp_path, monkeypatch):
    history = History(tmp_path / "run" / "metrics.csv")
    history.append({"iter": 1, "epoch": 1, "loss": 0.5})
    with pytest.raises(WriteError, match="metrics.csv cannot be written: .* bytes were wanted, and the folder is gone"):
        history.flush()
    (tmp_path / "run").mkdir()
    history.flush()
    history.append({"iter": 2, "epoch": 1, "loss": 0.25})
    history.path.with_suffix(".jsonl").unlink()
    history.flush()
    assert history.path.read_text() == "iter,epoch,loss\n1,1,0.5\n2,1,0.25\n"
    assert len(history.path.with_suffix(".jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("step", [2, 7])
def test_a_folder_that_is_removed_during_the_run_is_made_anew_and_nothing_is_lost(step, make_runner, tmp_path):
    class Remove(Hook):
        def after_iter(self, runner, outcome, logs):
            if runner.iter == step:
                shutil.rmtree(runner.work_dir)

    settings = dict(val_dataloader=dict(dataset=dataset(8), batch_size=8), metrics=error)
    straight = make_runner(**settings, work_dir=tmp_path / "straight")
    straight.train()
    with pytest.warns(OptimzooWarning, match="run was removed during the run, and is made anew"):
        make_runner(**settings, hooks=[Remove()]).train()
    folder = tmp_path / "run"
    assert (folder / "metrics.csv").read_text() == (tmp_path / "straight" / "metrics.csv").read_text()
    assert load_checkpoint(checkpoints_in(folder)[-1])["iter"] == 15
    assert torch.equal(parameters(make_runner(**settings, resume=True)), parameters(straight))


@pytest.mark.filterwarnings("ignore:.*run was removed during")
@pytest.mark.parametrize(
    "event", ["before_checkpoint", "after_checkpoint", "checkpoint_due", "before_val", "after_val"]
)
def test_whenever_it_is_removed_the_run_goes_on(event, make_runner, tmp_path):
    def remove(self, runner, *_):
        shutil.rmtree(runner.work_dir)

    settings = dict(val_dataloader=dict(dataset=dataset(8), batch_size=8), metrics=error)
    runner = make_runner(**settings, hooks=[type("Remove", (Hook,), {event: remove})()])
    runner.train()
    assert (runner.epoch, len(runner.history)) == (3, 15 + 3)
    if event != "after_checkpoint":
        assert load_checkpoint(checkpoints_in(tmp_path / "run")[-1])["rows"] == len(runner.history)


@pytest.mark.filterwarnings("ignore:.*run was removed during")
def test_one_that_is_removed_again_and_again_is_an_error(tmp_path):
    def write():
        shutil.rmtree(tmp_path / "run")
        write_text(tmp_path / "run" / "metrics.csv", "text")

    with contextlib.ExitStack() as held:
        held.enter_context(hold(tmp_path / "run"))
        with pytest.raises(WriteError, match="the folder is gone"):
            insist(write, tmp_path / "run", {}, held)


def test_the_folder_that_is_made_anew_is_held_against_others(make_runner, tmp_path):
    class Remove(Hook):
        def after_iter(self, runner, outcome, logs):
            if runner.iter == 2:
                shutil.rmtree(runner.work_dir)

        def after_epoch(self, runner):
            if runner.epoch == 2:
                with pytest.raises(ConfigError, match="another run .* is writing to"):
                    make_runner().train()

    with pytest.warns(OptimzooWarning, match="is made anew"):
        make_runner(hooks=[Remove()]).train()


def test_a_folder_that_cannot_be_made_is_an_error_before_the_first_step(make_runner, tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ConfigError, match=r"^work_dir: .* cannot be written to"):
            make_runner(work_dir=folder).train()
    with pytest.raises(CheckpointError, match="the folder is gone"):
        make_runner().save(tmp_path / "nowhere" / "checkpoint.pt")


@contextlib.contextmanager
def as_nobody(*folders):
    """Whom modes bind, as they do not bind root."""
    root = os.geteuid() == 0
    if root:
        for folder in folders:
            os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_read_only_folder_is_an_error_before_the_first_step_or_keeps_what_was_saved(make_runner, tmp_path):
    class Close(Hook):
        def after_epoch(self, runner):
            if runner.epoch == 2:
                runner.work_dir.chmod(0o555)

    make_runner(work_dir=tmp_path / "warm").train()  # what is imported late is
    above = [folder for folder in (tmp_path, *tmp_path.parents) if "pytest-of" in str(folder)]
    folders = [*above, tmp_path / "later", tmp_path / "from the start"]
    for folder in folders[-2:]:
        folder.mkdir()
    modes = {folder: folder.stat() for folder in above}
    for folder in above:
        folder.chmod(0o755)
    with as_nobody(*folders[-2:]):
        folders[-1].chmod(0o555)
        with pytest.raises(ConfigError, match=r"^work_dir: .*from the start cannot be written to .*Permission denied"):
            make_runner(work_dir=folders[-1]).train()
        with pytest.raises((WriteError, CheckpointError), match=r"later/.* cannot be written: .*Permission denied"):
            make_runner(work_dir=folders[-2], hooks=[Close()]).train()
        (saved,) = checkpoints_in(folders[-2])
        assert load_checkpoint(saved)["iter"] == 5
        assert not list(folders[-2].glob("*.partial"))
    for folder, status in modes.items():
        folder.chmod(status.st_mode & 0o7777)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device that is always full is Linux's")
def test_rows_for_which_the_disk_has_no_room_are_kept(tmp_path):
    history = History(tmp_path / "metrics.csv")
    history.append({"iter": 1, "epoch": 1, "loss": 0.5})
    history.flush()
    history.path.unlink()
    history.path.symlink_to("/dev/full")
    history.append({"iter": 2, "epoch": 1, "loss": 0.25})
    with pytest.raises(
        WriteError, match=r"metrics\.csv cannot be written: 9 bytes were wanted, .*No space left on device"
    ):
        history.flush()
    history.path.unlink()
    history.flush()
    assert history.path.read_text() == "iter,epoch,loss\n1,1,0.5\n2,1,0.25\n"
