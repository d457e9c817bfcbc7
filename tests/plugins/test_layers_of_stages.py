import pytest
import torch
from torch import nn

from optimzoo.errors import ConfigError
from tests.plugins.decayed import by_layer, lrs, stack


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(4, 12)


class Down(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))


def block(kind="conv"):
    return {"conv": Conv, "attention": Attention, "down": Down}[kind]()


class Stage(nn.Module):
    """A stage whose blocks are in a list of its own, as in EdgeNeXt and CoAtNet."""

    def __init__(self, *kinds):
        super().__init__()
        self.blocks = nn.Sequential(*map(block, kinds))


@pytest.mark.parametrize(
    ("stack", "stages"),
    [
        ("stages", [nn.Sequential(block(), block()), nn.Sequential(block(), block(), block("attention"))]),
        ("stages", [nn.Sequential(block("down"), block()), nn.Sequential(block("down"), block(), block())]),
        ("stages", [nn.Sequential(block(), block("attention")), nn.Sequential(block(), block("attention"))]),
        ("stages", [Stage("conv", "conv"), Stage("conv", "conv", "attention")]),
        ("blocks", [nn.ModuleList([block(), block()]), nn.ModuleList([block("attention") for _ in range(3)])]),
        ("blocks", [nn.Sequential(block()), nn.Sequential(block("attention"), block(), block("down"))]),
    ],
    ids=["mixed", "starnet", "called so", "edgenext", "twins", "mobilenetv4"],
)
def test_blocks_of_several_classes_in_a_stage_count_one_by_one(stack, stages):
    model = nn.ModuleDict({"stem": nn.Conv2d(3, 4, 1), stack: nn.ModuleList(stages), "head": nn.Linear(4, 2)})
    found = list(dict.fromkeys(lrs(by_layer(model)).values()))
    count = sum(len(stage.blocks if isinstance(stage, Stage) else stage) for stage in stages)
    assert found == [0.5**steps for steps in range(count + 1, -1, -1)]


@pytest.mark.parametrize("parts", [("attention", "conv"), ("conv", "attention", "conv")])
def test_the_parts_of_a_layer_of_several_classes_are_one_layer(parts):
    layers = nn.ModuleList(nn.ModuleList(map(block, parts)) for _ in range(3))
    model = nn.ModuleDict({"stem": nn.Conv2d(3, 4, 1), "layers": layers, "head": nn.Linear(4, 2)})
    assert set(lrs(by_layer(model)).values()) == {1.0, 0.5, 0.25, 0.125, 0.0625}


@pytest.mark.parametrize("name", ["teacher", "momentum_encoder", "a_first"])
def test_a_frozen_copy_of_the_layers_needs_no_depth(name):
    student, teacher = stack(2), stack(2).requires_grad_(False)
    model = nn.ModuleDict(
        {name: teacher, "student": student} if name == "a_first" else {"student": student, name: teacher}
    )
    found = lrs(by_layer(model))
    assert [found[f"student.{key}"] for key in ("layers.0.0.weight", "layers.1.0.weight", "head.weight")] == [
        0.25,
        0.5,
        1,
    ]
    student["layers"][0].requires_grad_(False)  # a stage of the stack itself counts still
    assert lrs(by_layer(model))["student.layers.1.0.weight"] == 0.5


class OfTimm(nn.Module):
    """A network with the methods that timm's have."""

    def __init__(self, matcher):
        super().__init__()
        self.pos_embed, self.cls_token = nn.Parameter(torch.ones(1, 4)), nn.Parameter(torch.ones(1, 4))
        self.patch_embed = nn.Linear(4, 4)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4, bias=False)) for _ in range(2)))
        self.norm, self.fc_norm, self.head = nn.LayerNorm(4), nn.LayerNorm(4), nn.Linear(4, 2)
        self.matcher = matcher

    def no_weight_decay(self):
        return {"pos_embed", "cls_token"}

    def no_weight_decay_keywords(self):
        return {"fc_norm"}

    def group_matcher(self, coarse=False):
        assert not coarse
        return self.matcher


