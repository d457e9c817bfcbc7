"""`torchrun -m optimzoo train`: one log, one folder, one message, whatever the number of processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from optimzoo.cli import main
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint

from .processes import environment, free_port

TASK = """
import torch
from torch.utils.data import TensorDataset

def numbers(count: int) -> TensorDataset:
    x = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x.sum(1, keepdim=True))

def loss(model, batch):
    x, y = batch
    return (model(x) - y).square().mean()
"""
CONFIG = """
loss = "task:loss"
model = { type = "torch.nn:Linear", in_features = 3, out_features = 1 }
train_dataloader = { batch_size = 2, shuffle = true, dataset = { type = "task:numbers", count = 16 } }
val_dataloader = { batch_size = 2, dataset = { type = "task:numbers", count = 5 } }
train_cfg = { max_epochs = 100_000 }
checkpoint = { best = "loss", interval = 20 }
optim_wrapper = { optimizer = { type = "ZeroRedundancyOptimizer", optimizer_type = "AdamW", lr = 1e-2 } }
work_dir = "run"
"""


@pytest.fixture
def torchrun(tmp_path):
    """Start the command in two processes; what is still running in the end is told to stop."""
    (tmp_path / "task.py").write_text(TASK)
    (tmp_path / "train.toml").write_text(CONFIG)
    started = []

    def start(*arguments):
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
        command = [sys.executable, *launcher, "-m", "optimzoo", "train", "train.toml", *arguments]
        env = environment(PYTHONUNBUFFERED="1", OMP_NUM_THREADS="1")
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(subprocess.Popen(command, cwd=tmp_path, env=env, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.terminate()  # which it passes on
        process.communicate(timeout=60)


def resume(folder):
    os.chdir(folder)
    epochs = load_checkpoint(checkpoints_in(Path("run"))[-1])["epoch"] + 2
    sys.argv = ["optimzoo", "train", "train.toml", "--resume", "--set", f"train_cfg.max_epochs={epochs}"]
    with pytest.raises(SystemExit, match="^0$"):
        main()


def test_a_run_is_stopped_resumed_and_refused_as_one(torchrun, launch, tmp_path):
    process = torchrun()
    for line in process.stdout:
        if line.startswith("epoch      2/"):
            break
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert err.count("SIGTERM: stopping after this step, with a checkpoint") == 1
    stopped = load_checkpoint(checkpoints_in(tmp_path / "run")[-1])
    assert len(stopped["random"]) == 2
    assert out.count(f"interrupted after step {stopped['iter']}; run/checkpoint_") == 1

    epochs = stopped["epoch"] + 2
    (code, out), (other_code, other_out) = launch(resume, tmp_path)
    assert code == other_code == 0, out + other_out
    assert not other_out
    assert out.count(f"resumed after step {stopped['iter']}") == 1
    assert [line.split()[1] for line in out.splitlines() if line.startswith("epoch")][-1] == f"{epochs}/{epochs}"
    assert load_checkpoint(checkpoints_in(tmp_path / "run")[-1])["iter"] == 4 * epochs
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["iter"] for row in rows if "loss" in row] == list(range(1, 4 * epochs + 1))
    left = {path.name for path in (tmp_path / "run").iterdir() if not path.name.startswith("checkpoint_")}
    assert left - {"tensorboard"} == {".lock", "best.pt", "config.yaml", "curves.png", "metrics.csv", "metrics.jsonl"}

    process = torchrun("--set", "optim_wrapper.optimizer.optimizer_type=AdamV")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.count("error: optim_wrapper.optimizer.optimizer_type: there is no optimizer 'AdamV'") == 1, err
    assert not out
