#!/usr/bin/env bash
# lightning 2.6.6, torch 2.13.0. In manual optimization trainer.global_step, and max_steps with it, count the steps of every optimizer. With two optimizers that
# both step in each batch (a GAN) max_steps=20 ends training after 10 batches, and a checkpoint for every 4 steps is saved every second batch; with an
# optimizer that steps in every fifth batch beside one that always does, it ends after 17. One would think of batches, or of updates of each. No
# argument gives the number of batches: limit_train_batches is per epoch. The only message: `max_steps=20` reached.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 lightning==2.6.6
cd "$dir" && "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

class Pair(lightning.LightningModule):
    def __init__(self, every):
        super().__init__()
        self.automatic_optimization, self.batches, self.every = False, 0, every
        self.nets = torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in every)

    def training_step(self, batch, index):
        self.batches += 1
        optimizers = self.optimizers()
        for net, optimizer, every in zip(self.nets, optimizers if isinstance(optimizers, list) else [optimizers], self.every):
            if self.batches % every == 0:
                optimizer.zero_grad()
                self.manual_backward(net(batch).sum())
                optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(net.parameters(), lr=0.1) for net in self.nets]

class Saves(ModelCheckpoint):
    def __init__(self):
        super().__init__("saved", every_n_train_steps=4, save_top_k=-1)
        self.at = []

    def _save_checkpoint(self, trainer, path):
        self.at.append(trainer.lightning_module.batches)

for every, batches in {(1,): 20, (1, 1): 10, (1, 5): 17}.items():
    task, saves, data = Pair(every), Saves(), torch.utils.data.DataLoader(torch.ones(100, 1))
    quiet = dict(logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer = lightning.Trainer(accelerator="cpu", max_steps=20, callbacks=[saves], **quiet)
    trainer.fit(task, data)
    print(f"optimizers that step every {every} batches: {task.batches} batches, global_step {trainer.global_step}, saved after {saves.at}")
    assert (task.batches, trainer.global_step) == (batches, 20)
PYTHON
