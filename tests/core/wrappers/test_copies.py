"""A copy goes on as its original does, inside a window of accumulation too."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn

from optimzoo import AmpOptimWrapper, OptimWrapper, OptimWrapperDict, StepOutcome, build_optim_wrapper
from optimzoo.errors import OptimzooError, OptimzooWarning

X = torch.randn(8, 4, 3, generator=torch.Generator().manual_seed(0))
COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda both: pickle.loads(pickle.dumps(both))}


def single(cls=OptimWrapper, **kwargs):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    return model, cls(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=3, **kwargs)


def several():
    torch.manual_seed(0)
    model = nn.ModuleDict(dict(a=nn.Linear(3, 2), b=nn.Linear(2, 2)))
    cfg = dict(optimizer=dict(type="SGD", lr=0.1), accumulative_counts=3)
    return model, build_optim_wrapper(model, dict(a=cfg, b=cfg))


def loss(model, x):
    return (model["b"](model["a"](x)) if isinstance(model, nn.ModuleDict) else model(x)).float().square().mean()


def go(model, wrapper, xs, weight=None):
    for x in xs:
        wrapper.update_params(loss(model, x), weight=weight)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
class TestWithinAWindow:
    @pytest.mark.parametrize("weight", [None, 4])
    @pytest.mark.parametrize("done", [1, 2, 4])
    @pytest.mark.parametrize(
        "made",
        [single, several, lambda: single(AmpOptimWrapper, dtype="float16", loss_scale=64.0)],
        ids=["one", "several", "scaled"],
    )
    def test_the_gradients_come_along_without_a_warning(self, made, done, weight, copied):
        model, wrapper = made()
        go(model, wrapper, X[:done], weight)
        twin, other = copied((model, wrapper))
        go(model, wrapper, X[done:], weight)
        go(twin, other, X[done:], weight)
        for mine, theirs in zip(model.parameters(), twin.parameters()):
            assert torch.equal(mine, theirs)
            assert (mine.grad is None) == (theirs.grad is None)

    def test_a_gradient_that_is_not_the_wrappers_is_told_of_as_before(self, copied):
        model, wrapper = single()
        model(X[0]).sum().backward()
        twin, other = copied((model, wrapper))
        for each, wrapped in ((model, wrapper), (twin, other)):
            with pytest.warns(OptimzooWarning, match="had gradients of a backward pass that was not the wrapper's"):
                go(each, wrapped, X[:1])

    def test_what_a_member_left_in_another_is_dropped_without_a_word(self, copied):
        model = nn.ModuleDict(dict(a=nn.Linear(3, 2), b=nn.Linear(2, 2)))
        members = {name: OptimWrapper(torch.optim.SGD(model[name].parameters(), lr=0.1)) for name in model}
        wrapper = OptimWrapperDict(**members)
        wrapper["b"].update_params(loss(model, X[0]))
        twin, other = copied((model, wrapper))
        assert twin["a"].weight.grad is not None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert other["a"].update_params(loss(twin, X[1])) is StepOutcome.UPDATED

    @pytest.mark.filterwarnings("ignore:Using backward")
    def test_gradients_with_a_graph_are_refused(self, copied):
        model, wrapper = single()
        wrapper.backward(loss(model, X[0]), create_graph=True)
        with pytest.raises(OptimzooError, match="copy it after the update"):
            copied((model, wrapper))
        wrapper.zero_grad()


@pytest.mark.parametrize("name", ["Prodigy", "DAdaptSGD", "AdamW", "Sophia", "AdamW8bit", "LBFGS"])
def test_a_wrapper_of_any_optimizer_can_be_pickled(name):
    model = nn.Linear(3, 3)
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type=name)))
    _, other = pickle.loads(pickle.dumps((model, wrapper)))
    assert (type(other.optimizer), other.get_lr()) == (type(wrapper.optimizer), wrapper.get_lr())
