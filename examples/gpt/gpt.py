"""A small GPT of characters, on the help texts that come with Python: about half a megabyte of English and code."""

import functools
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

LENGTH = 64
"""The characters that the network sees."""
LETTERS = 128
"""ASCII; the few other characters count as the last."""


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, -1)
        mixed = functional.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4), is_causal=True)
        x = x + self.output(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(functional.gelu(self.up(self.mlp_norm(x))))


class GPT(nn.Module):
    """Tells the next character from those before it: (batch, length) of integers to (batch, length, letters)."""

    def __init__(self, width: int = 96, depth: int = 4, heads: int = 4):
        super().__init__()
        self.tokens = nn.Embedding(LETTERS, width)
        self.positions = nn.Embedding(LENGTH, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, LETTERS, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, text: Tensor) -> Tensor:
        x = self.tokens(text) + self.positions.weight[: text.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


@functools.cache
def letters() -> Tensor:
    text = "\n".join(topics[name] for name in sorted(topics))
    return torch.tensor([min(ord(letter), LETTERS - 1) for letter in text])


def windows(split: str, number: int | None = None) -> TensorDataset:
    """Pieces of the "train" (90 %) or "val" text, of LENGTH characters and the one to come; at most `number`."""
    text, cut = letters(), len(letters()) * 9 // 10
    pieces = {"train": text[:cut], "val": text[cut:]}[split].unfold(0, LENGTH + 1, LENGTH)
    return TensorDataset(pieces if number is None else pieces[:number])


def loss(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """The cross entropy of the next character, in nats."""
    (text,) = batch
    return functional.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
