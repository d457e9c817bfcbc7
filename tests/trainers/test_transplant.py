"""What the Trainer of transformers and Lightning have saved goes on in another optimizer."""

import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper
from optimzoo.transplant import convert_state, read_state

MUON = dict(optimizer=dict(type="Muon", lr=0.02, rest=dict(type="AdamW", lr=1e-3)))
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore:.*isinstance.treespec, LeafSpec", "ignore:.*`torch.jit:DeprecationWarning"
)


def assert_carried(path, model, trained):
    """The means of gradients of the model are those that the optimizer had which was trained."""
    wrapper = build_optim_wrapper(model, MUON)
    state, report = convert_state(wrapper, model, read_state(path)[1])
    assert {each.outcome for each in report} == {"carried", "converted"}
    wrapper.load_state_dict(state)
    for parameter, theirs in zip(model.parameters(), trained.model.parameters()):
        kept = wrapper.optimizer.state[parameter]
        mean = kept["momentum_buffer" if "momentum_buffer" in kept else "exp_avg"]
        assert torch.equal(mean, trained.optimizer.state[theirs]["exp_avg"])


class Deeper(nn.Module):
    """The norm stands between others, so that the Trainer's groups have another order than the model."""

    def __init__(self):
        super().__init__()
        self.body, self.norm, self.head = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3)
        self.hidden = nn.Linear(8, 8)

    def forward(self, x, labels):
        return {"loss": nn.functional.cross_entropy(self.head(self.hidden(self.norm(self.body(x)))), labels)}


ROWS = [{"x": torch.randn(6), "labels": torch.tensor(i % 3)} for i in range(12)]


def test_the_optimizer_file_of_the_trainer_of_transformers(tmp_path):
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, report_to=[], disable_tqdm=True, max_steps=3, weight_decay=0.1,
        per_device_train_batch_size=4, save_strategy="steps", save_steps=3, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Trainer(model=Deeper(), args=arguments, train_dataset=ROWS)
    trainer.train()
    trainer.optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    assert len(trainer.optimizer.param_groups) == 2
    assert_carried(tmp_path / "checkpoint-3" / "optimizer.pt", Deeper(), trainer)


def test_a_checkpoint_of_lightning(tmp_path):
    from lightning import LightningModule, Trainer

    from optimzoo.trainers.lightning import lightning_optimizers

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.model = Deeper()

        def training_step(self, batch, _):
            return self.model(**batch)["loss"]

        def configure_optimizers(self):
            self.optimizer = lightning_optimizers(self, dict(optimizer=dict(type="AdamW", lr=1e-3)))
            return self.optimizer

    module = Module()
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(ROWS, 4))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    module.optimizer = trainer.optimizers[0]
    assert_carried(tmp_path / "last.ckpt", Deeper(), module)
