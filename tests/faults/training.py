"""A program that trains with all that makes a resume hard, and is killed at random moments.

Each attempt is a fork of one process, which has trained once without a stop and so imported all that is needed.

    python -m tests.faults.training FOLDER KILLS
"""

import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

from optimzoo import Runner
from optimzoo.run.store.checkpoint import checkpoints_in

ITERATIONS = 450


def loss(model, batch):
    x, y = batch
    return nn.functional.mse_loss(model(x), y)


def train(folder):
    torch.manual_seed(0)
    x = torch.randn(34, 8)
    data = TensorDataset(x, x.sin().sum(1, keepdim=True))
    runner = Runner(
        model=nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Dropout(0.2), nn.Linear(32, 1)),
        work_dir=folder,
        train_dataloader=dict(dataset=data, batch_size=4, shuffle=True),
        val_dataloader=dict(dataset=data, batch_size=34),
        loss=loss,
        optim_wrapper=dict(
            type="AmpOptimWrapper",
            dtype="bfloat16",
            accumulative_counts=4,
            clip_grad=dict(max_norm=1.0),
            optimizer=dict(type="AdamW", lr=0.01),
        ),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=20),
            dict(type="CosineAnnealingLR", by="update", begin=5, end=100),
            dict(type="MultiStepMomentum", milestones=[3, 9, 20]),
        ],
        train_cfg=dict(by_epoch=False, max_iters=ITERATIONS, val_interval=3),
        randomness=dict(seed=1),
        resume=bool(checkpoints_in(folder)),
    )
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        runner.train()


def fork(folder):
    """Train in a process of its own, and return its number."""
    process = os.fork()
    if process:
        return process
    try:
        train(folder)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def wait(process):
    """Return how a process ended; None if it was killed."""
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"training failed with {code}")
    return None if code else code


def attempt(folder, moments):
    """Train until a random moment, which may be one of a save; return whether the process was killed before its end."""
    process = fork(folder)
    saves = moments.choice([0, 0, 1, 2, 3])  # let so many saves begin first
    end = time.monotonic() + 0.1
    seen = None
    while saves and time.monotonic() < end:
        saving = next(folder.glob("checkpoint_*.partial"), None)
        saves -= saving not in (seen, None)
        seen = saving or seen
    time.sleep(moments.uniform(0, 0.002 if seen else 0.1))
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    return wait(process) is None


def main(folder, wanted):
    torch.set_num_threads(1)
    moments = random.Random(0)
    train(folder / "straight")
    killed = torn = rounds = 0
    while killed < wanted:
        rounds += 1
        run = folder / f"killed-{rounds}"
        while killed < wanted and attempt(run, moments):
            killed += 1
            torn += any(run.glob("checkpoint_*.partial"))
    wait(fork(run))
    print(killed, torn, rounds)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
