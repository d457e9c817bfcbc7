"""Checkpoint files: damage is noticed, and a disk that is full costs nothing that was saved."""

import random
import zipfile
import zlib
from pathlib import Path

import numpy
import pytest
import torch

from optimzoo.errors import CheckpointError
from optimzoo.files import read_plain
from optimzoo.run.store.checkpoint import FORMAT, MARK, _verify, checkpoints_in, load_checkpoint, save_checkpoint
from optimzoo.run.store.sums import Summed

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


@pytest.mark.parametrize("form", [99, None, "2", True, torch.zeros(3), torch.tensor(FORMAT)])
def test_one_of_another_format_is_told_from_a_damaged_one(form, tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    torch.save({**STATE, "format": form}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of this version of optimzoo"):
        load_checkpoint(path)


@pytest.mark.parametrize("levels", [0, 40])
def test_one_whose_lists_hold_each_other_over_and_over_is_told_at_once(levels, tmp_path):
    values = [1]
    for _ in range(levels):
        values = [values, values]
    if not levels:
        values.append(values)
    torch.save({"format": FORMAT, "config": values}, tmp_path / "checkpoint_00000001.pt")
    with pytest.raises(CheckpointError, match="hold each other, .* over and over"):
        load_checkpoint(tmp_path / "checkpoint_00000001.pt")


@pytest.mark.parametrize("read", [load_checkpoint, lambda path: read_plain(path, "it")])
def test_a_small_one_that_shows_one_number_as_many_is_told_at_once(read, tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    torch.save({"format": FORMAT, "model": {"weight": torch.zeros(1, 3000).expand(3000, 3000)}}, path)
    with pytest.raises(CheckpointError, match="tensors few numbers as many"):
        read(path)
    torch.save({"format": FORMAT, "model": {"mask": torch.ones(4, 1).expand(4, 9), "cut": torch.ones(9)[2:5]}}, path)
    assert read(path)["model"]["mask"].shape == (4, 9)


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
from optimzoo.files import read_plain
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


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    save_checkpoint(STATE, path)
    assert same(torch.load(path), load_checkpoint(path)), "torch reads it too"
    return path


def is_noticed(path, damaged):
    """Whether the checks alone, whose error is that of ``load_checkpoint``, refuse it; torch may, or not."""
    path.write_bytes(damaged)
    try:
        with Summed(path) as file:
            _verify(file)
    except zipfile.BadZipFile:
        return True
    return False


def test_every_bit_of_the_directory_and_the_checksum_and_a_sample_elsewhere(saved):
    """One bit of a member's attributes is enough for torch to return memory that it has not read."""
    whole = saved.read_bytes()
    assert not is_noticed(saved, whole)
    start = whole.index(b"PK\x01\x02")
    assert len(whole) - whole.index(MARK) == 23
    for bit in (*range(8 * start, 8 * len(whole)), *random.Random(0).sample(range(8 * start), 5000)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        assert is_noticed(saved, damaged), bit


@pytest.mark.parametrize("more", [b"\0", b"\0" * 23, b"x" * 5000, MARK + b"00000000", "its own"])
def test_one_with_more_after_its_end_is_noticed(more, saved):
    whole = saved.read_bytes()
    assert is_noticed(saved, whole + (whole[-23:] if more == "its own" else more))


def test_one_that_is_cut_short_is_noticed_wherever(saved):
    whole = saved.read_bytes()
    for length in range(len(whole)):
        assert is_noticed(saved, whole[:length]), length


@pytest.mark.parametrize("apart", [None, 1, 2, 128, 255])
def test_blocks_that_are_zero_or_have_changed_places_are_noticed(apart, tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    save_checkpoint({"weight": torch.randn(600_000), "other": torch.randn(600_000).half()}, path)
    whole = path.read_bytes()
    block = 4096
    for first in (block, 100 * block, 400 * block):
        damaged = bytearray(whole)
        if apart is None:
            damaged[first : first + block] = bytes(block)
        else:
            second = first + block * apart
            damaged[first : first + block], damaged[second : second + block] = (
                whole[second : second + block], whole[first : first + block]
            )  # fmt: skip
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="its checksum is wrong"):
            load_checkpoint(path)


def test_one_of_before_is_read_and_its_damage_noticed(tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    torch.save(STATE, path)
    whole = path.read_bytes()
    path.write_bytes(whole + b"optimzoo crc32 " + f"{zlib.crc32(whole):08x}".encode())
    assert same(load_checkpoint(path), STATE)
    path.write_bytes(whole.replace(b"epoch", b"hcope") + b"optimzoo crc32 " + f"{zlib.crc32(whole):08x}".encode())
    with pytest.raises(CheckpointError, match="its checksum is wrong"):
        load_checkpoint(path)


def test_one_that_was_changed_and_saved_again_by_torch_is_taken(saved):
    state = torch.load(saved)
    torch.save({**state, "epoch": 4}, saved)
    assert load_checkpoint(saved)["epoch"] == 4


def test_one_that_torch_wrote_is_read_by_the_checksums_that_torch_writes(tmp_path):
    path = tmp_path / "checkpoint_00000001.pt"
    torch.save(STATE, path)
    assert same(load_checkpoint(path), STATE)
