from collections import OrderedDict

import pytest
import transformers
from torch import nn

from optimzoo import OPTIM_WRAPPER_CONSTRUCTORS, build_optim_wrapper
from optimzoo.errors import ConfigError, OptimzooWarning
from tests.plugins.decayed import by_layer, lrs, stack


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


SMALL = dict(hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16)


def transformers_model(name, **config):
    cls = getattr(transformers, name)
    return cls(cls.config_class(**config))


@pytest.mark.parametrize(
    ("model", "config", "layers", "samples"),
    [
        (
            "ViTForImageClassification",
            dict(**SMALL, image_size=16, patch_size=8),
            3,
            {"cls_token": 0, "position_embeddings": 0, "patch_embeddings": 0, "layernorm.weight": 4, "classifier": 4},
        ),
        (
            "BertForSequenceClassification",
            dict(**SMALL, vocab_size=20),
            3,
            {"word_embeddings": 0, "embeddings.LayerNorm": 0, "layer.1.": 2, "pooler": 4, "classifier": 4},
        ),
        (
            "GPT2LMHeadModel",
            dict(n_embd=8, n_layer=3, n_head=2, vocab_size=20, bos_token_id=0, eos_token_id=0),
            3,
            {"wte": 0, "wpe": 0, "h.0.": 1, "h.2.": 3, "ln_f": 4},
        ),
        (
            "LlamaForCausalLM",
            dict(**SMALL, num_key_value_heads=2, vocab_size=20),
            3,
            {"embed_tokens": 0, "layers.0.": 1, "model.norm": 4, "lm_head": 4},
        ),
        (
            "SwinForImageClassification",
            dict(image_size=32, embed_dim=8, depths=[2, 1], num_heads=[2, 2], window_size=2),
            3,
            {"embeddings": 0, "layers.0.blocks.1": 2, "downsample": 2, "layers.1.blocks.0": 3, "classifier": 4},
        ),
        (
            "ConvNextForImageClassification",
            dict(hidden_sizes=[4, 8], depths=[1, 2], num_stages=2),
            3,
            {"embeddings": 0, "stages.1.downsampling": 1, "stages.1.layers.0": 2, "convnext.layernorm": 4},
        ),
        (
            "ResNetForImageClassification",
            dict(embedding_size=8, hidden_sizes=[8, 16], depths=[2, 1]),
            3,
            {"embedder": 0, "stages.0.layers.0": 1, "stages.1.layers.0.shortcut": 3, "classifier": 4},
        ),
        (
            "T5EncoderModel",
            dict(d_model=8, d_kv=4, num_layers=3, num_heads=2, d_ff=8, vocab_size=20),
            3,
            {"shared": 0, "block.1.layer.0": 2, "block.1.layer.1": 2, "final_layer_norm": 4},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_layers_of_real_models_are_found(model, config, layers, samples):
    model = transformers_model(model, **config)
    wrapper = by_layer(model, bypass_duplicate=True)
    found = lrs(wrapper)
    assert found.keys() == dict(model.named_parameters()).keys()
    assert set(found.values()) == {0.5**steps for steps in range(layers + 2)}
    for part, depth in samples.items():
        assert {lr for name, lr in found.items() if part in name} == {0.5 ** (layers + 1 - depth)}, part
        assert {rule for name, rule in wrapper.param_rules.items() if part in name} == {
            f"depth {depth} of {layers + 1}"
        }


def test_the_original_convnext_has_stages_without_a_list_of_blocks():
    def block():
        return nn.Sequential(nn.Conv2d(4, 4, 3), nn.LayerNorm(4))

    model = nn.Module()
    model.downsample_layers = nn.ModuleList(nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4)) for _ in range(3))
    model.stages = nn.ModuleList(nn.Sequential(*(block() for _ in range(depth))) for depth in (2, 1, 3))
    model.norm, model.head = nn.LayerNorm(4), nn.Linear(4, 2)
    found = {name: rule.split()[1] for name, rule in by_layer(model).param_rules.items() if name.endswith("0.weight")}
    assert found == {
        "downsample_layers.0.0.weight": "0",
        "stages.0.0.0.weight": "1",
        "stages.0.1.0.weight": "2",
        "downsample_layers.1.0.weight": "2",
        "stages.1.0.0.weight": "3",
        "downsample_layers.2.0.weight": "3",
        "stages.2.0.0.weight": "4",
        "stages.2.1.0.weight": "5",
        "stages.2.2.0.weight": "6",
    }


def test_a_layer_of_two_parts_of_one_class_is_one_layer():
    class PreNorm(nn.Module):
        def __init__(self, **part):
            super().__init__()
            self.norm, self.part = nn.LayerNorm(4), nn.ModuleDict(part)

    def layer():
        return nn.ModuleList([PreNorm(qkv=nn.Linear(4, 12)), PreNorm(up=nn.Linear(4, 8), down=nn.Linear(8, 4))])

    model = nn.ModuleDict({"embed": nn.Linear(4, 4), "layers": nn.ModuleList(layer() for _ in range(3))})
    model["head"] = nn.Linear(4, 2)
    rules = by_layer(model).param_rules
    assert (rules["layers.0.0.norm.weight"], rules["layers.2.1.part.up.weight"]) == ("depth 1 of 4", "depth 3 of 4")


def test_stages_may_be_named():
    def block():
        return nn.Sequential(OrderedDict(conv=nn.Conv2d(4, 4, 3), norm=nn.BatchNorm2d(4)))

    stages = nn.Sequential(OrderedDict(stage1=nn.Sequential(block(), block()), stage2=nn.Sequential(block())))
    model = nn.ModuleDict({"stem": nn.Conv2d(3, 4, 1), "stages": stages, "head": nn.Linear(4, 2)})
    rules = by_layer(model).param_rules
    assert rules["stages.stage1.1.conv.weight"] == "depth 2 of 4"
    assert rules["stages.stage2.0.conv.weight"] == "depth 3 of 4"


def test_twelve_layers_without_decay_of_norms_and_biases_make_two_groups_each():
    model = nn.ModuleDict({"patch_embed": nn.Conv2d(3, 8, 4), "layers": nn.ModuleList(), "head": nn.Linear(8, 2)})
    model["layers"].extend(nn.TransformerEncoderLayer(8, 2, 8) for _ in range(12))
    wrapper = by_layer(model, 0.9, norm_decay_mult=0.0, bias_decay_mult=0.0, all_biases=True)
    assert len(wrapper.optimizer.param_groups) == 2 * 14


class Backbone(nn.Module):
    """A network with the method of mmpretrain's."""

    def __init__(self):
        super().__init__()
        self.stem, self.body = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)

    def get_layer_depth(self, param_name, prefix=""):
        if not param_name.startswith(prefix):
            return 2, 3
        return int("body" in param_name), 3


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        (Backbone(), {"stem.weight": 0.25, "body.weight": 0.5}),
        (
            nn.Sequential(OrderedDict(backbone=Backbone(), head=nn.Linear(1, 1, bias=False))),
            {"backbone.stem.weight": 0.25, "backbone.body.weight": 0.5, "head.weight": 1.0},
        ),
    ],
    ids=["model", "backbone"],
)
def test_a_model_may_tell_the_depths_itself_as_mmpretrains_do(model, wanted):
    assert lrs(by_layer(model)) == wanted


