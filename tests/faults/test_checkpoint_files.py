"""Checkpoint files: damage is noticed, and a disk that is full costs nothing that was saved."""

import contextlib
import random
from pathlib import Path

import numpy
import pytest
import torch

from optimzoo.errors import CheckpointError
from optimzoo.run.store.checkpoint import FORMAT, MARK, _verify, checkpoints_in, load_checkpoint, save_checkpoint

from .helpers import same

STATE = {"format": FORMAT, "model": {"weight": torch.arange(20.0)}, "epoch": 3, "config": {"name": "x"}}


def test_every_flipped_bit_is_noticed_or_does_no_harm(tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    save_checkpoint(STATE, path)
    whole = path.read_bytes()
    noticed = 0
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            assert same(load_checkpoint(path), STATE), place
        except CheckpointError:
            noticed += 1
    assert noticed > len(whole) / 14


def test_a_number_that_changed_on_the_disk_is_noticed_though_torch_loads_it(tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    save_checkpoint(STATE, path)
    seven = torch.tensor(7.0).numpy().tobytes()
    path.write_bytes(path.read_bytes().replace(seven, torch.tensor(70.0).numpy().tobytes()))
    assert torch.load(path)["model"]["weight"][7] == 70
    with pytest.raises(CheckpointError, match=r"its checksum is wrong"):
        load_checkpoint(path)


def test_one_of_another_format_is_told_from_a_damaged_one(tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    torch.save({**STATE, "format": 99}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of this version of optimzoo"):
        load_checkpoint(path)


def test_numpys_numbers_are_saved_as_pythons(tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    save_checkpoint({"groups": [{"lr": numpy.float64(0.1), "steps": (numpy.int64(3), [numpy.bool_(True)])}]}, path)
    assert same(load_checkpoint(path)["groups"], [{"lr": 0.1, "steps": (3, [True])}])


@pytest.mark.parametrize("value", [numpy.zeros(2), {1, lambda: 0}, {numpy.int64(1): 2}, Path("x")])
def test_what_could_not_be_read_is_named_before_anything_is_written(value, tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    with pytest.raises(CheckpointError, match=r"cannot hold state\['hooks'\]\[0\]\['v'\], .*Earlier .* unt"):
        save_checkpoint({"hooks": [{"v": value}]}, path)
    assert not list(tmp_path.iterdir())


LIMITED = """
import resource, torch
from pathlib import Path
from optimzoo.run.store.checkpoint import save_checkpoint
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


def test_every_bit_of_the_directory_and_a_sample_elsewhere(tmp_path):
    """One bit of a member's attributes is enough for torch to return memory that it has not read."""
    path = tmp_path / "checkpoint_00000001.pt"
    save_checkpoint(STATE, path)
    assert same(torch.load(path), load_checkpoint(path)), "torch reads it too"
    whole = path.read_bytes()
    start = whole.index(b"PK\x01\x02")
    places = random.Random(0).sample(range(8 * start), min(8 * start, 5000))
    unnoticed = []
    for bit in (*range(8 * start, 8 * len(whole)), *places):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            _verify(path)  # whose error is that of load_checkpoint
        except Exception:
            continue
        unnoticed.append(bit)
        with contextlib.suppress(CheckpointError):
            assert same(load_checkpoint(path), STATE), bit
    assert all(bit // 8 >= len(whole) - len(MARK) - 8 for bit in unnoticed), (
        "of the mark, without which zip's sums count"
    )


@pytest.mark.parametrize("cut", [1, 8, 20, 30])
def test_one_that_is_cut_short_is_noticed_or_is_whole_without_its_checksum(cut, tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    save_checkpoint(STATE, path)
    path.write_bytes(path.read_bytes()[:-cut])
    with contextlib.suppress(CheckpointError):
        assert same(load_checkpoint(path), STATE)


def test_one_that_torch_wrote_is_read_by_the_checksums_that_torch_writes(tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    torch.save(STATE, path)
    assert same(load_checkpoint(path), STATE)
