import copy
import pickle

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, OptimWrapperDict
from optimzoo.errors import CheckpointError, ConfigError, OptimzooError


def wrapper(lr, groups=1, **kwargs):
    params = [{"params": [nn.Parameter(torch.ones(1))], "param_names": [f"p{i}"]} for i in range(groups)]
    return OptimWrapper(torch.optim.SGD(params, lr=lr, momentum=0.9), **kwargs)


@pytest.fixture
def pair():
    return OptimWrapperDict(generator=wrapper(0.1), discriminator=wrapper(0.4, groups=2))


def test_it_is_read_as_a_dict(pair):
    assert list(pair) == list(pair.keys()) == ["generator", "discriminator"]
    assert len(pair) == 2
    assert "generator" in pair
    assert "extractor" not in pair
    assert dict(pair.items())["generator"] is pair["generator"] is next(iter(pair.values()))
    with pytest.raises(KeyError, match="there are 'generator', 'discriminator'"):
        pair["extractor"]


def test_hyperparameters_come_under_the_members_names(pair):
    assert pair.get_lr() == {"generator.lr": [0.1], "discriminator.base_lr": [0.4], "discriminator.lr": [0.4, 0.4]}
    assert pair.get_momentum() == {"generator.momentum": [0.9], "discriminator.momentum": [0.9, 0.9]}
    assert {name: len(groups) for name, groups in pair.param_groups.items()} == {"generator": 1, "discriminator": 3}


def test_what_belongs_to_one_member_is_an_error_that_names_them(pair):
    for method in ("update_params", "backward", "step", "optimizer"):
        with pytest.raises(OptimzooError, match=rf"'generator', 'discriminator': write .*\['generator'\]\.{method}"):
            getattr(pair, method)
    assert not hasattr(pair, "train_cfg")


def test_gradients_are_cleared_everywhere(pair):
    params = [group["params"][0] for each in pair.values() for group in each.optimizer.param_groups]
    for parameter in params:
        parameter.grad = torch.ones(1)
    pair.zero_grad()
    assert [p.grad for p in params] == [None, None, None]


def test_a_forward_pass_that_serves_all_enters_the_context_of_each():
    entered = []

    class Distributed(nn.Module):
        def no_sync(self):
            entered.append(True)
            return torch.no_grad()

    pair = OptimWrapperDict(a=wrapper(1.0, accumulative_counts=3), b=wrapper(1.0))
    with pair.optim_context(Distributed()):
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert entered == [True]


def test_the_states_go_by_name(pair):
    for each in pair.values():
        for group in each.optimizer.param_groups:
            group["lr"] = 7.0
    state = pair.state_dict()
    assert list(state) == ["generator", "discriminator"]
    fresh = OptimWrapperDict(generator=wrapper(0.1), discriminator=wrapper(0.4, groups=2))
    fresh.load_state_dict(state)
    assert fresh.get_lr()["discriminator.lr"] == [7.0, 7.0]
    with pytest.raises(
        CheckpointError, match="the states of 'generator', and the optimizer wrappers are 'generator', "
    ):
        fresh.load_state_dict({"generator": state["generator"]})


def test_it_says_which_member_holds_a_parameter():
    pair = OptimWrapperDict(a=wrapper(0.5), b=wrapper(0.1, groups=2))
    assert pair.explain("p0").startswith("a, group 0 (lr 0.5, weight_decay 0)")
    assert pair.explain("p1").startswith("b, group 1 (lr 0.1")
    with pytest.raises(ConfigError, match="no parameter group holds 'pp1'.*Did you mean 'p1'"):
        pair.explain("pp1")


def test_it_can_be_copied_pickled_and_printed(pair):
    assert copy.deepcopy(pair).get_lr() == pickle.loads(pickle.dumps(pair)).get_lr() == pair.get_lr()
    assert repr(pair).startswith("name: generator\nType: OptimWrapper\n")


def test_a_member_that_is_no_wrapper_is_refused():
    with pytest.raises(ConfigError, match="^generator: an optimizer wrapper is wanted"):
        OptimWrapperDict(generator=torch.optim.SGD([nn.Parameter(torch.ones(1))]))
