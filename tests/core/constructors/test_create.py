import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper, build_optimizer
from optimzoo.errors import ConfigError


class TestTheFastestKernel:
    @pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad"])
    def test_it_is_chosen_where_the_optimizer_has_one(self, name, model):
        assert build_optimizer(model, dict(type=name, lr=0.1)).defaults["fused"] is True

    @pytest.mark.parametrize("said", [dict(fused=False), dict(foreach=True), dict(foreach=False)])
    def test_what_the_user_says_stands(self, said, model):
        optimizer = build_optimizer(model, dict(type="AdamW", lr=0.1, **said))
        assert not optimizer.defaults["fused"]

    def test_it_is_not_chosen_against_an_option_that_it_does_not_have(self, model):
        optimizer = build_optimizer(model, dict(type="AdamW", lr=0.1, differentiable=True))
        assert not optimizer.defaults["fused"]
        assert not optimizer.param_groups[0]["fused"]

    def test_it_is_not_chosen_for_a_dtype_that_it_does_not_take(self):
        model = nn.Linear(2, 2, dtype=torch.complex64)
        assert not build_optimizer(model, dict(type="SGD", lr=0.1)).defaults["fused"]

    def test_it_is_not_chosen_for_sparse_gradients_which_then_work(self):
        model = nn.Embedding(10, 3, sparse=True)
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.1)))
        before = model.weight.clone()
        wrapper.update_params(model(torch.tensor([1])).sum())
        assert (before - model.weight).abs().sum(1).nonzero().flatten().tolist() == [1]


class TestNeeds:
    def test_one_group_for_lbfgs(self, model):
        cfg = dict(optimizer=dict(type="LBFGS"), paramwise_cfg=dict(bias_lr_mult=2.0))
        with pytest.raises(
            ConfigError, match="LBFGS takes one parameter group, and the parameter-wise settings make 2"
        ):
            build_optim_wrapper(model, cfg)

    def test_one_learning_rate_for_d_adaptation_but_for_frozen_groups(self, model):
        cfg = dict(optimizer=dict(type="DAdaptAdam", lr=1.0), paramwise_cfg=dict(custom_keys={"0.": dict(lr_mult=0.1)}))
        with pytest.raises(ConfigError, match=r"one step size over all groups, .* 0\.1, 1\.0"):
            build_optim_wrapper(model, cfg)
        cfg["paramwise_cfg"]["custom_keys"]["0."]["lr_mult"] = 0.0
        assert len(build_optim_wrapper(model, cfg).optimizer.param_groups) == 2

    def test_matrices_for_muon(self, model):
        with pytest.raises(
            ConfigError, match=r"Muon updates matrices only, and 7 .*: 0\.weight \(4, 1, 3, 3\), 0\.bias \(4,\)"
        ):
            build_optim_wrapper(model, dict(optimizer=dict(type="Muon")))
        with pytest.raises(ConfigError, match=r"parameter 1 of group 0 \(2,\)"):
            build_optimizer(nn.Linear(2, 2).parameters(), dict(type="Muon"))


def test_the_first_argument_may_have_any_name(model):
    class Hybrid(torch.optim.SGD):
        def __init__(self, model_params, lr=0.1):
            super().__init__(model_params, lr=lr)

    optimizer = build_optimizer(model, dict(type=Hybrid, lr=0.2))
    assert (type(optimizer), optimizer.defaults["lr"]) == (Hybrid, 0.2)
