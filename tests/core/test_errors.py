import pytest

from optimzoo import errors
from optimzoo.errors import ConfigError, MissingDependencyError, PluginError, UnknownNameError


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("Lyon", ["Lion", "SGD", "Adam"], ["Lion"]),
        ("adamw", ["AdamW", "SGD"], ["AdamW"]),
        ("cosine", ["CosineAnnealingLR", "StepLR"], ["CosineAnnealingLR"]),
        ("xyz", ["AdamW", "SGD"], []),
        ("weight-decay", ["weight_decay", "momentum_decay"], ["weight_decay"]),
        ("learning_rate", ["lr", "learning_rates"], ["lr"]),
        (3, ["lr", 3], ["3"]),
        ("norm_decay_mlt", ["norm_decay_mult", "flat_decay_mult"], ["norm_decay_mult"]),
    ],
)
def test_near_names_are_found_whatever_their_case(name, known, expected):
    assert errors.near(name, known) == expected


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("it is wrong", "optimizer.lr"),
        MissingDependencyError("it is wrong", "pip install it", "optimizer.lr"),
        PluginError("it is wrong", "optimizer.lr"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_says_where_and_can_be_placed_under_a_longer_path(error):
    error = error.under("optim_wrapper")
    assert str(error) == "optim_wrapper.optimizer.lr: it is wrong"
    assert (error.path, error.problem) == ("optim_wrapper.optimizer.lr", "it is wrong")


def test_every_problem_of_a_listing_is_placed():
    error = errors.listing([ConfigError("one", "a"), ConfigError("two", "b")]).under("top")
    assert [problem.path for problem in error.problems] == ["top.a", "top.b"]
    assert str(error).splitlines() == ["2 problems:", "  top.a: one", "  top.b: two"]


def test_an_unknown_name_is_a_key_error_that_prints_as_a_sentence():
    error = UnknownNameError("there is no 'x'", "type", ["y"])
    assert isinstance(error, KeyError)
    assert isinstance(error, ValueError)
    assert str(error) == "type: there is no 'x'"


def test_a_missing_dependency_is_an_import_error_that_carries_the_command():
    error = MissingDependencyError("needs lion", "pip install 'optimzoo[lion]'", "optimizer.type")
    assert isinstance(error, ImportError)
    assert (error.install, error.path) == ("pip install 'optimzoo[lion]'", "optimizer.type")
