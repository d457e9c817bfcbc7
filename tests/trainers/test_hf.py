"""The Trainer of transformers with an optimizer and schedules of this package."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from optimzoo import build_optim_wrapper
from optimzoo.errors import ConfigError
from optimzoo.trainers.hf import hf_optimizer
from optimzoo.trainers.torch import torch_scheduler

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore::FutureWarning")

UPDATES = 12
CFG = dict(
    optimizer=dict(type="AdamW", lr=0.05, weight_decay=0.1),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys={"head": dict(lr_mult=0.1)}),
)
CHAIN = [
    dict(type="LinearLR", start_factor=0.25, by_epoch=False, end="25%"),
    dict(type="CosineAnnealingLR", by_epoch=False, begin="25%"),
]


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.body, self.norm, self.head = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x, labels):
        logits = self.head(self.norm(self.body(x)))
        return {"loss": cross_entropy(logits, labels), "logits": logits}


def batches(rows=16 * UPDATES):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 6, generator=generator)
    return [{"x": row, "labels": label} for row, label in zip(x, x[:, :3].argmax(1))]


def by_hand(accumulate, model):
    wrapper = build_optim_wrapper(model, CFG)
    scheduler = torch_scheduler(wrapper.optimizer, CHAIN, total_updates=UPDATES)
    rows = batches()
    for update in range(UPDATES):
        part = rows[update * 16 : (update + 1) * 16]
        step = 16 // accumulate
        for begin in range(0, 16, step):
            x, labels = (torch.stack([row[key] for row in part[begin : begin + step]]) for key in ("x", "labels"))
            (model(x, labels)["loss"] / accumulate).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        wrapper.optimizer.step()
        scheduler.step()
        wrapper.optimizer.zero_grad()
    return model.state_dict()


def trainer(folder, model, accumulate=1, optimizers=None, **settings):
    from transformers import Trainer, TrainingArguments

    class InOrder(Trainer):
        def _get_train_sampler(self, *_, **__):
            return None

    arguments = TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to=[], disable_tqdm=True, num_train_epochs=1, max_grad_norm=1.0,
        per_device_train_batch_size=16 // accumulate, gradient_accumulation_steps=accumulate, logging_strategy="no",
        dataloader_pin_memory=False, save_steps=5, **settings,
    )  # fmt: skip
    built = {"optimizers": optimizers} if optimizers else {"optimizer_cls_and_kwargs": hf_optimizer(CFG)}
    return InOrder(model=model, args=arguments, train_dataset=batches(), **built)


def ours(model):
    optimizer = build_optim_wrapper(model, CFG).optimizer
    return optimizer, torch_scheduler(optimizer, CHAIN, total_updates=UPDATES)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_trains_as_a_loop_by_hand(accumulate, tmp_path):
    model = Classifier()
    trainer(tmp_path, model, accumulate, ours(model), save_strategy="no").train()
    wanted = by_hand(accumulate, Classifier())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-5, atol=1e-6)


def test_a_resumed_run_ends_at_the_same_bits(tmp_path):
    model = Classifier()
    trainer(tmp_path, model, optimizers=ours(model), save_strategy="steps").train()
    resumed = Classifier()
    again = trainer(tmp_path, resumed, optimizers=ours(resumed), save_strategy="no")
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in model.state_dict().items())


def test_the_groups_are_those_of_the_config(tmp_path):
    model = Classifier()
    optimizer = trainer(tmp_path, model, save_strategy="no", learning_rate=7.0, weight_decay=3.0).create_optimizer()
    names = {parameter: name for name, parameter in model.named_parameters()}
    seen = {names[p]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert seen == {
        "body.weight": (0.05, 0.1), "body.bias": (0.05, 0.0), "norm.weight": (0.05, 0.0), "norm.bias": (0.05, 0.0),
        "head.weight": (pytest.approx(0.005), 0.1), "head.bias": (pytest.approx(0.005), 0.1),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        (CFG | dict(clip_grad=dict(max_norm=1)), r"optim_wrapper.clip_grad: max_grad_norm"),
        (CFG | dict(accumulative_counts=2), r"optim_wrapper.accumulative_counts: gradient_accumulation_steps"),
        (CFG | dict(type="AmpOptimWrapper"), r"optim_wrapper.type: the Trainer makes the step"),
        (dict(type="AdamV", lr=0.1), r"optim_wrapper.optimizer.type: .* Did you mean 'Adam'"),
        (dict(type="AdamW", lrr=0.1), r"optim_wrapper.optimizer.lrr: .* Did you mean 'lr'"),
    ],
)
def test_what_is_the_trainers_is_refused_before_training(cfg, said):
    with pytest.raises(ConfigError, match=said):
        hf_optimizer(cfg)
