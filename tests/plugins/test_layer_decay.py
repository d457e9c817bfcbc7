import pytest
from torch import nn

from optimzoo import build_optim_wrapper
from optimzoo.errors import ConfigError


class ToyModel(nn.Module):
    """The model of mmengine's tutorial on constructors."""

    def __init__(self):
        super().__init__()
        self.layer = nn.ModuleDict({"linear": nn.Linear(1, 1)})
        self.linear = nn.Linear(1, 1)


def build(paramwise_cfg, **optimizer):
    return build_optim_wrapper(
        ToyModel(),
        dict(
            optimizer=dict(type="SGD", lr=0.01, **optimizer),
            constructor="LayerDecayOptimWrapperConstructor",
            paramwise_cfg=paramwise_cfg,
        ),
    )


def lrs(wrapper, key="lr"):
    return {name: group[key] for group in wrapper.optimizer.param_groups for name in group["param_names"]}


def test_the_learning_rate_shrinks_by_the_factor_once_per_nesting_level():
    assert lrs(build(dict(decay_factor=0.5))) == {
        "layer.linear.weight": 0.0025,
        "layer.linear.bias": 0.0025,
        "linear.weight": 0.005,
        "linear.bias": 0.005,
    }


@pytest.mark.parametrize("paramwise_cfg", [None, {}])
def test_the_factor_is_a_half_by_default(paramwise_cfg):
    assert lrs(build(paramwise_cfg))["linear.weight"] == 0.005


def test_it_composes_with_the_rules_of_the_default_constructor():
    wrapper = build(dict(decay_factor=0.5, bias_decay_mult=0.0, bias_lr_mult=2.0), weight_decay=0.1)
    assert lrs(wrapper)["layer.linear.bias"] == 0.005
    assert lrs(wrapper, "weight_decay")["layer.linear.bias"] == 0.0
    assert wrapper.param_rules["layer.linear.bias"] == "level 2, bias_lr_mult, bias_decay_mult"


@pytest.mark.parametrize(
    ("paramwise_cfg", "path"),
    [
        (dict(decay_facto=0.5), "decay_facto"),
        (dict(decay_factor="x"), "decay_factor"),
        (dict(decay_factor=-1), "decay_factor"),
    ],
)
def test_a_mistake_is_named_with_its_place(paramwise_cfg, path):
    with pytest.raises(ConfigError) as caught:
        build(paramwise_cfg)
    assert caught.value.path == f"optim_wrapper.paramwise_cfg.{path}"
