"""One task in every trainer: all end at the weights of a loop by hand, also when they are resumed half-way."""

import itertools
import re

import pytest
import torch
from torch import nn

from optimzoo import Runner, build_optim_wrapper, build_param_scheduler
from optimzoo.trainers.torch import torch_scheduler
from tests.conftest import REPO

from .task import (
    ACCUMULATE,
    BATCH,
    MAX_NORM,
    SAVED,
    TASKS,
    UPDATES,
    Classifier,
    assert_same,
    batches,
    by_hand,
    digits,
    rows,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit:DeprecationWarning", "ignore::FutureWarning", "ignore:.*isinstance.treespec, LeafSpec"
)


def by_update(chain):
    return [{**each, "by": "update"} for each in chain]


class Inputs(torch.utils.data.Dataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.data[index]


class Loader(torch.utils.data.DataLoader):
    """Goes on from where a saved run had come, as Lightning asks of it."""

    done = 0

    def __iter__(self):
        return itertools.islice(super().__iter__(), self.done, None)

    def state_dict(self):
        return {"done": SAVED * ACCUMULATE}

    def load_state_dict(self, state):
        self.done = state["done"]


def loader():
    return Loader(Inputs(rows()), batch_size=BATCH)


def loop(folder, cfg, chain, resumed=False):
    """A loop of torch's, whose state is saved and loaded by hand."""
    model = Classifier()
    optimizer = build_optim_wrapper(model, cfg).optimizer
    scheduler = torch_scheduler(optimizer, chain, total_updates=UPDATES)
    parts, done = dict(model=model, optimizer=optimizer, scheduler=scheduler), 0
    if resumed:
        for name, state in torch.load(folder / "state.pt").items():
            parts[name].load_state_dict(state)
        done = SAVED
    for number, batch in enumerate(batches(rows()[done * ACCUMULATE * BATCH :]), done * ACCUMULATE + 1):
        (model(**batch)["loss"] / ACCUMULATE).backward()
        if number % ACCUMULATE == 0:
            nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        if number == SAVED * ACCUMULATE and not resumed:
            torch.save({name: part.state_dict() for name, part in parts.items()}, folder / "state.pt")
    return model.state_dict()


def wrapper(folder, cfg, chain, resumed=False):
    """A loop of one's own with the wrapper and the group of schedules."""
    model = Classifier()
    optim_wrapper = build_optim_wrapper(
        model, cfg | dict(accumulative_counts=ACCUMULATE, clip_grad=dict(max_norm=MAX_NORM))
    )
    schedules = build_param_scheduler(optim_wrapper, by_update(chain), max_iters=UPDATES * ACCUMULATE)
    parts, done = dict(model=model, optim_wrapper=optim_wrapper, schedules=schedules), 0
    if resumed:
        for name, state in torch.load(folder / "state.pt").items():
            parts[name].load_state_dict(state)
        done = SAVED
    for number, batch in enumerate(batches(rows()[done * ACCUMULATE * BATCH :]), done * ACCUMULATE + 1):
        schedules.step(optim_wrapper.update_params(model(**batch)["loss"]))
        if number == SAVED * ACCUMULATE and not resumed:
            torch.save({name: part.state_dict() for name, part in parts.items()}, folder / "state.pt")
    return model.state_dict()


def runner(folder, cfg, chain, resumed=False):
    made = Runner(
        Classifier(), folder / "run", loader(),
        cfg | dict(accumulative_counts=ACCUMULATE, clip_grad=dict(max_norm=MAX_NORM)),
        dict(max_iters=UPDATES * ACCUMULATE, val_interval=SAVED * ACCUMULATE), by_update(chain),
        loss=lambda model, batch: model(**batch)["loss"],
        checkpoint=dict(keep=5), device="cpu", randomness=dict(seed=0),
        resume=sorted((folder / "run").glob("**/*60*.pt"))[0] if resumed else False,
    )  # fmt: skip
    return made.train().state_dict()


def hf_trainer(folder, cfg, chain, resumed=False):
    from transformers import Trainer, TrainingArguments

    class InOrder(Trainer):
        def _get_train_sampler(self, *_, **__):
            return None

    model = Classifier()
    optimizer = build_optim_wrapper(model, cfg).optimizer
    arguments = TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to=[], disable_tqdm=True, num_train_epochs=1,
        max_grad_norm=MAX_NORM, per_device_train_batch_size=BATCH, gradient_accumulation_steps=ACCUMULATE,
        logging_strategy="no", dataloader_pin_memory=False, save_strategy="steps", save_steps=SAVED,
    )  # fmt: skip
    schedule = torch_scheduler(optimizer, chain, total_updates=UPDATES)
    trainer = InOrder(model=model, args=arguments, train_dataset=rows(), optimizers=(optimizer, schedule))
    trainer.train(resume_from_checkpoint=str(folder / f"checkpoint-{SAVED}") if resumed else None)
    return model.state_dict()


