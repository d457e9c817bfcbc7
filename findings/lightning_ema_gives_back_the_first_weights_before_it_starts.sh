#!/usr/bin/env bash
# lightning 2.6.6, torch 2.13.0. EMAWeightAveraging(update_starting_at_step=n) is to leave the noisy beginning out of the average. Until step n there is no
# average, so one would expect validation and checkpoints to use the weights in training. They use the copy that was made when fit began: the
# weights from before the first step. A run that ends before step n ends with those too: what was trained is gone from the model and stands
# in no "state_dict" of a checkpoint saved afterwards. No message.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 lightning==2.6.6
cd "$dir" && "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

class Task(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight, self.validated = torch.nn.Parameter(torch.zeros(1)), []

    def training_step(self, batch, index):
        return (self.weight - 1).square().sum()

    def validation_step(self, batch, index):
        self.validated.append(round(self.weight.item(), 2))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

def trained(*callbacks):
    task, four, one = Task(), torch.utils.data.DataLoader(torch.ones(4)), torch.utils.data.DataLoader(torch.ones(1))
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=5, num_sanity_val_steps=0, callbacks=list(callbacks), **quiet)
    trainer.fit(task, four, one)
    trainer.save_checkpoint("end.ckpt")
    return task.validated, round(task.weight.item(), 2), round(torch.load("end.ckpt")["state_dict"]["weight"].item(), 2)

plain = trained()
print("no average: validated", plain[0], "ends at", plain[1], "saved", plain[2])
seen = {start: trained(EMAWeightAveraging(decay=0.5, update_starting_at_step=start)) for start in (0, 8, 100)}
for start, (validated, end, saved) in seen.items():
    print(f"average from step {start}: validated {validated} ends at {end} saved {saved}")
assert min(plain[0]) > 0.5 and min(seen[0][0]) > 0.4
assert seen[8][0][:2] == [0.0, 0.0] and seen[8][0][2] > 0.9
assert seen[100] == ([0.0] * 5, 0.0, 0.0) and plain[1] > 0.98
PYTHON
