"""Which modules are norms: those of torch, and what libraries define themselves, by the words of a class's name."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
NORM = re.compile(r"(?!de|un)[a-z]*norm(ali[sz]ation)?", re.I)
SHORT = re.compile(r"[A-Z]{0,2}[BGL]N|[A-Z]?[BFG]RN|IN|RMS|[BGLbgl]n|[Rr]ms")
PLAIN = re.compile(r".*(batch|group|instance|layer|rms)(re)?norm(ali[sz]ation)?")
"""Of these kinds a norm may have a row of factors for each head."""
OF_OTHERS = {"clip", "grad", "gradient", "kernel", "max", "param", "spectral", "weight"}
"""What is normalized or measured where it is not what a layer puts out."""
CONDITIONED = {"ada", "adaptive", "cond", "conditional", "modulated"}
WEIGHED = {"conv", "convolution", "deconv", "dense", "fc", "linear", "mlp"}
LAYERS = re.compile(
    "attn|attention|block|bottleneck|cell|decoder|embed(ding)?s?|encoder|ffn|free|gru|head|loss|lstm|model|net|network|"
    f"pool|pooling|proj|projection|rnn|softmax|transformer|{'|'.join(sorted(WEIGHED))}"
)
"""What else a module is whose name goes on with one of these words."""


def is_norm(module: nn.Module, but: Collection[str] = ()) -> bool:
    """Whether ``module`` normalizes: a norm of torch, or one that a library defines itself, by its name and its form.

    Such a one has no trained parts, and its parameters are vectors, such as one factor for each channel.

    Args:
        module: The module.
        but: Names of classes that are no norms, whatever they are called.
    """
    cls: Any = type(module)
    called = _called(cls)
    if not called or (but and any(base.__name__ in but for base in cls.__mro__)):
        return False
    if called == "norm of torch":
        return True
    parts = (child for name, child in module.named_children() if name != "parametrizations")
    if any(True for part in parts for _ in part.parameters()):
        return False
    return called == "plain" or all(map(is_vector, module.parameters(recurse=False)))


def is_vector(parameter: Tensor) -> bool:
    """Whether it has one dimension, but for those of length 1."""
    return parameter.numel() == max(parameter.shape, default=1)


@functools.lru_cache(maxsize=4096)
def _called(cls: Any) -> str:
    """Return ``"norm"`` or ``"plain"`` for a class whose name is that of a norm, else ``""``."""
    if issubclass(cls, NORMS):
        return "norm of torch"
    words = WORDS.findall(cls.__name__)
    at = max((i for i, word in enumerate(words) if NORM.fullmatch(word) or SHORT.fullmatch(word)), default=-1)
    if at < 0:
        return ""
    lower = [word.lower() for word in words]
    before = [word for word in lower[:at] if len(word) > 1 and word != "transpose"]
    plain = PLAIN.fullmatch("".join((*before[-1:], lower[at])))
    weighed = before if NORM.fullmatch(words[at]) else before[-1:]
    if OF_OTHERS.intersection(before[-1:]) or any(map(LAYERS.fullmatch, lower[at + 1 :])):
        return ""
    if plain:
        return "norm" if (WEIGHED | CONDITIONED).intersection(before) else "plain"
    return "" if WEIGHED.intersection(weighed) else "norm"