def lightning_module(cfg, chain, automatic):
    from lightning import LightningModule

    from optimzoo.trainers.lightning import lightning_optimizers

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.model, self.automatic_optimization = Classifier(), automatic

        def training_step(self, batch, batch_idx):
            loss = self.model(**batch)["loss"]
            if not automatic:
                optimizer = self.optimizers()
                self.manual_backward(loss / ACCUMULATE)
                if (batch_idx + 1) % ACCUMULATE == 0:
                    self.clip_gradients(optimizer, MAX_NORM, "norm")
                    optimizer.step()
                    self.lr_schedulers().step()
                    optimizer.zero_grad()
            return loss

        def configure_optimizers(self):
            return lightning_optimizers(self, cfg, chain, total_updates=None if automatic else UPDATES)

    return Module()


def lightning(folder, cfg, chain, resumed=False, automatic=True):
    from lightning import Callback, Trainer

    class Saves(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == SAVED and not (folder / "half.ckpt").exists():
                trainer.save_checkpoint(folder / "half.ckpt")

    own = dict(gradient_clip_val=MAX_NORM, accumulate_grad_batches=ACCUMULATE) if automatic else {}
    module = lightning_module(cfg, chain, automatic)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        precision="64-true", callbacks=[Saves()], enable_checkpointing=False, **own,
    )  # fmt: skip
    trainer.fit(module, loader(), ckpt_path=str(folder / "half.ckpt") if resumed else None)
    assert trainer.global_step == UPDATES
    return module.model.state_dict()


def lightning_manual(folder, cfg, chain, resumed=False):
    return lightning(folder, cfg, chain, resumed, automatic=False)


def fabric(folder, cfg, chain, resumed=False):
    from lightning.fabric import Fabric

    tool = Fabric(accelerator="cpu", devices=1, precision="64-true")
    model = tool.setup(Classifier())
    optimizer = tool.setup_optimizers(build_optim_wrapper(model, cfg).optimizer)
    scheduler = torch_scheduler(optimizer, chain, total_updates=UPDATES)
    parts, done = dict(model=model, optimizer=optimizer, scheduler=scheduler), 0
    if resumed:
        tool.load(folder / "state.ckpt", parts)
        done = SAVED
    for number, batch in enumerate(batches(rows()[done * ACCUMULATE * BATCH :]), done * ACCUMULATE + 1):
        with tool.no_backward_sync(model, enabled=number % ACCUMULATE != 0):
            tool.backward(model(**batch)["loss"] / ACCUMULATE)
        if number % ACCUMULATE == 0:
            tool.clip_gradients(model, optimizer, max_norm=MAX_NORM)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        if number == SAVED * ACCUMULATE and not resumed:
            tool.save(folder / "state.ckpt", parts)
    return model.state_dict()


def ignite(folder, cfg, chain, resumed=False):
    from ignite.engine import Engine, Events
    from ignite.handlers import Checkpoint, DiskSaver

    model = Classifier()
    optimizer = build_optim_wrapper(model, cfg).optimizer
    scheduler = torch_scheduler(optimizer, chain, total_updates=UPDATES)

    def step(engine, batch):
        (model(**batch)["loss"] / ACCUMULATE).backward()
        if engine.state.iteration % ACCUMULATE == 0:
            nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()

    engine = Engine(step)
    parts, data = dict(model=model, optimizer=optimizer, scheduler=scheduler), list(batches(rows()))
    if resumed:
        Checkpoint.load_objects(parts, torch.load(folder / f"checkpoint_{SAVED * ACCUMULATE}.pt"))
        data = data[SAVED * ACCUMULATE :]
    else:
        saves = Checkpoint(parts, DiskSaver(folder, require_empty=False), n_saved=None)
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=SAVED * ACCUMULATE), saves)
    engine.run(data, max_epochs=1)
    return model.state_dict()


def mmengine_runner(folder, cfg, chain, resumed=False):
    from mmengine.model import BaseModel
    from mmengine.runner import Runner as TheirRunner

    import optimzoo.trainers.mmengine  # noqa: F401  as custom_imports does

    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.model = Classifier()

        def forward(self, x, labels, mode="loss"):
            return self.model(x, labels)

    windows = [dict(end=12), dict(begin=12, end=60), dict(end=30)]
    schedules = [{**each, **own, "type": f"optimzoo.{each['type']}"} for each, own in zip(by_update(chain), windows)]
    made = TheirRunner(
        Model(), str(folder / "mmengine"), log_level="ERROR", resume=resumed, default_scope="mmengine",
        experiment_name=f"matrix-{folder.name}-{resumed}",
        train_dataloader=dict(
            dataset=Inputs(rows()), sampler=dict(type="DefaultSampler", shuffle=False), batch_size=BATCH,
            collate_fn=dict(type="default_collate"),
        ),
        train_cfg=dict(by_epoch=False, max_iters=UPDATES * ACCUMULATE),
        optim_wrapper=cfg
        | dict(
            constructor="optimzoo.DefaultOptimWrapperConstructor", accumulative_counts=ACCUMULATE,
            clip_grad=dict(max_norm=MAX_NORM),
        ),
        param_scheduler=schedules,
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", interval=SAVED * ACCUMULATE, by_epoch=False)),
    )  # fmt: skip
    made.train()
    half = folder / "mmengine" / f"iter_{SAVED * ACCUMULATE}.pth"
    (folder / "mmengine" / "last_checkpoint").write_text(str(half))
    return made.model.model.state_dict()


THEIRS = [pytest.param(mmengine_runner, marks=pytest.mark.filterwarnings("ignore"))]  # it warns of its own calls
TRAINERS = [loop, wrapper, runner, hf_trainer, lightning, lightning_manual, fabric, ignite, *THEIRS]
NEEDS = dict(
    hf_trainer="transformers",
    lightning_manual="lightning",
    fabric="lightning",
    lightning="lightning",
    ignite="ignite",
    mmengine_runner="mmengine.runner",
)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.__name__)
def test_it_ends_at_the_weights_of_a_loop_by_hand(trainer, name, tmp_path, monkeypatch):
    pytest.importorskip(NEEDS.get(trainer.__name__, "torch"))
    monkeypatch.chdir(tmp_path)
    if trainer is mmengine_runner:  # which cannot read its own checkpoints as torch reads them by default
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    whole = trainer(tmp_path, *TASKS[name])
    assert_same(whole, by_hand(name=name))
    assert_same(trainer(tmp_path, *TASKS[name], resumed=True), whole, tolerance=0)


@pytest.mark.parametrize("name", TASKS)
def test_the_task_is_learned(name):
    model = Classifier()
    model.load_state_dict(by_hand(name=name))
    x, labels = (part[UPDATES * ACCUMULATE * BATCH :] for part in digits())
    assert (model(x, labels)["logits"].argmax(1) == labels).double().mean() > 0.7


def test_the_page_has_the_versions_that_were_run():
    pins = dict(re.findall(r"^([\w-]+)==(\S+?)(?:;.*)?$", (REPO / "constraints.txt").read_text(), re.M))
    told = re.findall(r"^\|.*\| ([\w-]+) (\d[\d.]+) \|", (REPO / "docs" / "trainers" / "index.md").read_text(), re.M)
    assert len(told) == 7
    assert {name: pins[name] for name, _ in told} == dict(told)
