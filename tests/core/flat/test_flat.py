"""A flat step moves parameters and states to the bit as the plain one, whatever happens between the steps."""

import pytest

from tests.core.flat.plays import ADAMW, CLIP, PLAYS, assert_alike, plain

OPTIMIZERS = [
    dict(type="AdamW"),
    dict(type="AdamW", amsgrad=True, foreach=True),
    dict(type="Adam", weight_decay=0.1),
    dict(type="SGD", lr=0.01, fused=False),
    dict(type="SGD", lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.1),
    dict(type="Adagrad"),
    dict(type="NAdam"),
    dict(type="RAdam"),
    dict(type="Adamax"),
    dict(type="RMSprop", momentum=0.9, centered=True),
    dict(type="ASGD"),
    dict(type="Adadelta"),
    dict(type="Lion", lr=1e-3, weight_decay=0.1),
    dict(type="bitsandbytes.Adam"),
    dict(type="bitsandbytes.RMSprop"),
    dict(type="pytorch_optimizer.AdaBelief"),
    dict(type="pytorch_optimizer.ADOPT"),
    dict(type="optimi.AdamW", lr=1e-3),
    dict(type="optimi.Adan", lr=1e-3),
    dict(type="adam_atan2_pytorch.AdamAtan2"),
    dict(type="torch_optimizer.DiffGrad"),
    dict(type="madgrad.MADGRAD", lr=1e-3),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda cfg: "-".join(map(str, cfg.values())))
def test_200_updates_of_many_optimizers_are_the_same_to_the_bit(optimizer):
    pytest.importorskip("torch" if "." not in optimizer["type"] else optimizer["type"].partition(".")[0])
    assert_alike(optimizer, plain, CLIP, 200)


@pytest.mark.parametrize(
    ("how", "settings", "optimizer"),
    [(*each, ADAMW) for each in PLAYS] + [(*each, dict(type="NAdam")) for each in PLAYS[:12]],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_whatever_happens_between_updates_the_numbers_are_the_same(how, settings, optimizer):
    assert_alike(optimizer, how, settings, 30)
