"""ZeroRedundancyOptimizer trains as the optimizer that it shards, its state saved and loaded."""

import pytest
from torch import nn

from optimzoo.errors import ConfigError

from .zero import CFG, build


@pytest.mark.usefixtures("found")
def test_it_equals_the_optimizer_that_it_shards(folder):
    assert (folder / "zero-equals").exists()


@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        (CFG, r"optimizer\.type: .*init_process_group"),
        (dict(CFG, optimizer_type="Lyon"), r"optimizer\.optimizer_type: .*'Lion'"),
    ],
)
def test_what_is_missing_is_named(cfg, said):
    with pytest.raises(ConfigError, match=said):
        build(nn.Linear(1, 1), cfg)
