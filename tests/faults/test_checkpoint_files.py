"""Checkpoint files: damage is noticed, and a disk that is full costs nothing that was saved."""

import pytest
import torch

from optimzoo.errors import CheckpointError
from optimzoo.runner.checkpoint import checkpoints_in, load_checkpoint, save_checkpoint

from .helpers import same

STATE = {"format": 1, "model": {"weight": torch.arange(20.0)}, "epoch": 3, "config": {"name": "x"}}


def test_every_flipped_bit_is_noticed_or_does_no_harm(tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    save_checkpoint(STATE, path)
    whole = path.read_bytes()
    noticed = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            assert same(load_checkpoint(path), STATE), place
        except CheckpointError:
            noticed += 1
    assert noticed > len(whole) / 2


def test_a_number_that_changed_on_the_disk_is_noticed_though_torch_loads_it(tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    save_checkpoint(STATE, path)
    seven = torch.tensor(7.0).numpy().tobytes()
    path.write_bytes(path.read_bytes().replace(seven, torch.tensor(70.0).numpy().tobytes()))
    assert torch.load(path)["model"]["weight"][7] == 70
    with pytest.raises(CheckpointError, match=r"the checksum of .*data/0 is wrong"):
        load_checkpoint(path)


def test_one_of_another_format_is_told_from_a_damaged_one(tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    torch.save({**STATE, "format": 99}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of this version of optimzoo"):
        load_checkpoint(path)


LIMITED = """
import resource, torch
from pathlib import Path
from optimzoo.runner.checkpoint import save_checkpoint
from optimzoo.errors import CheckpointError
folder = Path({folder!r})
save_checkpoint({{"x": torch.zeros(10)}}, folder / "checkpoint_00000001.pt")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_checkpoint({{"x": torch.zeros(100_000)}}, folder / "checkpoint_00000002.pt")
except CheckpointError as error:
    print(error)
"""


def test_a_disk_that_takes_no_more_leaves_the_earlier_checkpoint_and_no_half_one(run, tmp_path):
    pytest.importorskip("resource")
    folder = tmp_path / "saved"
    folder.mkdir()
    said = run("-c", LIMITED.format(folder=str(folder))).stdout
    assert "checkpoint_00000002.pt cannot be written" in said
    assert "Earlier checkpoints are untouched" in said
    assert [path.name for path in folder.iterdir()] == ["checkpoint_00000001.pt"]
    assert torch.equal(load_checkpoint(checkpoints_in(folder)[0])["x"], torch.zeros(10))
