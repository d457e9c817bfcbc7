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

    def test_it_is_not_chosen_for_a_class_that_only_derives_from_one_that_has_it(self, model):
        class Own(torch.optim.SGD):
            pass

        assert not build_optimizer(model, dict(type=Own, lr=0.1)).defaults["fused"]

    @pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad"])
    @pytest.mark.parametrize("options", [dict(), dict(momentum=0.9), dict(momentum=0.9, nesterov=True)], ids=str)
    def test_it_trains_a_layer_whose_first_gradient_comes_late(self, name, options):
        if options and name != "SGD":
            pytest.skip("an option of SGD")
        after = []
        for said in (dict(), dict(fused=False)):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
            wrapper = build_optim_wrapper(model, dict(optimizer=dict(type=name, lr=0.1, **options, **said)))
            for number in range(4):
                model[0].requires_grad_(number > 0)
                wrapper.update_params(model(torch.ones(2, 4)).square().mean())
            after.append(model[0].weight.detach())
        torch.testing.assert_close(*after)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
    def test_it_trains_as_the_slow_one_does(self, dtype):
        params = []
        for said in (dict(), dict(fused=False)):
            torch.manual_seed(0)
            model = nn.Linear(4, 4, dtype=dtype)
            optimizer = build_optimizer(model, dict(type="AdamW", lr=0.1, **said))
            for _ in range(3):
                model(torch.ones(4, dtype=dtype)).square().sum().backward()
                optimizer.step()
                optimizer.zero_grad()
            params.append(model.weight.detach())
        torch.testing.assert_close(*params)


class TestTensorLearningRates:
    def test_each_group_has_its_own_and_the_config_keeps_its_own(self):
        lr = torch.tensor(0.1)
        wrapper = build_optim_wrapper(
            nn.Linear(2, 2), dict(optimizer=dict(type="AdamW", lr=lr), paramwise_cfg=dict(bias_decay_mult=0.0))
        )
        first, second = (group["lr"] for group in wrapper.optimizer.param_groups)
        first.fill_(5.0)
        wrapper.optimizer.defaults["lr"].fill_(7.0)
        assert (float(second), float(lr)) == pytest.approx((0.1, 0.1))

    def test_equal_ones_share_a_group_and_are_multiplied(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        cfg = dict(optimizer=dict(type="Adam", lr=torch.tensor(0.1)), paramwise_cfg=dict(bias_lr_mult=2.0))
        _, biases = build_optim_wrapper(model, cfg).optimizer.param_groups
        assert biases["param_names"] == ["0.bias", "1.bias"]
        assert float(biases["lr"]) == pytest.approx(0.2)

    def test_whole_numbers_are_refused(self):
        with pytest.raises(ConfigError, match=r"optimizer\.lr: a tensor of floats is wanted, got torch\.int64"):
            build_optimizer(nn.Linear(1, 1), dict(type="SGD", lr=torch.tensor(1)))


class TestWhatThereIsToOptimize:
    def test_a_model_whose_parameters_are_all_frozen_is_an_error(self, model):
        model.requires_grad_(False)
        for paramwise_cfg in (None, dict(bias_lr_mult=2.0)):
            cfg = dict(optimizer=dict(type="SGD", lr=0.1), paramwise_cfg=paramwise_cfg)
            with pytest.raises(ConfigError, match=r"optimizer: SGD has nothing .*: all 8 parameters are frozen"):
                build_optim_wrapper(model, cfg)

    def test_so_is_a_model_without_parameters(self):
        with pytest.raises(ConfigError, match="SGD has nothing to optimize: the model has no parameters"):
            build_optim_wrapper(nn.ReLU(), dict(optimizer=dict(type="SGD", lr=0.1)))

    def test_groups_may_hold_named_parameters(self):
        model = nn.Linear(2, 2)
        groups = [dict(params=[("w", model.weight)]), dict(params=[("b", model.bias)], lr=0.5)]
        optimizer = build_optimizer(groups, dict(type="SGD", lr=0.1))
        assert [(g["param_names"], g["lr"]) for g in optimizer.param_groups] == [(["w"], 0.1), (["b"], 0.5)]

    @pytest.mark.parametrize(
        ("params", "said"),
        [
            ([dict(lr=0.1)], "has its parameters under the key 'params', got lr"),
            ([dict(params=[("w", torch.ones(1)), torch.ones(1)])], "some parameters of a group have names"),
            ([("w", torch.ones(1)), torch.ones(1)], "some parameters of a group have names"),
            ([dict(params=["w"])], "a parameter is a tensor, got 'w'"),
            ([dict(params=[]), torch.ones(1)], "are mixed in one list"),
            ([], "the parameter list is empty"),
        ],
        ids=str,
    )
    def test_a_list_that_cannot_be_optimized_says_why(self, params, said):
        with pytest.raises(ConfigError, match=said):
            build_optimizer(params, dict(type="SGD", lr=0.1))


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

    def test_frozen_parameters_are_none_of_muons_business(self):
        model = nn.Linear(2, 2)
        model.bias.requires_grad_(False)
        assert build_optimizer(model, dict(type="Muon")).param_groups[0]["param_names"] == ["weight"]

    def test_a_class_derived_from_one_with_needs_has_them_too(self, model):
        class Own(torch.optim.LBFGS):
            pass

        with pytest.raises(ConfigError, match="Own takes one parameter group"):
            build_optim_wrapper(model, dict(optimizer=dict(type=Own), paramwise_cfg=dict(bias_lr_mult=2.0)))


def test_the_first_argument_may_have_any_name(model):
    class Hybrid(torch.optim.SGD):
        def __init__(self, model_params, lr=0.1):
            super().__init__(model_params, lr=lr)

    optimizer = build_optimizer(model, dict(type=Hybrid, lr=0.2))
    assert (type(optimizer), optimizer.defaults["lr"]) == (Hybrid, 0.2)
