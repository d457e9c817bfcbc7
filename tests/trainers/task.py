"""One task for every trainer: digits in a fixed order, a small network, rules, clipping and a chain of schedules."""

import functools
import math

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

UPDATES, ACCUMULATE, SAVED = 60, 2, 30
BATCH = 4
MAX_NORM = 1.0
RULES = dict(norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys={"head": dict(lr_mult=0.5)})
ADAMW = dict(type="AdamW", lr=0.02, weight_decay=0.1)
CFG = dict(optimizer=ADAMW, paramwise_cfg=RULES)
PARTS = dict(optimizer=dict(type="Muon", lr=0.02, weight_decay=0.1, rest=ADAMW), paramwise_cfg=RULES)
CHAIN = [
    dict(type="LinearLR", start_factor=0.25, by_epoch=False, end="20%"),
    dict(type="CosineAnnealingLR", by_epoch=False, begin="20%"),
    dict(type="LinearMomentum", start_factor=0.9, by_epoch=False, end="50%"),
]
TASKS = {"AdamW": (CFG, CHAIN), "Muon and AdamW": (PARTS, [*CHAIN[:2], dict(CHAIN[2], groups="rest")])}


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.body, self.norm, self.head = nn.Linear(64, 16), nn.LayerNorm(16), nn.Linear(16, 10)
        self.double()

    def forward(self, x, labels):
        logits = self.head(self.norm(self.body(x)))
        return {"loss": cross_entropy(logits, labels), "logits": logits}


@functools.cache
def digits():
    found = load_digits()
    return torch.as_tensor(found.data / 16), torch.as_tensor(found.target)


def rows(updates=UPDATES, processes=1):
    """Rows for updates of `ACCUMULATE` batches in each process."""
    count = updates * ACCUMULATE * BATCH * processes
    return [{"x": x, "labels": label} for x, label in zip(*(part[:count] for part in digits()))]


def batches(data, size=BATCH):
    for begin in range(0, len(data), size):
        yield {key: torch.stack([row[key] for row in data[begin : begin + size]]) for key in ("x", "labels")}


@functools.cache
def by_hand(processes=1, name="AdamW"):
    """Train with torch alone, the groups and the curves written out, and return the weights."""
    model = Classifier()
    body, norm, head = model.body, model.norm, model.head
    muon = torch.optim.Muon([body.weight], lr=0.02, weight_decay=0.1) if name != "AdamW" else None
    adamw = torch.optim.AdamW(
        [
            *([dict(params=[body.weight], lr=0.02, weight_decay=0.1)] if muon is None else ()),
            dict(params=[body.bias, norm.weight, norm.bias], lr=0.02, weight_decay=0.0),
            dict(params=[head.weight, head.bias], lr=0.01, weight_decay=0.1),
        ]
    )
    optimizers = [adamw] if muon is None else [muon, adamw]
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    base = [group["lr"] for group in groups]
    every = list(batches(rows(processes=processes)))
    size = ACCUMULATE * processes
    for update in range(UPDATES):
        warm, cooling = 0.25 + 0.75 * min(update, 11) / 11, (1 + math.cos(math.pi * max(update - 12, 0) / 48)) / 2
        factor = 0.9 + 0.1 * min(update, 29) / 29
        for group, lr in zip(groups, base):
            group["lr"] = lr * warm * cooling
            group |= dict(betas=(0.9 * factor, 0.999)) if "betas" in group else {}
        for batch in every[update * size : (update + 1) * size]:
            (model(**batch)["loss"] / size).backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return model.state_dict()


def assert_same(state, wanted=None, tolerance=1e-12):
    for name, value in (wanted or by_hand()).items():
        torch.testing.assert_close(
            state[name], value, rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )
