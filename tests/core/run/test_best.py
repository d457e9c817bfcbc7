"""The checkpoint of the best validation: which one it is, and that a run can go on from it."""

import pytest
import torch
from torch.utils.data import DataLoader

from optimzoo.errors import ConfigError
from optimzoo.run.store.checkpoint import load_checkpoint

from .network import dataset, error, parameters


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
        measured = iter(
            [
                {"grade": 9, "error": 0},
                {"grade": 1, "error": 5},
                {"grade": 2, "error": 1},
                {"grade": 3, "error": float("nan")},
            ]
        )
        runner = make_runner(**{**val, "metrics": lambda model, batch: next(measured)}, checkpoint=cfg)
        runner.train()
        best = load_checkpoint(tmp_path / "run" / "best.pt")
        assert best["epoch"] == epochs
        assert runner.hooks[-1].best_value == value
        of = f"val_{cfg['best'].removeprefix('val_')} {value:g} of epoch {epochs}, step {5 * epochs}"
        assert f" best best.pt, {of} results " in " ".join(repr(runner).split())

    def test_the_best_value_outlives_a_resume(self, make_runner, tmp_path, val):
        grades = iter([0, 9, 1, 2, 3])
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
        grades = iter([0, 9, 1, 2, 3, 4])
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
        with pytest.raises(ConfigError, match=r"^checkpoint\.best: .*no metric 'eror'; it has loss, error\. Did"):
            make_runner(**val, checkpoint=dict(best="eror")).train()

    def test_where_no_validation_comes_it_is_an_error(self, make_runner):
        val = dict(val_dataloader=DataLoader(dataset(8), batch_size=4), metrics=[error])
        with pytest.raises(ConfigError, match=r"^checkpoint\.best: .* no validation comes .*val_begin is 9"):
            make_runner(**val, checkpoint=dict(best="error"), train_cfg=dict(max_epochs=3, val_begin=9))
        make_runner(**val, train_cfg=dict(max_epochs=3, val_begin=9))

    def test_a_run_that_goes_on_looks_for_the_metric_first(self, make_runner, tmp_path):
        val = dict(val_dataloader=DataLoader(dataset(8), batch_size=4), metrics=[error])
        make_runner(**val, train_cfg=dict(max_epochs=2)).train()
        before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
        longer = dict(val, train_cfg=dict(max_epochs=4), checkpoint=dict(best="eror"), resume=True)
        with pytest.raises(ConfigError, match="no metric 'eror'"):
            make_runner(**longer).train()
        after = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
        assert {**after, ".lock": b""} == {**before, ".lock": b""}

    def test_without_validation_it_is_an_error(self, make_runner):
        with pytest.raises(ConfigError, match=r"^checkpoint\.best: it watches a metric, and there is no val_data"):
            make_runner(checkpoint=dict(best="loss"))
