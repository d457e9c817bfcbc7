"""What a wrapper says of its groups: hyperparameters, their state, and which rule gave a parameter its settings."""

import copy

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, build_optim_wrapper
from optimzoo.errors import ConfigError


def sgd(model, lr=0.1, **kwargs):
    return OptimWrapper(torch.optim.SGD(model.named_parameters(), lr=lr), **kwargs)


class TestHyperparametersAndState:
    def two_groups(self, model, **kwargs):
        cfg = dict(optimizer=dict(type="AdamW", lr=0.1, **kwargs), paramwise_cfg=dict(bias_lr_mult=2.0))
        return build_optim_wrapper(model, cfg)

    def test_the_learning_rates_come_with_that_of_the_base_settings(self, model):
        assert self.two_groups(model).get_lr() == {"base_lr": [0.1], "lr": [0.1, 0.2]}
        assert sgd(model).get_lr() == {"lr": [0.1]}

    def test_a_learning_rate_may_be_a_tensor_that_is_not_shared_with_the_base_settings(self, model):
        groups = [{"params": [p]} for p in model.parameters()]
        wrapper = OptimWrapper(torch.optim.Adam(groups, lr=torch.tensor(0.5), foreach=False, capturable=True))
        wrapper.base_param_settings["lr"].fill_(0.25)
        assert wrapper.get_lr() == {"base_lr": [0.25], "lr": [0.5] * len(groups)}

    def test_the_momentum_is_the_first_beta_where_there_is_no_momentum(self, model):
        assert self.two_groups(model, betas=(0.8, 0.9)).get_momentum() == {"momentum": [0.8, 0.8]}
        assert OptimWrapper(torch.optim.Rprop(model.parameters())).get_momentum() == {"momentum": [0]}
        left_by_mmengine = OptimWrapper(torch.optim.Adam([{"params": model.parameters(), "momentum": 0.7}]))
        assert left_by_mmengine.get_momentum() == {"momentum": [0.9]}
        by_group = torch.optim.SGD([{"params": model.parameters(), "betas": (0.6, 0.9)}], lr=0.1)
        del by_group.defaults["momentum"], by_group.param_groups[0]["momentum"]
        assert OptimWrapper(by_group).get_momentum() == {"momentum": [0.6]}

    def test_a_state_survives_saving_and_loading_and_is_left_as_it_is(self, model, tmp_path):
        wrapper = self.two_groups(model)
        wrapper.update_params(model(torch.randn(2, 1, 4, 4)).sum())
        torch.save(wrapper.state_dict(), tmp_path / "state.pt")
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        keys = list(state)
        fresh = self.two_groups(copy.deepcopy(model))
        fresh.base_param_settings["lr"] = 9.0
        fresh.load_state_dict(state)
        assert list(state) == keys
        assert {"state", "param_groups", "base_param_settings"} < set(keys)
        assert fresh.base_param_settings["lr"] == 0.1
        for mine, theirs in zip(fresh.state_dict()["state"].values(), wrapper.state_dict()["state"].values()):
            assert all(torch.equal(mine[key], theirs[key]) for key in mine)

    def test_what_is_not_an_optimizer_is_refused(self):
        with pytest.raises(ConfigError, match=r"^optimizer: .*torch\.optim\.Optimizer"):
            OptimWrapper([nn.Parameter(torch.zeros(1))])


class TestExplaining:
    def test_it_names_the_group_and_the_rule_of_a_parameter(self, model):
        cfg = dict(optimizer=dict(type="SGD", lr=0.1), paramwise_cfg=dict(custom_keys={"4": dict(lr_mult=0.5)}))
        wrapper = build_optim_wrapper(model, cfg)
        assert wrapper.explain("4.bias") == "group 1 (lr 0.05, weight_decay 0): custom_keys['4']"
        assert wrapper.explain("0.bias") == "group 0 (lr 0.1, weight_decay 0): the optimizer's own arguments"

    def test_a_setting_may_be_left_to_the_optimizer(self, model):
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="Adafactor")))
        assert wrapper.explain("4.bias").startswith("group 0 (lr None, weight_decay 0.0)")

    def test_an_unknown_name_is_an_error_with_those_that_are_near(self, model):
        with pytest.raises(ConfigError, match=r"no parameter group holds '4\.wieght'\. Did you mean '4\.weight'"):
            sgd(model).explain("4.wieght")
