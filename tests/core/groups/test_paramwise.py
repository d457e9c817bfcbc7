from pathlib import Path

import pytest

from optimzoo import DefaultOptimWrapperConstructor
from optimzoo.groups.paramwise import TABLE

PAGE = Path(__file__).parents[3] / "docs" / "parameters.md"


def test_the_documentation_says_of_each_key_what_the_table_says():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert rows[: len(TABLE)] == [f"| `{key.name}` | {key.about} |" for key in TABLE]


@pytest.mark.parametrize("key", TABLE, ids=lambda key: key.name)
def test_each_key_of_the_table_is_read_and_its_misspelling_recognized(key):
    optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1, weight_decay=0.1))
    value = {"custom_keys": {"a": {}}, "rules": [dict(ndim=1, lr_mult=2)], "not_norms": ["A"]}.get(key.name)
    if value is None:
        value = 0.5 if key.setting else not key.default
    DefaultOptimWrapperConstructor(optim_wrapper, {key.name: value})
    for wrong in (f"{key.name}x", key.name[:-1]):
        with pytest.raises(ValueError, match=f"reads no key '{wrong}'.*Did you mean.*'{key.name}'"):
            DefaultOptimWrapperConstructor(optim_wrapper, {wrong: value})
    with pytest.raises(ValueError, match=f"paramwise_cfg.{key.name}: .*wanted"):
        DefaultOptimWrapperConstructor(optim_wrapper, {key.name: "wrong"})


def test_all_that_is_wrong_is_told_in_one_error():
    wrong = dict(
        bias_lr_mult=-1,
        custom_keys={"a": dict(lr_mult="x"), 3: {}},
        strict=1,
        nrom_decay_mult=0,
        rules=[dict(lr_mult=1)],
    )
    with pytest.raises(ValueError, match="6 problems") as caught:
        DefaultOptimWrapperConstructor(dict(optimizer=dict(type="SGD", lr=0.1)), wrong)
    assert sorted(problem.path for problem in caught.value.problems) == [
        "paramwise_cfg.bias_lr_mult",
        "paramwise_cfg.custom_keys['a'].lr_mult",
        "paramwise_cfg.custom_keys[3]",
        "paramwise_cfg.nrom_decay_mult",
        "paramwise_cfg.rules[0]",
        "paramwise_cfg.strict",
    ]
