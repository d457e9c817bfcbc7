"""The Trainer of transformers with an optimizer and schedules of this package."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from optimzoo import build_optim_wrapper
from optimzoo.errors import ConfigError
from optimzoo.trainers.hf import OptimzooCallback, hf_optimizer
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


def trainer(folder, model, accumulate=1, optimizers=None, cfg=CFG, callbacks=(), **settings):
    from transformers import Trainer, TrainingArguments

    class InOrder(Trainer):
        def _get_train_sampler(self, *_, **__):
            return None

    arguments = TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to=[], disable_tqdm=True, num_train_epochs=1,
        per_device_train_batch_size=16 // accumulate, gradient_accumulation_steps=accumulate,
        dataloader_pin_memory=False, **{"save_steps": 5, "max_grad_norm": 1.0, "logging_strategy": "no", **settings},
    )  # fmt: skip
    built = {"optimizers": optimizers} if optimizers else {"optimizer_cls_and_kwargs": hf_optimizer(cfg)}
    return InOrder(
        model=model,
        args=arguments,
        train_dataset=batches(),
        eval_dataset=batches()[:16],
        callbacks=[*callbacks],
        **built,
    )


def ours(model):
    optimizer = build_optim_wrapper(model, CFG).optimizer
    return optimizer, torch_scheduler(optimizer, CHAIN, total_updates=UPDATES)


def weights(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def inputs(first=0, last=UPDATES):
    for begin in range(16 * first, 16 * last, 16):
        yield {key: torch.stack([row[key] for row in batches()[begin : begin + 16]]) for key in ("x", "labels")}


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


def test_bfloat16_is_the_trainers(tmp_path):
    model, twin = Classifier(), Classifier()
    trainer(tmp_path, model, optimizers=ours(model), save_strategy="no", bf16=True).train()
    optimizer, schedule = ours(twin)
    for batch in inputs():
        with torch.autocast("cpu", torch.bfloat16):
            loss = twin(**batch)["loss"]
        loss.float().backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    torch.testing.assert_close(weights(model), weights(twin), rtol=0, atol=1e-5)


FREE = dict(optimizer=dict(type="AdamWScheduleFree", lr=0.05, warmup_steps=2))
ITS_OWN = dict(lr_scheduler_type="constant", max_grad_norm=0.0)


class TestModes:
    def loop(self, updates):
        """The weights to use after some updates of the library's own loop."""
        schedulefree = pytest.importorskip("schedulefree")
        model = Classifier()
        optimizer = schedulefree.AdamWScheduleFree(model.parameters(), lr=0.05, warmup_steps=2)
        optimizer.train()
        for batch in inputs(0, updates):
            optimizer.zero_grad()
            model(**batch)["loss"].backward()
            optimizer.step()
        optimizer.eval()
        return weights(model)

    def test_checkpoints_and_the_end_have_the_weights_to_use(self, tmp_path):
        from safetensors.torch import load_file

        model, saved = Classifier(), Classifier()
        made = trainer(tmp_path, model, cfg=FREE, callbacks=[OptimzooCallback()], **ITS_OWN)
        made.train()
        torch.testing.assert_close(weights(model), self.loop(UPDATES), rtol=0, atol=1e-5)
        saved.load_state_dict(load_file(tmp_path / "checkpoint-5" / "model.safetensors"))
        torch.testing.assert_close(weights(saved), self.loop(5), rtol=0, atol=1e-5)

    def test_a_resumed_run_ends_at_the_same_bits(self, tmp_path):
        settings = dict(cfg=FREE, eval_strategy="steps", eval_steps=3, **ITS_OWN)
        whole, resumed = Classifier(), Classifier()
        trainer(tmp_path, whole, callbacks=[OptimzooCallback()], **settings).train()
        again = trainer(tmp_path, resumed, callbacks=[OptimzooCallback()], **settings)
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
        assert torch.equal(weights(whole), weights(resumed))

    @pytest.mark.parametrize("name", ["AdamWScheduleFree", "Sophia", "SophiaG"])
    def test_without_the_callback_it_is_refused(self, name, tmp_path):
        with pytest.raises(ConfigError, match=rf"{name} .*without OptimzooCallback\(\) among its callbacks does not"):
            trainer(tmp_path, Classifier(), cfg=dict(type=name, lr=0.01)).train()


