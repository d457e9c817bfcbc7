import os

import pytest

from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint

from ..conftest import REPO
from .helpers import same


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_killed_a_hundred_times_ends_bit_equal_to_one_that_never_was(run, tmp_path):
    done = run("-m", "tests.faults.training", tmp_path, 100, path=[REPO])
    killed, torn, rounds = map(int, done.stdout.split())
    assert killed == 100
    assert torn >= 1, "so often a save was cut in two"
    straight, *others = (tmp_path / name for name in ("straight", *(f"killed-{n + 1}" for n in range(rounds))))
    expected = load_checkpoint(checkpoints_in(straight)[-1])
    for folder in others:
        found = load_checkpoint(checkpoints_in(folder)[-1])
        assert found["iter"] == 450
        for part in ("model", "optim_wrapper", "param_scheduler", "gradients", "random"):
            assert same(found[part], expected[part]), part
        assert (folder / "metrics.csv").read_text() == (straight / "metrics.csv").read_text()
