"""Hyperparameters are checked in groups and in rules as they are at the build."""

import math

import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper, build_optimizer
from optimzoo.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:.* does not survive a deepcopy")  # what is known of bare ones

NAN = math.nan
WRONG = [
    ("Adam", dict(betas=(2.0, 0.9)), "betas", "Invalid beta parameter at index 0: 2"),
    ("Adam", dict(betas=None), "betas", "wants 2 numbers"),
    ("Adam", dict(betas=(0.9, NAN)), "betas", "a finite number is wanted"),
    ("Adam", dict(eps=-1.0), "eps", "Invalid epsilon value"),
    ("Adam", dict(lr=None), "lr", "wants a number for 'lr'"),
    ("SGD", dict(momentum=NAN), "momentum", "a finite number is wanted, got nan"),
    ("SGD", dict(momentum=-0.5), "momentum", "Invalid momentum value: -0.5"),
    ("RMSprop", dict(alpha=math.inf), "alpha", "a finite number is wanted, got inf"),
    ("Adadelta", dict(rho=2.0), "rho", "Invalid rho value: 2.0"),
    ("Lion", dict(betas=(NAN, 0.9)), "betas", "a finite number is wanted"),
    ("Lion", dict(weight_decay=-0.1), "weight_decay", "at least 0"),
]


def network():
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))


@pytest.mark.filterwarnings("ignore:Lion. it does not survive a deepcopy")  # which the build tells
@pytest.mark.parametrize(("name", "settings", "key", "said"), WRONG)
class TestWrongOnes:
    def test_in_a_custom_key_or_a_rule(self, name, settings, key, said):
        optimizer = dict(type=name, lr=0.1)
        for rules, place in (
            (dict(custom_keys={"0": settings}), rf"paramwise_cfg\.custom_keys\['0'\]\.{key}: .*"),
            (dict(rules=[dict(match="0.*", **settings)]), rf"paramwise_cfg\.rules\[0\]\.{key}: .*"),
        ):
            with pytest.raises(ConfigError, match=place + said):
                build_optim_wrapper(network(), dict(optimizer=optimizer, paramwise_cfg=rules))

    def test_in_a_group_of_ones_own_or_for_all(self, name, settings, key, said):
        params = list(network().parameters())
        groups = [{"params": params[:2]}, {"params": params[2:], **settings}]
        with pytest.raises(ConfigError, match=rf"^optimizer\.groups\[1\]\.{key}: .*{said}"):
            build_optimizer(groups, dict(type=name, lr=0.1))
        with pytest.raises(ConfigError, match=f"^optimizer.*({key}|{said})"):
            build_optimizer(params, {"type": name, "lr": 0.1, **settings})


@pytest.mark.parametrize(
    ("cfg", "settings"),
    [
        (dict(type="SGD", momentum=0.9), dict(nesterov=True)),
        (dict(type="SGD"), dict(nesterov=True, momentum=0.5)),
        (dict(type="torch.Adafactor"), dict(eps=(None, 1e-3))),
        (dict(type="torch.Adafactor"), dict(beta2_decay=-0.5)),
        (dict(type="Prodigy"), dict(growth_rate=math.inf)),
        (dict(type="Adafactor", relative_step=False), dict(eps=(1e-30, 1e-3))),
        (dict(type="AdamWScheduleFree"), dict(betas=(0.95, 0.99))),
        (dict(type="AdamW"), dict(lr=torch.tensor(0.01))),
    ],
    ids=lambda value: "-".join(map(str, value)),
)
def test_what_an_optimizer_takes_by_design_is_left_to_it(cfg, settings):
    params = list(network().parameters())
    built = build_optimizer([{"params": params[:2]}, {"params": params[2:], **settings}], dict(cfg, lr=0.1))
    assert {key: built.param_groups[1][key] for key in settings} == settings
