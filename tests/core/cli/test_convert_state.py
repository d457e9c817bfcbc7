"""`optimzoo convert-state` makes a checkpoint of one optimizer into one of another, and training goes on."""

import re
import sys

import pytest
import torch

from optimzoo.cli.convert_state import convert_state
from optimzoo.errors import CheckpointError, ConfigError

CODE = """
import torch
from torch import nn
from torch.utils.data import TensorDataset


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 1))


def data() -> TensorDataset:
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x[:, :1])


def loss(model, batch):
    return (model(batch[0]) - batch[1]).square().mean()
"""
CONFIG = """
model = {type = "mine:net"}
loss = "mine:loss"
work_dir = "%s"
train_dataloader = {dataset = {type = "mine:data"}, batch_size = 8}
train_cfg = {max_epochs = 2}
checkpoint = {keep = 5}
param_scheduler = {type = "CosineAnnealingLR", T_max = 4}
randomness = {seed = 0}
optim_wrapper = {optimizer = %s}
"""
ADAMW = '{type = "AdamW", lr = 0.01}'
MUON = '{type = "Muon", lr = 0.02, rest = {type = "AdamW", lr = 0.01}}'


ONES = torch.ones(1, 8)
PLAIN = torch.optim.AdamW([dict(params=[torch.ones(1, 8, requires_grad=True)], param_names=["3.weight"])]).state_dict()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "adamw.toml").write_text(CONFIG % ("old", ADAMW))
    (tmp_path / "muon.toml").write_text(CONFIG % ("new", MUON))
    yield tmp_path
    sys.modules.pop("mine", None)


def test_a_run_goes_on_with_another_optimizer_as_the_command_says(folder, optimzoo):
    optimzoo("train", "adamw.toml")
    refused = optimzoo("train", "muon.toml", "--work-dir", "old", "--resume", check=False)
    assert "optimzoo convert-state" in refused.stderr
    new = folder / "new" / "checkpoint_00000008.pt"
    new.parent.mkdir()
    convert = ("convert-state", "old/checkpoint_00000008.pt", "new/checkpoint_00000009.pt", "--config", "muon.toml")
    assert "is to hold step 8: call it checkpoint_00000008.pt" in optimzoo(*convert, check=False).stderr
    torch.save({**torch.load(folder / convert[1]), "backward_passes": {"": "8"}}, folder / "lies.pt")
    told = optimzoo("convert-state", "lies.pt", new, "--config", "muon.toml", check=False).stderr
    assert "lies.pt cannot be resumed from: its 'backward_passes' is" in told
    said = optimzoo("convert-state", "old/checkpoint_00000008.pt", new, "--config", "muon.toml").stdout
    assert re.search(r"6 carried, 2 converted", said)
    assert re.search(r"2.weight +│ converted +│ AdamW +│ Muon +│ exp_avg as momentum_buffer", said)
    command = re.search("Go on with optimzoo (.*)", said)[1].split()
    done = optimzoo(*command, "--set", "train_cfg.max_epochs=3")
    assert "resumed after step 8 (epochs done: 1)" in done.stdout
    assert torch.load(folder / "new" / "checkpoint_00000024.pt")["iter"] == 24


def test_a_state_by_itself_is_written_for_a_loop(folder, optimzoo):
    torch.manual_seed(0)
    model = torch.nn.Sequential(*map(torch.nn.Linear, (6, 8, 8), (8, 8, 1)))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 6)).sum().backward()
    optimizer.step()
    torch.save(optimizer.state_dict(), folder / "old.pt")
    (folder / "mine.py").write_text(CODE.replace("nn.LayerNorm(8), ", ""))
    said = optimzoo("convert-state", "old.pt", "new.pt", "--config", "muon.toml").stdout
    assert "optim_wrapper.load_state_dict(torch.load('new.pt'))" in said
    assert len(torch.load(folder / "new.pt")["state"]) == 6


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "there is no file"),
        ({"weights": torch.zeros(3)}, "holds no optimizer state"),
        ({"optimizer": 3}, "holds no optimizer state"),
        ({"state": {}, "param_groups": []}, "param_groups"),
        ({"state": {0: 1}, "param_groups": [{"params": [0]}]}, "old.pt cannot be converted: .*a dict"),
        (
            {**PLAIN, "state": {0: {"step": "x", "exp_avg": ONES, "exp_avg_sq": ONES}}},
            "damaged",
        ),
        ({"state": {0: {"step": 1}}, "param_groups": [{"params": [0, 1, 2]}, {"params": [3]}]}, "no parameter names"),
    ],
)
def test_what_cannot_be_converted_is_an_error_and_writes_nothing(folder, content, told):
    if content is not None:
        torch.save(content, folder / "old.pt")
    with pytest.raises(CheckpointError, match=told):
        convert_state(folder / "old.pt", folder / "new.pt", folder / "muon.toml")
    assert not (folder / "new.pt").exists()


def test_no_file_is_overwritten(folder):
    (folder / "new.pt").touch()
    with pytest.raises(ConfigError, match="is there already"):
        convert_state(folder / "old.pt", folder / "new.pt", folder / "muon.toml")
