"""The examples: those that `make train` and `make example-gpt` run, and the notebook."""

import json
import re

import pytest
from PIL import Image

from optimzoo.run.store.checkpoint import checkpoints_in
from tests.conftest import REPO


def test_lion_learns_the_digits_from_its_config(optimzoo, tmp_path):
    done = optimzoo("train", REPO / "examples" / "digits" / "lion.toml")
    accuracy = float(re.search(r"^val_accuracy +(\S+)", done.stdout, re.M)[1])
    assert accuracy >= 0.97
    folder = tmp_path / "runs" / "digits-lion"
    assert {"curves.png", "metrics.csv", "config.yaml"} <= {path.name for path in folder.iterdir()}
    columns = (folder / "metrics.csv").read_text().partition("\n")[0].split(",")
    panels = [name for name in columns if name not in ("iter", "epoch", "val_loss")]
    shown = Image.open(REPO / "docs" / "curves.png").text["Description"]
    assert shown == ", ".join(panels), "the picture of README is of another version: make picture"
    assert len(checkpoints_in(folder)) == 2
    header, first, *_ = (folder / "metrics.csv").read_text().splitlines()
    assert header == "iter,epoch,loss,grad_norm,lr,val_loss,val_accuracy"
    assert float(first.split(",")[4]) == pytest.approx(3e-6)


def test_its_decay_is_off_for_norms_and_biases(optimzoo):
    changes = ("--set", "train_cfg.max_epochs=2")
    shown = optimzoo("train", REPO / "examples" / "digits" / "lion.toml", *changes).stdout
    rows = re.findall(r"^ +\d +(\d+) +[\d,]+ +3e-06 \(0\.0003\) +(\S+) +(\S+)", shown, re.MULTILINE)
    assert rows == [("3", "0.1", "features.0.weight"), ("7", "0", "features.0.bias")]
    assert "bias_decay_mult; norm_decay_mult" in shown


def test_muon_of_the_gpt_takes_the_matrices_and_adamw_alone_takes_all(optimzoo):
    folder, changes = REPO / "examples" / "gpt", ("--set", "train_cfg.max_iters=2")
    changes += "--set", "val_dataloader.dataset.number=16"
    muon = optimzoo("train", folder / "muon.toml", *changes, "--set", "param_scheduler=[]").stdout
    assert re.search(r"16 +442,368 +0.02 +0.1 +Muon: blocks.0.qkv.weight", muon)
    adamw = optimzoo("train", folder / "adamw.toml", *changes, "--set", "param_scheduler=[]").stdout
    assert re.search(r"19 +473,088 +0.004 +0.1 +tokens.weight", adamw)


SHOWS = """
import ast, json, sys
cells = json.load(open(sys.argv[1]))["cells"]
names = {"__name__": "__main__"}
for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
    *body, last = ast.parse(source).body
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        shown = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        kinds = [kind for kind in ("_repr_png_", "_repr_html_") if callable(getattr(shown, kind, None))]
        print(ast.unparse(last).partition("(")[0], "shows", [kind for kind in kinds if getattr(shown, kind)()])
    else:
        exec(compile(ast.Module([last], []), "cell", "exec"), names)
"""


def test_the_notebook_runs_from_top_to_bottom_and_shows_tables_and_pictures(run, tmp_path):
    """And holds no outputs, which would go stale."""
    path = REPO / "examples" / "first-hour.ipynb"
    assert not any(cell.get("outputs") for cell in json.loads(path.read_text())["cells"])
    said = run("-W", "error", "-c", SHOWS, path).stdout
    assert [line for line in said.splitlines() if " shows [" in line] == [
        "build_optim_wrapper shows ['_repr_html_']",
        "plot_schedules shows ['_repr_png_']",
        "runner shows ['_repr_html_']",
        "runner.plot shows ['_repr_png_']",
        "runner.history shows ['_repr_html_']",
        "print shows []",
    ]
    assert float(said.partition("loss of the average: ")[2].split()[0]) < 5  # of 79 at the start
