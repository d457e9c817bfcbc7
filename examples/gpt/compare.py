"""Train with Muon and AdamW, and with AdamW alone, over three seeds, and print the losses on the validation text.

`python compare.py --tune` tries the learning rates of AdamW instead, from which that of adamw.toml was taken.
"""

import csv
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)
RATES = (1e-3, 2e-3, 3e-3, 4e-3, 6e-3, 8e-3, 1.6e-2)


def train(file: str, *changes: str) -> float:
    """The last validation loss of a run in a process of its own, with one thread: two runs share two cores."""
    with TemporaryDirectory() as folder:
        options = [word for change in changes for word in ("--set", change)]
        command = [sys.executable, "-m", "optimzoo", "train", str(HERE / file), "--work-dir", folder, *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        with open(Path(folder) / "metrics.csv", newline="") as table:
            return float([row["val_loss"] for row in csv.DictReader(table) if row["val_loss"]][-1])


def main() -> None:
    with ThreadPoolExecutor(2) as pool:
        if "--tune" in sys.argv:
            losses = pool.map(lambda lr: train("adamw.toml", f"optim_wrapper.optimizer.lr={lr}"), RATES)
            for lr, loss in zip(RATES, losses):
                print(f"AdamW, lr {lr:g}: {loss:.3f}", flush=True)
            return
        print(
            f"validation loss after 300 updates, seeds {SEEDS}: six runs, two at a time, a minute or more each",
            flush=True,
        )
        found = {
            name: pool.map(lambda seed, file=file: train(file, f"randomness.seed={seed}"), SEEDS)
            for name, file in (("Muon + AdamW", "muon.toml"), ("AdamW alone", "adamw.toml"))
        }
        for name, losses in found.items():
            print(f"{name:12}", end="", flush=True)
            each = []
            for loss in losses:
                each.append(loss)
                print(f"  {loss:.3f}", end="", flush=True)
            print(f"   mean {mean(each):.3f}", flush=True)


if __name__ == "__main__":
    main()
