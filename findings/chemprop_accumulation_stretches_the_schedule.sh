#!/usr/bin/env bash
# chemprop 2.3.1 with lightning 2.6.6, torch 2.13.0. An MPNN brings its own schedule: a warm-up over warmup_epochs from
# init_lr to max_lr and a decay to final_lr until max_epochs. Its length is counted in batches, its steps are updates.
# With the Trainer's accumulate_grad_batches=4, the way to a larger batch, an epoch has a quarter of the updates, and a
# run sees the first quarter of the schedule: two epochs of warm-up last eight of ten, the rate is at its highest in the
# ninth, and training ends at 0.00087 in place of 0.0001. No message says so; the results of an accumulated run look
# worse than those of the large batch.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 lightning==2.6.6 chemprop==2.3.1
cd "$dir" && "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import logging
import lightning
from chemprop import data, models, nn

logging.disable(logging.CRITICAL)
molecules = data.MoleculeDataset([data.MoleculeDatapoint.from_smi("C" * (n + 1), [float(n)]) for n in range(32)])

class Watch(lightning.Callback):
    def on_train_epoch_start(self, trainer, model):
        self.rates.append(float(f"{trainer.optimizers[0].param_groups[0]['lr']:.2g}"))

def rates(batch, accumulate):
    model = models.MPNN(
        nn.BondMessagePassing(d_h=8, depth=1), nn.MeanAggregation(), nn.RegressionFFN(input_dim=8, hidden_dim=8),
        warmup_epochs=2, init_lr=0.0001, max_lr=0.001, final_lr=0.0001,
    )
    watch = Watch()
    watch.rates = []
    trainer = lightning.Trainer(
        max_epochs=10, accumulate_grad_batches=accumulate, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[watch],
    )
    trainer.fit(model, data.build_dataloader(molecules, batch_size=batch, num_workers=0, shuffle=False))
    last = float(f"{trainer.optimizers[0].param_groups[0]['lr']:.2g}")
    return trainer.global_step, watch.rates + [last]

large, accumulated = rates(16, 1), rates(4, 4)
print(f"batches of 16: {large[0]} updates, the rates of the epochs and at the end {large[1]}")
print(f"4 batches of 4: {accumulated[0]} updates, the rates of the epochs and at the end {accumulated[1]}")
assert large[0] == accumulated[0] == 20
assert large[1].index(0.001) == 2 and large[1][-1] == 0.0001
assert accumulated[1].index(0.001) == 8 and accumulated[1][-1] == 0.00087
PYTHON
