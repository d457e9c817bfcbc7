import inspect
import re

import mmengine.optim
import pytest
from mmengine.dataset import InfiniteSampler
from mmengine.runner import Runner

import optimzoo
from optimzoo.run.data.loaders import build_dataloader
from optimzoo.run.reading import ELSEWHERE, KEYS, OF_MMENGINE
from tests.conftest import REPO


@pytest.mark.parametrize("name", mmengine.optim.__all__)
def test_every_public_name_of_mmengine_is_one_here(name):
    assert name in optimzoo.__all__
    assert callable(getattr(optimzoo, name)) or name in ("OPTIMIZERS", "OPTIM_WRAPPER_CONSTRUCTORS")


def test_every_key_that_mmengines_runner_reads_is_told_and_has_a_row():
    read = re.findall(r"self\.cfg\.get\(\s*'(\w+)'", inspect.getsource(Runner))
    keys = {*read, *inspect.signature(Runner).parameters} - {"cfg"}
    assert len(keys) > 30
    assert sorted(keys - {*KEYS, *ELSEWHERE}) == []
    rows = (REPO / "docs" / "mmengine.md").read_text()
    assert [key for key in (keys | OF_MMENGINE.keys()) if f"`{key}`" not in rows] == []


def test_passes_end_where_an_infinite_sampler_of_mmengines_goes_on():
    cfg = dict(dataset=list(range(5)), batch_size=2)
    loader = build_dataloader({**cfg, "sampler": dict(type="InfiniteSampler", shuffle=False)}, "train_dataloader", 0)
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4]]
    whole = build_dataloader({**cfg, "sampler": InfiniteSampler(range(5), shuffle=False)}, "train_dataloader", 0)
    assert [batch.tolist() for _, batch in zip(range(3), whole)] == [[0, 1], [2, 3], [4, 0]]
