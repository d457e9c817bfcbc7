"""One task for every trainer: a small network, batches in a fixed order, rules, clipping and a chain of schedules."""

import functools
import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy

UPDATES, ACCUMULATE, SAVED = 60, 2, 30
BATCH = 4
MAX_NORM = 1.0
CFG = dict(
    optimizer=dict(type="AdamW", lr=0.02, weight_decay=0.1),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys={"head": dict(lr_mult=0.5)}),
)
CHAIN = [
    dict(type="LinearLR", start_factor=0.25, by_epoch=False, end="20%"),
    dict(type="CosineAnnealingLR", by_epoch=False, begin="20%"),
    dict(type="LinearMomentum", start_factor=0.9, by_epoch=False, end="50%"),
]


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.body, self.norm, self.head = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3)
        self.double()

    def forward(self, x, labels):
        return {"loss": cross_entropy(self.head(self.norm(self.body(x))), labels)}


def rows(updates=UPDATES, processes=1):
    """Rows for updates of `ACCUMULATE` batches in each process."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(updates * ACCUMULATE * BATCH * processes, 6, generator=generator, dtype=torch.float64)
    return [{"x": row, "labels": label} for row, label in zip(x, x[:, :3].argmax(1))]


def batches(data, size=BATCH):
    for begin in range(0, len(data), size):
        yield {key: torch.stack([row[key] for row in data[begin : begin + size]]) for key in ("x", "labels")}


@functools.cache
def by_hand(processes=1):
    """Train with torch alone, the groups and the curves written out, and return the weights."""
    model = Classifier()
    body, norm, head = model.body, model.norm, model.head
    optimizer = torch.optim.AdamW(
        [
            dict(params=[body.weight], lr=0.02, weight_decay=0.1),
            dict(params=[body.bias, norm.weight, norm.bias], lr=0.02, weight_decay=0.0),
            dict(params=[head.weight, head.bias], lr=0.01, weight_decay=0.1),
        ]
    )
    base = [group["lr"] for group in optimizer.param_groups]
    for update, batch in enumerate(batches(rows(processes=processes), BATCH * ACCUMULATE * processes)):
        warm, cooling = 0.25 + 0.75 * min(update, 11) / 11, (1 + math.cos(math.pi * max(update - 12, 0) / 48)) / 2
        for group, lr in zip(optimizer.param_groups, base):
            group["lr"], group["betas"] = lr * warm * cooling, (0.9 * (0.9 + 0.1 * min(update, 29) / 29), 0.999)
        model(**batch)["loss"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        optimizer.zero_grad()
    return model.state_dict()


def assert_same(state, wanted=None, tolerance=1e-12):
    for name, value in (wanted or by_hand()).items():
        torch.testing.assert_close(
            state[name], value, rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )
