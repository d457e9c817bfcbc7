"""What each parameter of a model is there for: a hidden matrix, an embedding, the head, a norm, a bias, ..."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import ParametrizationList

from optimzoo.groups.merge import known_parameters
from optimzoo.groups.modules import AROUND
from optimzoo.groups.norms import is_norm, is_vector

ROLES = {
    "embedding": "a table of vectors, one for each token or class, also where it is tied to the output",
    "head": "the last projection",
    "position": "what tells places apart",
    "norm": "of a normalization",
    "bias": "added to what a layer puts out",
    "scalar": "a number, or a factor for each channel",
    "conv": "the weight of a convolution",
    "experts": "matrices of several experts in one tensor",
    "matrix": "a hidden matrix",
}
"""The roles, the strictest first: a parameter that is at several places has the first that holds at one of them."""
ATTENTION = {
    "query": re.compile(r"(to_|w)?q(_(proj|lin|weight|proj_weight))?|query(_proj|_layer)?"),
    "key": re.compile(r"(to_|w)?k(_(proj|lin|weight|proj_weight))?|key(_proj|_layer)?"),
    "value": re.compile(r"(to_|w)?v(_(proj|lin|weight|proj_weight))?|value(_proj|_layer)?"),
    "qkv": re.compile(r"(to_|w)?(qkv|kv|qk)(_proj)?|query_key_value|c_attn|in_proj(_weight)?"),
    "output": re.compile(r"(to_|w)?(o|out)(_(proj|lin))?|(output|dense|proj|c_proj)"),
}
"""What the matrices of an attention are called, by what they make."""
IN_ATTENTION = re.compile(r"(^|\.|_)(attn|attention|mha|attentions)\d*(\.|_|$)|self_attn|attention", re.I)
POSITION = re.compile(r"pos|position|positions|positional|wpe|rel|relative", re.I)
TOKEN = re.compile(r"tokens?|embed|embedding|embeddings|query_embed|prompts?|latents?|codebook", re.I)
HEAD = re.compile(
    r"(.*_)?(heads?|classifier|logits|logit)|(fc|pred|predictor)_?(cls|reg|out)|(cls|reg|output|lm)_(pred|proj)|"
    r"score|unembed(ding)?|embed_out|(qa|output)_?(outputs|projection|layer)"
)
"""What a head is called; in one of several layers the last is meant."""
WEIGHT = re.compile(r"weight(_v|_orig|_original\d*)?")
"""What the weight of a layer is called, and what a weight norm or a spectral norm makes it of."""


class Role(NamedTuple):
    """What a parameter is there for.

    Args:
        name: A key of ``ROLES``.
        part: Of a matrix of an attention, a key of ``ATTENTION``.
        why: What told.
    """

    name: str
    part: str = ""
    why: str = ""

    def is_called(self, name: str) -> bool:
        """Whether it goes by this name."""
        return name in (self.name, self.part)


NAMES = (*ROLES, *ATTENTION)
"""What a rule or a part may ask for as a role."""


def roles_of(model: nn.Module, head: Iterable[Tensor] | None = None) -> dict[int, Role]:
    """Return the role of each parameter by its id, found from modules, shapes and names; nothing is run.

    Args:
        model: The model.
        head: The parameters of the head, where the config says it.
    """
    owners: dict[int, list[tuple[nn.Module, str]]] = {}
    for module, prefix in _modules(model):
        for own, parameter in _owned(module):
            owners.setdefault(id(parameter), []).append((module, f"{prefix}{own}"))
    told = {id(p): "the config" for p in head} if head is not None else _heads(model, owners)
    order = list(ROLES)
    found: dict[int, Role] = {}
    for key, (parameter, _) in known_parameters(model).items():
        roles = [_role(module, name, parameter) for module, name in owners.get(key, [(model, "")])]
        if key in told:
            roles = [role if role.name == "bias" else Role("head", "", told[key]) for role in roles]
            roles += [role for role in map(_table, owners[key]) if role]
        found[key] = min(roles, key=lambda role: order.index(role.name))
        if len(owners.get(key, ())) > 1 and found[key].name == "embedding":
            found[key] = found[key]._replace(why=f"{found[key].why}, tied")
    return found


def _modules(model: nn.Module, prefix: str = "") -> Iterator[tuple[nn.Module, str]]:
    """Yield every module as often as it is there, with what the names of its parameters begin with."""
    yield model, prefix
    for name, child in model._modules.items():
        if child is not None:
            yield from _modules(child, prefix if name in AROUND else f"{prefix}{name}.")


def _owned(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters that a module holds itself, and what parametrizations make its tensors of, with names.

    Nothing is made of these: a spectral norm that is asked for its weight changes what it has estimated.
    """
    if isinstance(module, ParametrizationList):
        return
    yield from ((name, parameter) for name, parameter in module._parameters.items() if parameter is not None)
    for made, maker in getattr(module._modules.get("parametrizations"), "_modules", {}).items():
        for name, parameter in maker._parameters.items():
            yield made if name == "original" else f"{made}_{name}", parameter