def two_to_the_count(name):
    return (0, 2) if name.startswith("layers") else (1, 2)


@pytest.mark.parametrize(
    ("paramwise_cfg", "wanted"),
    [
        (dict(), [0.0625, 0.125, 0.25, 0.5, 1.0]),
        (dict(num_layers=2), [0.25, 0.25, 0.5, 0.5, 1.0]),
        (dict(layer_depth=two_to_the_count), [0.5, 0.5, 0.5, 0.5, 1.0]),
        (dict(rules=[dict(match="layers.0", lr_mult=2.0)]), [0.125, 0.125, 0.25, 0.5, 1.0]),
        (dict(custom_keys={"head": dict(lr_mult=10.0)}), [0.0625, 0.125, 0.25, 0.5, 10.0]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_the_depths_can_be_overridden_and_other_rules_come_on_top(paramwise_cfg, wanted):
    assert list(lrs(by_layer(stack(), **paramwise_cfg)).values()) == wanted


def test_layers_outside_the_backbone_belong_to_the_head():
    model = nn.ModuleDict({"backbone": stack(2), "decoder": stack(2)})
    assert list(lrs(by_layer(model)).values()) == [0.25, 0.5, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("model", "paramwise_cfg", "path", "said"),
    [
        (nn.Sequential(nn.Linear(1, 1)), dict(), "layer_decay_rate", "no list of layers is found in it"),
        (
            nn.ModuleDict({"encoder": stack(), "decoder": stack()}),
            dict(),
            "layer_decay_rate",
            "it has layers in 'decoder' and in 'encoder'. Give it a method get_layer_depth",
        ),
        (stack(), dict(layer_depth=lambda name: 3), "layer_depth", "a depth and the number of depths above it"),
        (stack(), dict(layer_depth=3), "layer_depth", "a function of a parameter's name is wanted, got 3"),
        (stack(), dict(num_layers=0), "num_layers", "a whole number of at least 1"),
        (stack(), dict(num_layers=2, layer_depth=two_to_the_count), "num_layers", "not both"),
        (stack(), dict(decay_factor=0.5), "decay_factor", "not both"),
    ],
)
def test_depths_that_are_not_known_are_an_error_that_says_what_to_do(model, paramwise_cfg, path, said):
    with pytest.raises(ConfigError) as caught:
        by_layer(model, **paramwise_cfg)
    assert (caught.value.path, said in str(caught.value)) == (f"optim_wrapper.paramwise_cfg.{path}", True), caught.value


def test_num_layers_without_a_rate_is_an_error():
    with pytest.raises(ConfigError, match=r"num_layers: it belongs to layer_decay_rate, which is not set"):
        build(dict(num_layers=12))


def test_the_constructor_can_be_imported_to_derive_from():
    from optimzoo_plugins.layer_decay import LayerDecayOptimWrapperConstructor

    assert OPTIM_WRAPPER_CONSTRUCTORS.get("LayerDecayOptimWrapperConstructor") is LayerDecayOptimWrapperConstructor


def test_a_config_for_mmposes_class_of_the_name_is_told():
    with pytest.warns(
        OptimzooWarning, match=r"num_layers: 4 layers are found, .* mmpose\.LayerDecayOptimWrapperConstructor"
    ):
        by_layer(stack(4), num_layers=4)
