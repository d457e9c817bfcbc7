"""A flat step moves parameters and states to the bit as the plain one, whatever happens between the steps."""

import pytest

from tests.core.flat.plays import ADAMW, CLIP, OPTIMIZERS, PLAYS, assert_alike, plain


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda cfg: "-".join(map(str, cfg.values())))
def test_200_updates_of_many_optimizers_are_the_same_to_the_bit(optimizer):
    pytest.importorskip("torch" if "." not in optimizer["type"] else optimizer["type"].partition(".")[0])
    assert_alike(optimizer, plain, CLIP, 200)


@pytest.mark.parametrize(
    ("how", "settings", "optimizer"),
    [(*each, ADAMW) for each in PLAYS]
    + [(*each, dict(type="NAdam")) for each in PLAYS[:12]]
    + [(*each, dict(type="Muon", rest=dict(type="NAdam"))) for each in PLAYS],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_whatever_happens_between_updates_the_numbers_are_the_same(how, settings, optimizer):
    assert_alike(optimizer, how, settings, 30)
