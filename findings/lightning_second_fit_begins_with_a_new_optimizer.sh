#!/usr/bin/env bash
# lightning 2.6.6, torch 2.13.0. A run that should go on for longer: the same Trainer, max_epochs raised, fit called again. The epochs and global_step go on
# where they were, and the weights too. The optimizer does not: configure_optimizers is called once more, the momentum is gone and the schedule
# starts at its first rate. So three epochs and three more are not six: the rate leaps back to the top in epoch 3. No message. A
# checkpoint given to the second fit restores both.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 lightning==2.6.6
cd "$dir" && "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import lightning
import torch

class Task(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight, self.seen = torch.nn.Parameter(torch.zeros(1)), []

    def training_step(self, batch, index):
        optimizer = self.optimizers()
        momentum = optimizer.state[self.weight].get("momentum_buffer") is not None
        self.seen.append((self.current_epoch, self.global_step, optimizer.param_groups[0]["lr"], momentum))
        return (self.weight - 1).square().sum()

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]

def run(*lengths, resumed=False):
    task, data = Task(), torch.utils.data.DataLoader(torch.ones(1))
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=lengths[0], **quiet)
    trainer.fit(task, data)
    for epochs in lengths[1:]:
        trainer.save_checkpoint("last.ckpt")
        trainer.fit_loop.max_epochs = epochs
        trainer.fit(task, data, ckpt_path="last.ckpt" if resumed else None)
    return task.seen

whole, twice, resumed = run(6), run(3, 6), run(3, 6, resumed=True)
for name, seen in (("six epochs", whole), ("three and three", twice), ("with a checkpoint", resumed)):
    print(f"{name}: epoch, global_step, lr, momentum", seen[2:5])
assert [seen[:2] for seen in twice] == [seen[:2] for seen in whole] and resumed == whole
assert whole[3] == (3, 3, 0.125, True) and twice[3] == (3, 3, 1.0, False)
PYTHON
