"""One config, of Muon and AdamW, in a loop of one's own, the Runner, transformers' Trainer and Lightning."""

import csv
import sys

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from optimzoo import Runner, build_optim_wrapper, build_param_scheduler
from optimzoo.config import load_config
from optimzoo.trainers.torch import torch_scheduler
from tests.conftest import REPO

FOLDER = REPO / "examples" / "gpt"
UPDATES, BATCH = 20, 4
CFG = load_config(FOLDER / "muon.toml")
CHAIN = [{**each, **({"end": 5} if each["type"] == "LinearLR" else {"begin": 5})} for each in CFG["param_scheduler"]]

pytestmark = pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def gpt():
    sys.path.insert(0, str(FOLDER))
    import gpt

    yield gpt
    sys.path.remove(str(FOLDER))
    del sys.modules["gpt"]


def network(gpt):
    torch.manual_seed(0)
    return gpt.GPT(depth=2)


def data(gpt):
    return gpt.windows("train", UPDATES * BATCH)


def by_hand(gpt, norm_in_order_of):
    """The losses of the two optimizers of torch by hand: the matrices of the blocks to Muon, all else to AdamW.

    Muon works in bfloat16, so that even the order in which a norm is summed up shows in the fourth digit of a loss.
    """
    model = network(gpt)
    matrices = [p for name, p in model.named_parameters() if name.startswith("blocks") and p.ndim == 2]
    tables = [model.tokens.weight, model.positions.weight, model.head.weight]
    norms = [p for name, p in model.named_parameters() if "norm" in name]
    optimizers = [
        torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1),
        torch.optim.AdamW(
            [dict(params=tables), dict(params=norms, weight_decay=0.0)], lr=4e-3, weight_decay=0.1, fused=True
        ),
    ]
    schedules = [
        torch.optim.lr_scheduler.SequentialLR(
            optimizer,
            [
                torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=4),
                torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES - 5),
            ],
            [5],
        )
        for optimizer in optimizers
    ]
    orders = {"groups": [*matrices, *tables, *norms], "model": [*model.parameters()]}
    losses = []
    for batch in DataLoader(data(gpt), BATCH):
        loss = gpt.loss(model, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(orders[norm_in_order_of], 1.0)
        for each in (*optimizers, *schedules):
            each.step()
        model.zero_grad()
        losses.append(loss.item())
    return losses


def loop(gpt, folder):
    model = network(gpt)
    optim_wrapper = build_optim_wrapper(model, CFG["optim_wrapper"])
    schedules, losses = build_param_scheduler(optim_wrapper, CHAIN, max_iters=UPDATES), []
    for batch in DataLoader(data(gpt), BATCH):
        loss = gpt.loss(model, batch)
        schedules.step(optim_wrapper.update_params(loss))
        losses.append(loss.item())
    return losses


def runner(gpt, folder):
    Runner(
        network(gpt), folder / "run", DataLoader(data(gpt), BATCH), CFG["optim_wrapper"], dict(max_iters=UPDATES),
        CHAIN, loss=gpt.loss, device="cpu", randomness=dict(seed=0),
    ).train()  # fmt: skip
    with open(folder / "run" / "metrics.csv", newline="") as table:
        return [float(row["loss"]) for row in csv.DictReader(table) if row["loss"]]


def hf_trainer(gpt, folder):
    from transformers import Trainer, TrainingArguments

    losses = []

    class InOrder(Trainer):
        def _get_train_sampler(self, *_, **__):
            return None

        def compute_loss(self, model, inputs, **_):
            loss = gpt.loss(model, [inputs["text"]])
            losses.append(loss.item())
            return loss

    model = network(gpt)
    optimizer = build_optim_wrapper(model, CFG["optim_wrapper"]).optimizer
    arguments = TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to=[], disable_tqdm=True, num_train_epochs=1, max_grad_norm=1.0,
        per_device_train_batch_size=BATCH, logging_strategy="no", save_strategy="no", dataloader_pin_memory=False,
        remove_unused_columns=False,
    )  # fmt: skip
    schedule = torch_scheduler(optimizer, CHAIN, total_updates=UPDATES)
    rows = [dict(text=row) for (row,) in data(gpt)]
    InOrder(model=model, args=arguments, train_dataset=rows, optimizers=(optimizer, schedule)).train()
    return losses


def lightning(gpt, folder):
    from lightning import LightningModule, Trainer

    from optimzoo.trainers.lightning import lightning_optimizers

    losses = []

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network(gpt)

        def training_step(self, batch, _):
            loss = gpt.loss(self.net, batch)
            losses.append(loss.item())
            return loss

        def configure_optimizers(self):
            cfg = {key: value for key, value in CFG["optim_wrapper"].items() if key != "clip_grad"}
            return lightning_optimizers(self, cfg, CHAIN)

    Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        gradient_clip_val=1.0, enable_checkpointing=False, default_root_dir=folder,
    ).fit(Module(), DataLoader(data(gpt), BATCH))  # fmt: skip
    return losses


@pytest.mark.parametrize(
    ("trainer", "order"), [(loop, "groups"), (runner, "groups"), (hf_trainer, "model"), (lightning, "groups")]
)
def test_the_losses_of_twenty_updates_are_those_by_hand(trainer, order, gpt, tmp_path):
    wanted = by_hand(gpt, order)
    assert trainer(gpt, tmp_path) == pytest.approx(wanted, rel=1e-6)
    assert wanted[-1] < 0.85 * wanted[0]
