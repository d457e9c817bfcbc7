"""The roles of the parameters of real models, and which of them Muon takes, against the method's own rules."""

import pytest
import torch
import transformers
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from optimzoo import build_optimizer
from optimzoo.groups.roles import roles_of

SMALL = dict(
    num_hidden_layers=2, hidden_size=32, num_attention_heads=2, intermediate_size=64, vocab_size=100, num_labels=5
)  # fmt: skip
STAGES = dict(depths=[1, 1, 2, 1], hidden_sizes=[8, 16, 24, 32], num_labels=5)
MODELS = {
    "GPT2LMHeadModel": dict(n_layer=2, n_embd=32, n_head=2, vocab_size=100, bos_token_id=0, eos_token_id=0),
    "LlamaForCausalLM": SMALL,
    "T5ForConditionalGeneration": dict(num_layers=2, d_model=32, d_kv=16, num_heads=2, d_ff=64, vocab_size=100),
    "ViTForImageClassification": {**SMALL, "image_size": 32, "patch_size": 8},
    "BertForSequenceClassification": SMALL,
    "ConvNextForImageClassification": STAGES,
    "ResNetForImageClassification": {**STAGES, "embedding_size": 8},
}
HIDDEN = {
    # Keller Jordan's rule: all of the body's from two dimensions on, but the embeddings and the head
    "GPT2LMHeadModel": lambda name, p: p.ndim >= 2 and ".h." in name,
    # that of Moonlight: all of two dimensions and more, but embed_tokens and lm_head
    "LlamaForCausalLM": lambda name, p: p.ndim >= 2 and "embed_tokens" not in name and "lm_head" not in name,
    "T5ForConditionalGeneration": lambda name, p: p.ndim >= 2 and not name.endswith(("shared.weight", "bias.weight")),
    "ViTForImageClassification": lambda name, p: p.ndim == 2 and "vit.layers" in name,
    "BertForSequenceClassification": lambda name, p: p.ndim == 2 and ("encoder" in name or "pooler" in name),
    "ConvNextForImageClassification": lambda name, p: p.ndim == 2 and "pwconv" in name,
    # airbench94: all filters
    "ResNetForImageClassification": lambda name, p: p.ndim == 4,
}


def model_of(name):
    cls = getattr(transformers, name)
    return cls(cls.config_class(**MODELS[name]))


@pytest.mark.filterwarnings("ignore::optimzoo.errors.OptimzooWarning")
@pytest.mark.parametrize("name", MODELS)
def test_an_optimizer_of_matrices_takes_what_its_method_says_and_the_rest_goes_to_the_other(name):
    model = model_of(name)
    main = dict(type="SOAP", lr=0.01) if name.startswith("ResNet") else dict(type="Muon", lr=0.01)
    optimizer = build_optimizer(model, dict(main, rest=dict(type="AdamW", lr=0.001)))
    parts = {n: group["part"] for group in optimizer.param_groups for n in group["param_names"]}
    wanted = {n: main["type"] if HIDDEN[name](n, p) else "rest" for n, p in model.named_parameters()}
    assert parts == wanted
    assert {*parts.values()} == {main["type"], "rest"}


ROLES = {
    "GPT2LMHeadModel": {
        "transformer.wte.weight": "embedding",
        "transformer.wpe.weight": "position",
        "transformer.h.1.attn.c_attn.weight": "qkv",
        "transformer.h.1.attn.c_proj.weight": "output",
        "transformer.h.1.mlp.c_proj.weight": "",
        "transformer.ln_f.bias": "norm",
    },
    "LlamaForCausalLM": {
        "lm_head.weight": "head",
        "model.layers.0.self_attn.q_proj.weight": "query",
        "model.layers.0.self_attn.k_proj.weight": "key",
        "model.layers.0.self_attn.v_proj.weight": "value",
        "model.layers.0.self_attn.o_proj.weight": "output",
        "model.layers.0.mlp.gate_proj.weight": "",
    },
    "T5ForConditionalGeneration": {
        "shared.weight": "embedding",
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": "position",
        "decoder.block.1.layer.1.EncDecAttention.q.weight": "query",
    },
    "ViTForImageClassification": {
        "vit.embeddings.cls_token": "embedding",
        "vit.embeddings.position_embeddings": "position",
        "vit.embeddings.patch_embeddings.projection.weight": "conv",
        "classifier.weight": "head",
        "classifier.bias": "bias",
    },
    "BertForSequenceClassification": {
        "bert.encoder.layer.0.attention.output.dense.weight": "output",
        "bert.encoder.layer.0.output.dense.weight": "",
    },
    "ConvNextForImageClassification": {"convnext.encoder.stages.0.layers.0.layer_scale_parameter": "scalar"},
}


@pytest.mark.parametrize("name", ROLES)
def test_roles_are_found_in_real_models(name):
    model = model_of(name)
    roles = roles_of(model)
    found = {n: roles[id(p)] for n, p in model.named_parameters()}
    assert {n: found[n].part or found[n].name for n in ROLES[name]} == {
        n: r or "matrix" for n, r in ROLES[name].items()
    }


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.w1, self.scale = nn.Parameter(torch.randn(4, 8, 8)), nn.Parameter(torch.ones(()))
        self.A_log, self.dt_proj = nn.Parameter(torch.ones(8, 4)), nn.Linear(8, 8)


class Headed(nn.Module):
    """One head of several layers, and one of one, neither of which is the last in the model."""

    def __init__(self):
        super().__init__()
        self.bbox_head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
        self.cls_head, self.neck = nn.Linear(8, 3), nn.Linear(8, 8)
        self.tail = nn.MultiheadAttention(8, 2)


class Biases(nn.Module):
    """Biases with a row for each expert or head, and a matrix that is called after one."""

    def __init__(self):
        super().__init__()
        self.gate_up_proj_bias, self.attention_biases = nn.Parameter(torch.ones(4, 8)), nn.Parameter(torch.ones(2, 49))
        self.bias_proj, self.rel_pos_bias = nn.Parameter(torch.ones(4, 8)), nn.Parameter(torch.ones(2, 49))


@pytest.mark.parametrize(
    ("model", "roles"),
    [
        (Experts(), {"w1": "experts", "scale": "scalar", "A_log": "scalar", "dt_proj.bias": "bias"}),
        (
            Headed(),
            {
                "bbox_head.0.weight": "matrix",
                "bbox_head.2.weight": "head",
                "cls_head.weight": "head",
                "neck.weight": "matrix",
                "tail.in_proj_weight": "matrix",
                "tail.in_proj_bias": "bias",
            },
        ),
        (nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2)), {"0.weight": "matrix", "2.weight": "head"}),
        (nn.LSTM(3, 4), {"weight_ih_l0": "matrix", "bias_ih_l0": "bias"}),
        (nn.Linear(3, 4), {"weight": "matrix"}),
        (nn.Linear(8, 1), {"weight": "matrix", "bias": "bias"}),  # which has the form of a vector
        (
            nn.Sequential(nn.Embedding(9, 4), nn.LSTM(4, 8), nn.Linear(8, 9)),
            {"0.weight": "embedding", "1.weight_hh_l0": "matrix", "2.weight": "head"},
        ),
        (
            Biases(),
            {
                "gate_up_proj_bias": "bias",
                "attention_biases": "bias",
                "bias_proj": "matrix",
                "rel_pos_bias": "position",
            },
        ),
        (
            nn.ModuleDict(
                {
                    "lora_embedding_A": nn.ParameterDict({"default": torch.ones(2, 40)}),
                    "pos_embeds": nn.ParameterList([torch.ones(9, 4)]),
                    "weights": nn.ParameterList([torch.ones(4, 4)]),
                }
            ),
            {"lora_embedding_A.default": "embedding", "pos_embeds.0": "position", "weights.0": "matrix"},
        ),
    ],
    ids=["experts", "heads", "mlp", "lstm", "linear", "to one", "tagger", "biases", "lists"],
)
def test_roles_of_other_kinds(model, roles):
    found = roles_of(model)
    named = dict(model.named_parameters())
    assert {name: found[id(named[name])].name for name in roles} == roles


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    ("spectral", "lengths"),
    [(spectral_norm, weight_norm), (parametrizations.spectral_norm, parametrizations.weight_norm)],
    ids=["hooks", "parametrizations"],
)
def test_what_a_weight_is_made_of_has_the_role_of_the_weight(spectral, lengths):
    model = nn.ModuleDict(
        {
            "embed": spectral(nn.Embedding(9, 4)),
            "conv": lengths(nn.Conv1d(4, 8, 3)),
            "body": lengths(nn.Linear(8, 4)),
            "out": spectral(nn.Linear(4, 9)),
        }
    )
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    roles = roles_of(model)
    assert [roles[id(p)].name for name, p in model.named_parameters() if not name.endswith(".bias")] == [
        "embedding", "scalar", "conv", "scalar", "matrix", "head"
    ]  # fmt: skip
    assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())


def test_a_shared_weight_has_the_stricter_role_wherever_it_comes_first():
    model = nn.ModuleDict({"out": nn.Linear(8, 10, bias=False), "body": nn.Linear(8, 8), "embed": nn.Embedding(10, 8)})
    model["out"].weight = model["embed"].weight
    role = roles_of(model)[id(model["out"].weight)]
    assert (role.name, role.why) == ("embedding", "Embedding, tied")


def test_the_config_may_name_the_head():
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4), "c": nn.Linear(4, 4)})
    optimizer = build_optimizer(model, dict(type="Muon", lr=0.1, head=["a"], rest=dict(type="SGD", lr=0.1)))
    assert optimizer.param_groups[0]["param_names"] == ["b.weight", "c.weight"]
