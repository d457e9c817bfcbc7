"""The event files, read back with tensorboard's own reader."""

import sys

import pytest

from optimzoo.errors import OptimzooWarning
from optimzoo.run import Hook

from .network import dataset, error
from .plugin import Stop


@pytest.fixture
def scalars():
    """Read what TensorBoard shows of a run: the iteration and value of each point, by name."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def read(folder):
        events = reader.EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
        events.Reload()
        return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}

    return read


def columns(runner):
    """The history, as rounded to single precision."""
    names = [name for name in runner.history.columns if name not in ("iter", "epoch")]
    return {name: [(i, pytest.approx(value, rel=1e-6)) for i, value in runner.history.column(name)] for name in names}


@pytest.fixture
def val():
    return dict(val_dataloader=dict(dataset=dataset(8), batch_size=8), metrics=error)


def test_they_have_every_row_of_the_history(make_runner, scalars, tmp_path, val):
    runner = make_runner(**val, log_interval=4)
    runner.train()
    assert scalars(tmp_path / "run") == columns(runner)
    assert {"loss", "lr", "val_error"} <= columns(runner).keys()


def test_they_can_be_watched_while_the_run_goes_on(make_runner, scalars, tmp_path):
    seen = []

    class Watch(Hook):
        def after_iter(self, runner, outcome, logs):
            written = (tmp_path / "run" / "tensorboard").exists()
            seen.append(len(scalars(tmp_path / "run").get("loss", ())) if written else 0)

    make_runner(hooks=[Watch()], log_interval=4).train()
    assert seen == [0, 0, 0, 0, 4, 5, 5, 5, 8, 8, 10, 10, 12, 12, 12]


@pytest.mark.parametrize("step", [7, 10, 12])
def test_a_resumed_run_goes_on_with_them(step, make_runner, scalars, tmp_path, val):
    with pytest.raises(KeyboardInterrupt):
        make_runner(**val, hooks=[Stop(step)]).train()
    assert scalars(tmp_path / "run")["loss"][-1][0] == step - 1, "up to the row before the fault"
    resumed = make_runner(**val, resume=True)
    resumed.train()
    assert scalars(tmp_path / "run") == columns(resumed)


def test_a_run_that_resumes_in_another_folder_takes_the_earlier_rows_along(make_runner, scalars, tmp_path):
    make_runner().train()
    resumed = make_runner(work_dir=tmp_path / "again", resume=tmp_path / "run" / "checkpoint_00000010.pt")
    resumed.train()
    assert len(columns(resumed)["loss"]) == 15
    assert scalars(tmp_path / "again") == columns(resumed)


def test_a_new_run_moves_them_aside_and_one_from_an_older_checkpoint_copies_them(make_runner, scalars, tmp_path):
    first = make_runner()
    first.train()
    second = make_runner()
    second.train()
    assert scalars(tmp_path / "run" / "previous-1") == columns(first)
    assert scalars(tmp_path / "run") == columns(second)
    make_runner(resume=tmp_path / "run" / "checkpoint_00000010.pt").train()
    assert scalars(tmp_path / "run" / "previous-2") == columns(second)
    assert scalars(tmp_path / "run") == columns(second)


def test_without_tensorboard_there_are_none(make_runner, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    make_runner().train()
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_tensorboard_that_is_broken_stops_no_run(make_runner, tmp_path, monkeypatch):
    (tmp_path / "tensorboard.py").write_text("raise TypeError('Descriptors cannot be created directly')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith(("tensorboard", "torch.utils.tensorboard"))]:
        monkeypatch.delitem(sys.modules, name)
    runner = make_runner()
    with pytest.warns(OptimzooWarning, match=r"tensorboard cannot be imported.*Descriptors cannot be created"):
        runner.train()
    assert runner.finished
