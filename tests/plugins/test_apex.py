"""ApexOptimWrapper against a stand-in that has the interface apex.amp documents: apex itself needs CUDA to be built."""

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

import optimzoo
from optimzoo import StepOutcome, build_optim_wrapper
from optimzoo.errors import MissingDependencyError, OptimzooError

from .fake_apex import amp

__all__ = ["amp"]


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


def test_it_is_a_plugin_whose_class_has_a_public_name():
    assert optimzoo.ApexOptimWrapper is optimzoo.OPTIM_WRAPPERS.get("apex.ApexOptimWrapper")
    assert optimzoo.ApexOptimWrapper.__module__ == "optimzoo_plugins.apex.optim_wrapper"
    assert optimzoo.OPTIM_WRAPPERS.entry("ApexOptimWrapper").plugin == "apex"


def test_the_public_name_goes_with_the_plugin(run):
    code = "import optimzoo; print(hasattr(optimzoo, 'ApexOptimWrapper'), hasattr(optimzoo.wrappers, 'NoSuchWrapper'))"
    for disabled, found in (("", "True False"), ("apex", "False False")):
        assert run("-c", code, OPTIMZOO_DISABLE_PLUGINS=disabled).stdout.split() == found.split()
