import json
import re

import pytest

from optimzoo.errors import CheckpointError
from optimzoo.run import History


def test_the_file_mirrors_the_rows_when_a_column_appears_late(tmp_path):
    path = tmp_path / "metrics.csv"
    history = History(path)
    history.append({"iter": 1, "epoch": 1, "loss": 0.5})
    history.flush()
    assert path.read_text() == "iter,epoch,loss\n1,1,0.5\n"
    history.append({"iter": 1, "epoch": 1, "val_loss": 1e-7})
    history.flush()
    assert path.read_text() == "iter,epoch,loss,val_loss\n1,1,0.5,\n1,1,,1e-07\n"
    history.append({"iter": 2, "epoch": 1, "loss": 0.25})
    history.flush()
    assert path.read_text().endswith("1,1,,1e-07\n2,1,0.25,\n")


def test_a_resumed_history_keeps_the_rows_up_to_its_iteration_to_the_last_digit(tmp_path):
    first = History(tmp_path / "metrics.csv")
    for step in range(1, 6):
        first.append({"iter": step, "epoch": 1, "loss": 1 / (3 * step)})
    first.flush()
    second = History(tmp_path / "metrics.csv")
    second.load(first.path, 3)
    assert list(second.rows()) == list(first.rows())[:3]
    second.append({"iter": 4, "epoch": 1, "loss": 7.0})
    second.flush()
    third = History(tmp_path / "metrics.csv")
    third.load(first.path, 99)
    assert list(third.rows()) == list(second.rows())
    assert third.column("loss")[-1] == (4, 7.0)


@pytest.mark.parametrize("cut", range(1, 25))
def test_a_last_line_cut_short_by_a_crash_is_left_out(cut, tmp_path):
    path = tmp_path / "metrics.csv"
    whole = "iter,epoch,loss\n1,1,0.5\n2,1,0.25\n"
    path.write_text(whole[:-cut])
    history = History(path)
    history.load(path, 99)
    assert len(history) == max(0, whole[:-cut].count("\n") - 1)


def test_a_file_of_something_else_is_named_with_its_line(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("iter,epoch,loss\n1,1,0.5\nlead,gold,7\n")
    with pytest.raises(CheckpointError, match=r"metrics\.csv, line 3, is not a row"):
        History(path).load(path, 99)


def test_json_lines_hold_the_rows_too(tmp_path):
    history = History(tmp_path / "metrics.csv")
    history.append({"iter": 1, "epoch": 1, "loss": 1 / 3})
    history.flush()
    history.append({"iter": 1, "epoch": 1, "val_grade": float("nan")})
    history.flush()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"iter": 1, "epoch": 1, "loss": 1 / 3}, {"iter": 1, "epoch": 1, "val_grade": None}]


def test_a_notebook_shows_a_table_of_the_first_and_the_last_rows(tmp_path):
    history = History(tmp_path / "metrics.csv")
    history.append({"iter": 1, "epoch": 1, "a<b": 0.5})
    cell = '<td style="text-align: right">'
    assert history._repr_html_() == (
        "<table><thead><tr><th>iter</th><th>epoch</th><th>a&lt;b</th></tr></thead>"
        f"<tbody><tr>{cell}1</td>{cell}1</td>{cell}0.5</td></tr></tbody></table>"
    )
    for step in range(2, 101):
        history.append({"iter": step, "epoch": 1, "loss": 1e-9 * step})
    cells = re.findall(f"<tr>{cell}(.*?)</td>", history._repr_html_())
    assert cells == ["1", "2", "3", "4", "5", "…", *map(str, range(86, 101))]


@pytest.mark.parametrize("removed", ["metrics.csv", "metrics.jsonl"])
def test_a_file_that_is_removed_is_written_anew(removed, tmp_path):
    history = History(tmp_path / "metrics.csv")
    for step in (1, 2, 3):
        history.append({"iter": step, "epoch": 1, "loss": step / 2})
        history.flush()
        (tmp_path / removed).unlink(missing_ok=step == 1)
    history.flush()
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 4
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3
