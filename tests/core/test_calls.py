import pytest

from optimzoo import calls
from optimzoo.errors import ConfigError


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
    (problem,) = calls.problems(optimize, kwargs, "o", given=("params",))
    assert problem.path == path
    assert said in str(problem)


def test_a_missing_argument_is_named():
    (problem,) = calls.problems(optimize, {}, "o")
    assert str(problem) == "o.params: optimize needs a value for 'params'"


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


def test_what_the_function_itself_refuses_is_placed_and_chained():
    def refuse(lr=1.0):
        raise ValueError("Invalid learning rate")

    with pytest.raises(
        ConfigError, match=r"^o: .*refuse refused its arguments: ValueError: Invalid learning rate"
    ) as caught:
        calls.call(refuse, {"lr": -1.0}, "o")
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_function_with_open_keywords_is_left_to_judge_them():
    assert calls.call(lambda **kwargs: kwargs, {"anything": 1}) == {"anything": 1}