@pytest.mark.parametrize("name", ["SAM", "LBFGS", "AliG"])
def test_what_wants_more_of_a_step_is_refused(name, tmp_path):
    cfg = dict(type=name) | (dict(base_optimizer=dict(type="SGD", lr=0.1)) if name == "SAM" else {})
    with pytest.raises(ConfigError, match=rf"{name} .*The Trainer does not do that"):
        trainer(tmp_path, Classifier(), cfg=cfg, callbacks=[OptimzooCallback()]).train()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_curvature_is_estimated_as_the_wrapper_does(accumulate, tmp_path):
    def sampled(model, batch):  # without luck, so that two programs agree
        return model(batch["x"], batch["labels"].flip(0))["loss"], len(batch["labels"])

    cfg = dict(type="SophiaG", lr=0.01, k=3)
    model, twin = Classifier(), Classifier()
    settings = dict(cfg=cfg, callbacks=[OptimzooCallback(sampled)], save_strategy="no", **ITS_OWN)
    trainer(tmp_path, model, accumulate, **settings).train()
    wrapper = build_optim_wrapper(twin, dict(optimizer=cfg, accumulative_counts=accumulate))
    for whole in inputs():
        for begin in range(0, 16, 16 // accumulate):
            batch = {key: value[begin : begin + 16 // accumulate] for key, value in whole.items()}
            wrapper.update_params(twin(**batch)["loss"], curvature=lambda batch=batch: sampled(twin, batch))
    torch.testing.assert_close(weights(model), weights(twin), rtol=0, atol=1e-5)


def test_without_a_sampled_loss_the_curvature_is_that_of_the_models_own(tmp_path):
    settings = dict(cfg=dict(type="Sophia", lr=0.01, k=3), callbacks=[OptimzooCallback()], save_strategy="no")
    made = trainer(tmp_path, Classifier(), **settings, **ITS_OWN)
    made.train()
    states = made.optimizer.state.values()
    assert all(state["hessian"].abs().sum() > 0 for state in states if state["hessian"].ndim > 1)


def test_a_training_after_one_that_failed_leaves_nothing_on_the_model(tmp_path):
    batches = iter([None, None])

    class Failing(Classifier):
        def forward(self, x, labels):
            if next(batches, "all") is None:
                raise RuntimeError("no batch today")
            return super().forward(x, labels)

    settings = dict(cfg=dict(type="Sophia", lr=0.01), callbacks=[OptimzooCallback()], save_strategy="no")
    made = trainer(tmp_path, Failing(), **settings, **ITS_OWN)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no batch today"):
            made.train()
    made.train()
    assert not made.model._forward_pre_hooks


def test_the_effective_learning_rate_is_logged(tmp_path):
    pytest.importorskip("prodigyopt")
    settings = dict(save_strategy="no", logging_strategy="steps", logging_steps=1, lr_scheduler_type="constant")
    made = trainer(tmp_path, Classifier(), cfg=dict(type="Prodigy", lr=1.0), callbacks=[OptimzooCallback()], **settings)
    made.train()
    seen = [row["effective_lr"] for row in made.state.log_history if "effective_lr" in row]
    assert len(seen) == UPDATES
    assert seen[-1] == pytest.approx(made.optimizer.optimizer.param_groups[0]["d"])
    assert seen[-1] > seen[0]


def test_a_rule_that_clips_is_refused(tmp_path):
    cfg = dict(optimizer=dict(type="SGD", lr=0.1), paramwise_cfg=dict(rules=[dict(ndim=1, clip=1.0)]))
    with pytest.raises(ConfigError, match=r"^optim_wrapper.paramwise_cfg.rules\[0\].clip: the trainer clips"):
        trainer(tmp_path, Classifier(), cfg=cfg).train()


def test_deepspeed_is_refused_by_name(tmp_path):
    from transformers import Trainer

    arguments = trainer(tmp_path, Classifier()).args
    arguments.deepspeed = {"zero_optimization": {"stage": 2}}  # which cannot be said where deepspeed is not installed
    with pytest.raises(ConfigError, match="^deepspeed: DeepSpeed makes the step"):
        Trainer(model=Classifier(), args=arguments, callbacks=[OptimzooCallback()])
