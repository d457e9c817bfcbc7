"""ApexOptimWrapper against a stand-in that has the interface apex.amp documents: apex itself needs CUDA to be built."""

import sys
from contextlib import contextmanager
from types import ModuleType

import pytest
import torch
from torch import nn

from optimzoo import StepOutcome, build_optim_wrapper
from optimzoo.errors import MissingDependencyError, OptimzooError


class FakeAmp(ModuleType):
    """Scales by 4; an overflow replaces the optimizer's step for one call, as apex does."""

    def __init__(self):
        super().__init__("apex.amp")
        self.initialized = []
        self.state = {"loss_scaler0": {"loss_scale": 4.0, "unskipped": 0}}

    def initialize(self, model, optimizer, **kwargs):
        self.initialized.append((model, kwargs))
        return model, optimizer

    @contextmanager
    def scale_loss(self, loss, optimizer):
        yield loss * 4
        grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
        for grad in grads:
            grad /= 4
        if not all(grad.isfinite().all() for grad in grads):
            real = optimizer.step

            def skip_step(closure=None):
                optimizer.step = real

            optimizer.step = skip_step

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        if not self.initialized:
            raise RuntimeError("amp.load_state_dict comes after amp.initialize")
        self.state = state


@pytest.fixture
def amp(monkeypatch):
    fake, package = FakeAmp(), ModuleType("apex")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "apex", package)
    monkeypatch.setitem(sys.modules, "apex.amp", fake)
    return fake


@pytest.fixture
def linear():
    model = nn.Linear(2, 1, bias=False)
    nn.init.ones_(model.weight)
    return model


def build(model, **kwargs):
    return build_optim_wrapper(model, dict(type="ApexOptimWrapper", optimizer=dict(type="SGD", lr=0.1), **kwargs))


def iterate(wrapper, model, factor=1.0):
    with wrapper.optim_context(model):
        loss = model(torch.ones(1, 2)).sum() * factor
    return wrapper.update_params(loss)


def test_apex_gets_model_optimizer_and_arguments_once(amp, linear):
    wrapper = build(linear, opt_level="O2", keep_batchnorm_fp32=True)
    for _ in range(2):
        assert iterate(wrapper, linear) is StepOutcome.UPDATED
    ((model, kwargs),) = amp.initialized
    assert model is linear
    assert (kwargs["opt_level"], kwargs["keep_batchnorm_fp32"], kwargs["max_loss_scale"]) == ("O2", True, 2.0**24)
    assert torch.allclose(linear.weight, torch.full((1, 2), 0.8))


def test_a_step_that_apex_skips_is_counted_as_skipped(amp, linear):
    wrapper = build(linear)
    outcomes = [iterate(wrapper, linear, factor) for factor in (1.0, torch.inf, 1.0)]
    assert outcomes == [StepOutcome.UPDATED, StepOutcome.SKIPPED, StepOutcome.UPDATED]
    assert (wrapper.update_count, wrapper.skipped_count) == (2, 1)
    assert torch.allclose(linear.weight, torch.full((1, 2), 0.8))


def test_its_state_is_saved_and_waits_for_the_first_context_to_be_loaded(amp, linear):
    wrapper = build(linear)
    state = {**wrapper.state_dict(), "apex_amp": {"loss_scaler0": {"loss_scale": 8.0, "unskipped": 3}}}
    wrapper.load_state_dict(state)
    assert wrapper.state_dict()["apex_amp"]["loss_scaler0"]["loss_scale"] == 4.0
    iterate(wrapper, linear)
    assert wrapper.state_dict()["apex_amp"] == state["apex_amp"]
    wrapper.load_state_dict({**state, "apex_amp": {}})
    assert amp.state == {}


def test_nothing_of_apex_is_imported_until_it_is_built():
    assert "apex" not in sys.modules


@pytest.mark.parametrize(("package", "said"), [(None, "it is not installed"), (ModuleType("apex"), "is PyPI's")])
def test_without_it_the_error_says_where_it_is_and_that_pypi_has_another(package, said, linear, monkeypatch):
    monkeypatch.setitem(sys.modules, "apex", package)
    with pytest.raises(MissingDependencyError, match=said) as caught:
        build(linear)
    assert caught.value.install.endswith("git+https://github.com/NVIDIA/apex")
    assert isinstance(caught.value, OptimzooError)
