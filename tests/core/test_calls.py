from __future__ import annotations

from typing import TYPE_CHECKING

import lion_pytorch
import pytest
import torch

from optimzoo import calls
from optimzoo.errors import ConfigError, listing

if TYPE_CHECKING:
    from nowhere import Unknown


def optimize(params, lr=1e-3, betas=(0.9, 0.999), nesterov=False, *, foreach=None):
    return params, lr, betas, nesterov, foreach


@pytest.mark.parametrize(
    ("kwargs", "path", "said"),
    [
        ({"ler": 1}, "o.ler", "Did you mean 'lr'?"),
        ({"zzz": 1}, "o.zzz", "It takes lr, betas, nesterov, foreach"),
        ({"lr": "0.1"}, "o.lr", "wants a number"),
        ({"lr": True}, "o.lr", "wants a number"),
        ({"betas": 0.9}, "o.betas", "wants 2 numbers"),
        ({"betas": (0.9,)}, "o.betas", "wants 2 numbers"),
        ({"betas": ("0.9", 0.99)}, "o.betas", "wants numbers"),
        ({"nesterov": 1}, "o.nesterov", "wants true or false"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_place(kwargs, path, said):
    with pytest.raises(ConfigError) as caught:
        calls.read(optimize, kwargs, "o", given=("params",))
    assert (caught.value.path, said in str(caught.value)) == (path, True)


def test_a_missing_argument_is_named():
    with pytest.raises(ConfigError, match="^o.params: optimize needs a value for 'params'$"):
        calls.read(optimize, {}, "o")


def test_a_misspelt_argument_is_one_problem_and_not_a_missing_one_too():
    with pytest.raises(ConfigError, match=r"^o\.parms: optimize has no argument 'parms'\. Did you mean 'params'\?$"):
        calls.read(optimize, {"parms": []}, "o")


def test_all_problems_are_raised_together():
    with pytest.raises(ConfigError) as caught:
        calls.call(optimize, {"ler": 1, "nesterov": "no", "params": []})
    assert [p.path for p in caught.value.problems] == ["ler", "nesterov"]


@pytest.mark.parametrize("betas", [[0, 0.99], (0, 0.99)])
def test_a_list_or_ints_become_the_tuple_of_floats_that_the_default_is(betas):
    received = calls.call(optimize, {"params": [], "betas": betas})[2]
    assert received == (0.0, 0.99)
    assert isinstance(received, tuple)
    assert all(isinstance(beta, float) for beta in received)


def annotated(count: int, rate: float | None, shuffle: bool, name: str = "x", *, other: Unknown = None, size: int = 1):
    return count, rate


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"count": "640"}, "wants a whole number for 'count', got '640'"),
        ({"count": 6.5}, ""),
        ({"count": True}, "wants a whole number for 'count'"),
        ({"rate": "0.1"}, "wants a number for 'rate'"),
        ({"shuffle": "False"}, "wants true or false for 'shuffle', got 'False'"),
        ({"name": 3}, "wants a string for 'name', got 3"),
        ({"rate": None}, ""),
        ({"rate": 1}, ""),
        ({"rate": torch.tensor(0.1)}, ""),
    ],
)
@pytest.mark.parametrize("resolves", [True, False])
def test_a_plain_annotation_tells_what_is_wanted_whatever_the_others_are(kwargs, said, resolves):
    def sized(count: int, rate: float | None, shuffle: bool, name: str = "x"): ...

    target = sized if resolves else annotated
    arguments = {"count": 1, "rate": 0.1, "shuffle": True, **kwargs}
    if not said:
        assert calls.read(target, arguments).kwargs == arguments
        return
    with pytest.raises(ConfigError, match=said):
        calls.read(target, arguments)


def test_what_the_library_itself_refuses_is_placed_and_chained():
    kwargs = {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": -1.0}
    with pytest.raises(
        ConfigError, match=r"^o: AdamW refused its arguments: ValueError: Invalid learning rate"
    ) as caught:
        calls.call(torch.optim.AdamW, kwargs, "o")
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_bare_assertion_of_a_library_names_the_arguments():
    kwargs = {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": -1.0}
    with pytest.raises(ConfigError, match=r"Lion refused its arguments \(lr=-1\.0\): AssertionError: assert lr > 0"):
        calls.call(lion_pytorch.Lion, kwargs)


def test_an_error_in_the_users_own_code_says_in_which_line():
    def build(table=1):
        return {}["key"]

    with pytest.raises(ConfigError, match=r"^o: .*build failed: .*test_calls\.py:\d+: KeyError: 'key'$") as caught:
        calls.call(build, {}, "o")
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_repeated_problem_is_raised_once():
    one, two = ConfigError("it is wrong", "a"), ConfigError("it is wrong", "a")
    with pytest.raises(ConfigError, match="^a: it is wrong$"):
        calls.raise_all([one, two, listing([one, two])])


def test_a_function_without_arguments_takes_none_and_one_written_in_c_is_left_to_judge():
    with pytest.raises(ConfigError, match=r"has no argument 'x'\. It takes no arguments\."):
        calls.read(lambda: 1, {"x": 1})
    assert calls.read(dict, {"x": 1}).build() == {"x": 1}


def test_a_function_with_open_keywords_is_left_to_judge_them():
    assert calls.call(lambda **kwargs: kwargs, {"anything": 1}) == {"anything": 1}
