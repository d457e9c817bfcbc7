"""The examples that `make train` and `make example-gpt` run."""

import re

from optimzoo.run.store.checkpoint import checkpoints_in
from tests.conftest import REPO


def test_lion_learns_the_digits_from_its_config(optimzoo, tmp_path):
    done = optimzoo("train", REPO / "examples" / "digits" / "lion.toml")
    accuracy = float(re.search(r"final: .*val_accuracy (\S+)", done.stdout)[1])
    assert accuracy >= 0.97
    folder = tmp_path / "runs" / "digits-lion"
    assert {"curves.png", "metrics.csv", "config.yaml"} <= {path.name for path in folder.iterdir()}
    assert len(checkpoints_in(folder)) == 2
    header, first, *_ = (folder / "metrics.csv").read_text().splitlines()
    assert header == "iter,epoch,loss,lr,val_loss,val_accuracy"
    assert first.split(",")[3].startswith("2.99999") or first.split(",")[3] == "3e-06"


def test_its_decay_is_off_for_norms_and_biases(optimzoo):
    changes = ("--set", "train_cfg.max_epochs=2")
    shown = optimzoo("train", REPO / "examples" / "digits" / "lion.toml", *changes).stdout
    rows = re.findall(r"^ +\d +(\d+) +[\d,]+ +0\.0003 +(\S+) +(\S+)", shown, re.MULTILINE)
    assert rows == [("3", "0.1", "features.0.weight"), ("7", "0", "features.0.bias")]
    assert "bias_decay_mult; norm_decay_mult" in shown


def test_muon_of_the_gpt_takes_the_matrices_and_adamw_alone_takes_all(optimzoo):
    folder, changes = REPO / "examples" / "gpt", ("--set", "train_cfg.max_iters=2")
    changes += "--set", "val_dataloader.dataset.number=16"
    muon = optimzoo("train", folder / "muon.toml", *changes, "--set", "param_scheduler=[]").stdout
    assert re.search(r"16 +442,368 +0.02 +0.1 +Muon: blocks.0.qkv.weight", muon)
    adamw = optimzoo("train", folder / "adamw.toml", *changes, "--set", "param_scheduler=[]").stdout
    assert re.search(r"19 +473,088 +0.004 +0.1 +tokens.weight", adamw)
