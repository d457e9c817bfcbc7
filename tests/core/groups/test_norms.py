import pytest
import torch
from tests.core.grouping import LlamaRMSNorm, settings_of
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from optimzoo.errors import OptimzooWarning


@pytest.mark.parametrize("norm", [nn.RMSNorm(4), nn.GroupNorm(2, 4), nn.InstanceNorm1d(4, affine=True), LlamaRMSNorm()])
def test_every_kind_of_norm_is_a_norm(norm):
    found = settings_of(nn.Sequential(norm, nn.Linear(2, 2)), dict(norm_decay_mult=0.0), "weight_decay")
    assert {name: value for name, value in found.items() if value == 0.0}.keys() == {
        f"0.{name}" for name, _ in norm.named_parameters()
    }


NAMED = {
    "apex": "FusedLayerNorm MixedFusedLayerNorm FusedRMSNorm BatchNorm2d_NHWC BatchNorm2dNHWC SyncBatchNorm",
    "detectron2": "FrozenBatchNorm2d NaiveSyncBatchNorm CycleBatchNormList LayerNorm",
    "diffusers": "AudioDiTGRN FP32LayerNorm WanRMS_norm GlobalResponseNorm SDCascadeLayerNorm MochiRMSNorm",
    "mmcv": "BN1d LN SyncBN LN2d GN IN IN2d InPlaceABN LayerNorm2d",
    "mmdet": "L2Norm FrozenBatchNorm2d",
    "mmpretrain": "GRN HorNetLayerNorm SparseLayerNorm2D SparseSyncBatchNorm2d",
    "papers": "AdaLN AdaIN AdaILN BRN BatchRenorm2d InstanceNormPlus ScaleNorm ActNorm SwitchNorm2d GlobLN ChanLN FRN "
    "BiasFree_LayerNorm WithBias_LayerNorm PairNorm GraphNorm MultiHeadRMSNorm PowerNorm LayerNormalization RMS Norm",
    "timm": "LayerNormExp2d RmsNorm RmsNorm2dFp32 SimpleNorm SimpleNorm2d EvoNorm2dB0 EvoNorm2dS0a BatchNormAct2d "
    "FilterResponseNormTlu2d FilterResponseNormAct2d GroupNorm1 GroupNorm1Act LayerNormFp32 SyncBatchNormAct",
    "transformers": "T5LayerNorm DebertaLayerNorm CohereLayerNorm Pix2StructLayerNorm VitDetLayerNorm UMT5LayerNorm "
    "LongT5LayerNorm Qwen3NextRMSNorm Qwen3NextRMSNormGated KimiLinearRMSNormGated ConvNextLayerNorm ConvNextV2GRN "
    "AutoformerLayernorm NemotronLayerNorm1P Gemma3nAudioCumulativeGroupNorm PocketTTSTimestepNorm LlamaRMSNorm "
    "ConditionalDetrFrozenBatchNorm2d Emu3VQVAESpatialNorm",
    "xformers": "FusedLayerNorm RMSNorm",
}
NOT_NAMED = (
    "NormLinear LayerNormMLP LayerNormLinear NormedConv2d NormedLinear Normalize Normalizer Transform GRNN GINConv2d "
    "WeightNormConv2d WeightNorm SpectralNorm ParametrizedLinear ConvNormAct ConvNorm LinearNorm ConvBN Conv2dBN "
    "LinearBn1d BatchNormConv HubertLayerNormConvLayer RobertaPreLayerNormLMHead NormHead NormFreeBlock GradNorm "
    "SoftNormBottleneck InklingNormedEmbedding DFineConvNormLayer Denorm NormalOutput XLNetModel INBlock InProj LSTM "
    "_ _9"
)


@pytest.mark.parametrize("library", [*NAMED, ""])
def test_norms_that_libraries_define_themselves_are_known_by_the_names_of_their_classes(library):
    names = NAMED.get(library, NOT_NAMED).split()
    model = nn.ModuleDict({name: type(name, (LlamaRMSNorm,), {})() for name in names})
    model["norm"] = nn.LayerNorm(2)
    found = settings_of(model, dict(norm_decay_mult=0.0), "weight_decay")
    wrong = [name for name in names if found[f"{name}.weight"] != (0.0 if library else 0.01)]
    assert not wrong
    rules = [dict(module="norm", decay_mult=0.0)]
    assert settings_of(model, dict(rules=rules), "weight_decay") == found


@pytest.mark.parametrize(
    ("name", "shape", "is_one"),
    [
        ("SyncBN", (4,), True),
        ("GRN", (1, 1, 1, 4), True),
        ("SimpleNorm2d", (4, 1, 1), True),
        ("ScaleNorm", (), True),
        ("CohereLayerNorm", (8, 64), True),  # of queries and keys, a row for each head
        ("MyNorm", (8, 64), False),
        ("BN", (4, 4, 3, 3), False),
        ("ConvBatchNorm2d", (4, 4, 3, 3), False),
        ("AdaLayerNorm", (8, 64), False),  # the projection of what it is conditioned on
    ],
)
def test_the_form_of_its_parameters_tells_whether_what_is_called_a_norm_is_one(name, shape, is_one):
    own = type(name, (nn.Module,), {})()
    own.weight = nn.Parameter(torch.ones(shape))
    found = settings_of(nn.Sequential(own, nn.LayerNorm(2)), dict(norm_decay_mult=0.0), "weight_decay")
    assert found["0.weight"] == (0.0 if is_one else 0.01)


def test_what_holds_a_norm_and_more_is_no_norm_though_it_is_called_so():
    pre_norm = type("PreNorm", (nn.Sequential,), {})(nn.LayerNorm(2), nn.Linear(2, 2))
    found = settings_of(pre_norm, dict(rules=[dict(module="norm", decay_mult=0.0)]), "weight_decay")
    assert found == {"0.weight": 0.0, "0.bias": 0.0, "1.weight": 0.01, "1.bias": 0.01}


def test_a_class_that_is_called_a_norm_can_be_excluded():
    model = nn.Sequential(LlamaRMSNorm(), nn.LayerNorm(4))
    found = settings_of(model, dict(norm_decay_mult=0.0, not_norms=["LlamaRMSNorm"]), "weight_decay")
    assert found == {"0.weight": 0.01, "1.weight": 0.0, "1.bias": 0.0}
    rules = [dict(module="norm", decay_mult=0.0)]
    assert settings_of(model, dict(rules=rules, not_norms=["LlamaRMSNorm"]), "weight_decay") == found
    with pytest.warns(OptimzooWarning, match=r"not_norms: no .* class 'LamaRMSNorm'. Did you mean 'LlamaRMSNorm'"):
        settings_of(model, dict(norm_decay_mult=0.0, not_norms=["LamaRMSNorm"]), "weight_decay")


def test_what_makes_a_tensor_of_a_module_is_of_the_module():
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Conv2d(4, 4, 3, groups=4)),
        parametrizations.weight_norm(LlamaRMSNorm(), dim=None),
        parametrize.register_parametrization(nn.Linear(2, 2), "bias", nn.Tanh()),
    )
    rules = dict(norm_decay_mult=0.0, dwconv_decay_mult=0.5, bias_decay_mult=0.25)
    found = settings_of(model, rules, "weight_decay")
    assert found == {
        "0.bias": 0.0025, "0.parametrizations.weight.original0": 0.005, "0.parametrizations.weight.original1": 0.005,
        "1.parametrizations.weight.original0": 0.0, "1.parametrizations.weight.original1": 0.0,
        "2.weight": 0.01, "2.parametrizations.bias.original": 0.0025,
    }  # fmt: skip