def _role(module: nn.Module, name: str, parameter: Tensor) -> Role:
    cls, path, ndim = type(module).__name__, name.split("."), parameter.ndim
    held = isinstance(module, (nn.ParameterList, nn.ParameterDict))  # under a number, or a key
    own = ".".join(path[-2:] if held else path[-1:])
    table = _table((module, name))
    if is_norm(module):
        return Role("norm", "", cls)
    if table:
        return table
    if "bias" in own and (ndim < 2 or is_vector(parameter)):
        return Role("bias", "", own)
    if own != "weight" and isinstance(module, (nn.Linear, _ConvNd)) and is_vector(parameter):
        return Role("scalar", "", f"a factor in {cls}")  # as the lengths under a weight norm
    if isinstance(module, _ConvNd):
        return Role("conv", "", cls)
    if _says(POSITION, own):
        return Role("position", "", own)
    if own.endswith(("bias", "biases")):  # a row for each expert or head
        return Role("bias", "", own)
    if isinstance(module, nn.Linear) and ndim == 2:
        return Role("matrix", _of_attention(path), cls)
    if parameter.numel() == 1 or ndim < 2 or own.endswith("_log"):  # of decays, as Mamba has them for each channel
        return Role("scalar", "", f"{ndim}-D")
    if _says(TOKEN, own) or (ndim > 2 and parameter.shape[0] == 1):
        return Role("embedding", "", own)
    if ndim > 2 and not is_vector(parameter):
        return Role("experts", "", f"{ndim}-D in {cls}")
    if is_vector(parameter):
        return Role("scalar", "", f"a vector in {cls}")
    return Role("matrix", _of_attention(path), cls)


def _table(place: tuple[nn.Module, str]) -> Role | None:
    """Return the role of a table that is looked up in, else None."""
    module, name = place
    if not isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return None
    by_name = any(_says(POSITION, part) for part in name.split(".")[-2:])
    return Role("position" if by_name else "embedding", "", type(module).__name__)


def _says(words: re.Pattern[str], name: str) -> bool:
    return any(map(words.fullmatch, re.split(r"[_.]", name)))


def _of_attention(path: list[str]) -> str:
    """Return what a matrix makes in an attention, by its name and those of the modules around it."""
    around = ".".join(path[:-1])
    leaf = path[-1] if path[-1] != "weight" or len(path) < 2 else path[-2]
    for part, names in ATTENTION.items():
        if names.fullmatch(leaf.lower()) and (
            IN_ATTENTION.search(around) or leaf.lower().startswith(("q_", "k_", "v_"))
        ):
            return part
    return ""


def _heads(model: nn.Module, owners: Mapping[int, list[tuple[nn.Module, str]]]) -> dict[int, str]:
    """Return the parameters of the last projection, and of what is called a head, with what told."""
    stacked = {id(inner) for stack in _stacks(model) for inner in stack.modules()}
    last = next((module for module, _ in reversed([*_modules(model)]) if _is_projection(module)), None)
    heads: dict[int, str] = {}
    if last is not None and id(last) not in stacked and _is_weighed(model, last):
        heads |= {id(p): "the last projection" for _, p in _owned(last)}
    for module, prefix in _modules(model):
        called = prefix.removesuffix(".").rpartition(".")[2]
        inside = [inner for inner, _ in _modules(module) if _is_projection(inner)]
        if HEAD.fullmatch(called) and inside and not _is_attention(module, prefix) and id(inside[-1]) not in stacked:
            heads |= {id(p): f"called {called}" for _, p in _owned(inside[-1])}
    return heads


def _is_weighed(model: nn.Module, last: nn.Module) -> bool:
    """Whether there is a matrix before the ``last`` projection, as that of a recurrent layer or an embedding."""
    others = (module for module, _ in _modules(model) if module is not last and not is_norm(module))
    return any(parameter.ndim > 1 for module in others for _, parameter in _owned(module))


def _is_projection(module: nn.Module) -> bool:
    """Whether a module multiplies by a weight of its own: a linear layer, or a convolution."""
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) or is_norm(module):
        return False
    return any(WEIGHT.fullmatch(name) and parameter.ndim > 1 for name, parameter in _owned(module))


def _is_attention(module: nn.Module, prefix: str) -> bool:
    return bool(IN_ATTENTION.search(prefix)) or "attention" in type(module).__name__.lower()


def _stacks(model: nn.Module) -> Iterator[nn.Module]:
    """Yield what holds blocks of one class in a row, which are no leaves: what is in them is hidden."""
    for module in model.modules():
        blocks = [child for child in module.children() if any(True for _ in child.children())]
        if isinstance(module, (nn.ModuleList, nn.Sequential)) and len({*map(type, blocks)}) < len(blocks):
            yield module