@pytest.mark.parametrize(
    ("matcher", "depths", "count"),
    [
        (
            dict(stem=r"^cls_token|pos_embed|patch_embed", blocks=[(r"^blocks\.(\d+)", None), (r"^norm", (99999,))]),
            {"pos_embed": 0, "patch_embed": 0, "blocks.0": 1, "blocks.1": 2, "norm": 2, "fc_norm": 3, "head": 3},
            4,
        ),
        (
            dict(stem=r"^patch_embed", blocks=r"^blocks\.(\d+)"),
            {"patch_embed": 0, "blocks.0": 1, "blocks.1": 2, "pos_embed": 3, "norm": 3, "head": 3},
            4,
        ),
        (
            dict(stem=r"^patch_embed", blocks=[(r"^blocks\.(\d+)", None), (r"^norm", (7,))]),
            {"patch_embed": 0, "blocks.0": 1, "blocks.1": 2, "norm": 3, "fc_norm": 4, "head": 4},
            5,
        ),
        (lambda name: 1 if name.startswith("head") else 0, {"patch_embed": 0, "blocks.1": 0, "head": 1}, 2),
    ],
    ids=["vit", "one expression", "an order", "function"],
)
@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_the_depths_of_timms_models_are_those_that_timm_gives(matcher, depths, count, prefix):
    """Wanted are the numbers of ``timm.models._manipulate.group_parameters`` of timm 1.0."""
    model = OfTimm(matcher)
    if prefix:
        model = nn.ModuleDict({"backbone": model, "own_head": nn.Linear(1, 1)})
    rules = by_layer(model).param_rules
    for name, depth in depths.items():
        for each, rule in rules.items():
            if each.startswith((f"{prefix}{name}.", f"{prefix}{name}")) and each.split(".")[-1] in ("weight", name):
                assert rule.startswith(f"depth {depth} of {count - 1}"), each
    if prefix:
        assert rules["own_head.weight"] == f"depth {count - 1} of {count - 1}"


def test_what_a_model_of_timm_wants_without_decay_has_none_unless_a_rule_says_so():
    model = OfTimm(dict(stem="^patch_embed", blocks=r"^blocks\.(\d+)"))
    wrapper = by_layer(model, custom_keys={"cls_token": dict(decay_mult=0.5)})
    decays = lrs(wrapper, "weight_decay")
    assert {name for name, decay in decays.items() if decay == 0} == {"pos_embed", "fc_norm.weight", "fc_norm.bias"}
    assert (decays["cls_token"], decays["head.weight"]) == (0.05, 0.1)
    assert wrapper.param_rules["pos_embed"] == "depth 3 of 3, no_weight_decay"


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch.compile, as it is imported
@pytest.mark.parametrize("make", [lambda: stack(3), lambda: OfTimm({"stem": "^embed", "blocks": r"^blocks\.(\d+)"})])
def test_a_layer_that_is_compiled_alone_has_the_depth_of_the_plain_one(make):
    plain, compiled = make(), make()
    layers = next(child for child in compiled.children() if len(list(child.children())) > 1)
    layers[1] = torch.compile(layers[1], backend="eager")
    assert by_layer(compiled).param_rules == by_layer(plain).param_rules


@pytest.mark.parametrize(
    ("matcher", "said"),
    [
        (dict(stem="^embed", blocks=r"^blocks\.(\d+"), r"group_matcher under 'blocks', got .*unterminated"),
        (dict(stem="^embed", blocks=["^blocks", "^norm"]), "group_matcher under 'blocks', got .*not enough|too many"),
        (dict(stem=3), "group_matcher under 'stem', got 3"),
        (dict(blocks=r"^(blocks)"), "group_matcher of OfTimm .*could not convert"),
        (lambda name: {}[name], "group_matcher of OfTimm failed: .*KeyError"),
    ],
    ids=["expression", "list", "kind", "order", "function"],
)
def test_a_matcher_that_cannot_be_read_is_an_error_that_says_where(matcher, said):
    with pytest.raises(ConfigError, match=rf"paramwise_cfg\.layer_decay_rate: .*({said})"):
        by_layer(OfTimm(matcher))


def test_a_matcher_or_a_list_that_is_none_is_none():
    model = stack(3)
    model.group_matcher, model.no_weight_decay = (lambda coarse: None), (lambda: None)
    assert by_layer(model).param_rules == by_layer(stack(3)).param_rules
