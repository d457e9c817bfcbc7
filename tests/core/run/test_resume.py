"""Resuming: the course is that of a run that never stopped."""

import os
import pickle
import random
import signal

import numpy
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, WeightedRandomSampler

from optimzoo.config.load import load_config
from optimzoo.errors import CheckpointError, OptimzooWarning
from optimzoo.run import Hook
from optimzoo.run.loop.randomness import random_state, set_random_state
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint

from .network import ADAMW, SCHEDULES, Interrupt, Noisy, dataset, files, mse, network, parameters
from .plugin import Stop


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        (dict(max_epochs=2), dict(max_epochs=5)),
        (dict(by_epoch=False, max_iters=7, val_interval=3), dict(by_epoch=False, max_iters=17, val_interval=3)),
        (dict(by_epoch=False, max_iters=10, val_interval=5), dict(by_epoch=False, max_iters=17, val_interval=5)),
    ],
    ids=["after an epoch", "inside an epoch", "on the last iteration of an epoch"],
)
@pytest.mark.parametrize(
    "loader",
    [
        lambda: DataLoader(dataset(), batch_size=4, shuffle=True, generator=torch.Generator()),
        lambda: DataLoader(Noisy(), batch_size=4, shuffle=True),
        lambda: dict(dataset=Noisy(), batch_size=4, shuffle=True),
    ],
    ids=["own generator", "no generator", "from a config"],
)
@pytest.mark.parametrize("accumulated", [1, 4])
def test_it_equals_never_having_stopped(part, whole, loader, accumulated, make_runner, tmp_path):
    config = dict(
        param_scheduler=[{**cfg, "end": cfg.get("end", 17)} for cfg in SCHEDULES],
        optim_wrapper={**ADAMW, "accumulative_counts": accumulated},
    )
    straight = make_runner(work_dir=tmp_path / "straight", train_cfg=whole, train_dataloader=loader(), **config)
    straight.train()
    with pytest.raises(KeyboardInterrupt):
        make_runner(train_cfg=whole, train_dataloader=loader(), hooks=[Interrupt(part)], **config).train()
    torch.manual_seed(999)
    random.seed(999)
    resumed = make_runner(train_cfg=whole, train_dataloader=loader(), resume=True, **config)
    assert resumed.iter > 0
    resumed.train()
    assert torch.equal(parameters(resumed), parameters(straight))
    assert list(resumed.history.rows()) == list(straight.history.rows())


def test_a_longer_run_goes_on_where_the_shorter_one_ended(make_runner):
    make_runner(train_cfg=dict(max_epochs=2)).train()
    resumed = make_runner(train_cfg=dict(max_epochs=4), resume=True)
    resumed.train()
    assert [row["iter"] for row in resumed.history.rows()] == list(range(1, 21))


def test_the_generator_of_a_sampler_goes_on_too(make_runner, tmp_path):
    def loader():
        sampler = WeightedRandomSampler(torch.arange(20.0), 20, generator=torch.Generator().manual_seed(7))
        return DataLoader(dataset(), batch_size=4, sampler=sampler)

    straight = make_runner(work_dir=tmp_path / "straight", train_dataloader=loader())
    straight.train()
    with pytest.raises(KeyboardInterrupt):
        make_runner(train_dataloader=loader(), hooks=[Interrupt(dict(max_epochs=1))]).train()
    resumed = make_runner(train_dataloader=loader(), resume=True)
    resumed.train()
    assert torch.equal(parameters(resumed), parameters(straight))


def test_a_validation_of_shuffled_data_goes_on_too(make_runner, tmp_path):
    config = dict(
        val_dataloader=dict(dataset=dataset(), batch_size=8, shuffle=True, drop_last=True),
        param_scheduler=dict(type="ReduceOnPlateauLR", monitor="loss", patience=0),
    )
    straight = make_runner(work_dir=tmp_path / "straight", **config)
    straight.train()
    with pytest.raises(KeyboardInterrupt):
        make_runner(hooks=[Interrupt(dict(max_epochs=2))], **config).train()
    resumed = make_runner(resume=True, **config)
    resumed.train()
    assert list(resumed.history.rows()) == list(straight.history.rows())


@pytest.mark.parametrize("kind", ["xpu", "mps"])
def test_the_generators_of_other_accelerators_are_in_the_state(kind, monkeypatch):
    module, held = getattr(torch, kind), ["as it was"]
    several = "_all" if kind == "xpu" else ""
    monkeypatch.setattr(torch.backends.mps if kind == "mps" else module, "is_available", lambda: True)
    monkeypatch.setattr(module, "device_count", lambda: 99)
    monkeypatch.setattr(module, f"get_rng_state{several}", lambda: held[-1])
    monkeypatch.setattr(module, f"set_rng_state{several}", held.append)
    state = random_state()
    held.append("drawn from")
    set_random_state(state)
    assert held[-1] == "as it was"


@pytest.mark.parametrize(
    ("before", "after", "iters", "stop"),
    [(2, 4, 20 + 3 * 5, 20), (4, 2, 10 + 3 * 10, 10), (2, 4, 24 + 3 * 5 - 2, 24)],
    ids=["larger batches", "smaller batches", "larger batches in the middle of an epoch"],
)
def test_another_batch_size_changes_the_length_of_what_is_left(before, after, iters, stop, make_runner):
    def settings(size):
        return dict(
            train_dataloader=DataLoader(dataset(), size, shuffle=True),
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.01), accumulative_counts=4),
            train_cfg=dict(max_epochs=5),
        )

    class Halt(Hook):
        def after_iter(self, runner, outcome, logs):
            if runner.iter == stop:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        make_runner(**settings(before), hooks=[Halt()]).train()
    runner = make_runner(**settings(after), resume=True)
    assert runner.max_iters == iters
    runner.train()
    assert (runner.epoch, runner.iter, runner.optim_wrapper.update_count) == (5, iters, -(-iters // 4))
    assert all(p.grad is None for p in runner.model.parameters())


def test_the_generators_of_python_numpy_and_torch_are_restored():
    state = random_state()
    drawn = [(random.random(), numpy.random.rand(), torch.rand(1).item()) for _ in range(2)]
    set_random_state(state)
    assert [(random.random(), numpy.random.rand(), torch.rand(1).item()) for _ in range(2)] == drawn


def test_the_seed_of_the_checkpoint_is_kept_and_written_down(make_runner, tmp_path):
    first = make_runner(randomness=None)
    first.train()
    resumed = make_runner(randomness=None, resume=True, train_cfg=dict(max_epochs=4))
    resumed.train()
    assert resumed.seed == first.seed
    assert load_config(tmp_path / "run" / "config.yaml")["randomness"] == {"seed": first.seed}


class TestWhichCheckpoint:
    def test_a_named_one_sets_the_newer_ones_aside(self, make_runner, tmp_path):
        make_runner(checkpoint=dict(keep=3)).train()
        folder = tmp_path / "run"
        first, *newer = checkpoints_in(folder)
        rows = (folder / "metrics.csv").read_text()
        runner = make_runner(resume=first, train_cfg=dict(max_epochs=2), checkpoint=dict(keep=1))
        assert runner.iter == 5
        assert checkpoints_in(folder) == [first, *newer]  # nothing is touched before it trains
        runner.train()
        assert [p.name for p in checkpoints_in(folder)] == ["checkpoint_00000010.pt"]
        assert [p.name for p in checkpoints_in(folder / "previous-1")] == [p.name for p in newer]
        assert (folder / "previous-1" / "metrics.csv").read_text() == rows

    def test_one_of_another_folder_starts_a_run_of_its_own(self, make_runner, tmp_path):
        make_runner().train()
        before = files(tmp_path / "run")
        runner = make_runner(
            resume=checkpoints_in(tmp_path / "run")[-1], work_dir=tmp_path / "other", train_cfg=dict(max_epochs=4)
        )
        runner.train()
        assert len(runner.history.column("loss")) == 20
        assert files(tmp_path / "run") == before

    def test_there_being_none_is_an_error(self, make_runner, tmp_path):
        with pytest.raises(CheckpointError, match="no checkpoint in .*run to resume from; train without resuming$"):
            make_runner(resume=True)
        assert not (tmp_path / "run").exists()

    def test_one_that_was_moved_aside_is_pointed_to(self, make_runner, tmp_path, capsys):
        make_runner().train()
        with pytest.raises(KeyboardInterrupt):
            make_runner(hooks=[Stop(1)]).train()
        assert "interrupted after step 1; there is no checkpoint yet" in capsys.readouterr().out
        with pytest.raises(CheckpointError, match=r"An earlier run left .*previous-1/checkpoint_00000015\.pt"):
            make_runner(resume=True)

    @pytest.mark.parametrize("damage", [b"", b"garbage", None])
    def test_a_damaged_one_is_passed_over_with_a_warning(self, damage, make_runner, tmp_path):
        make_runner().train()
        older, newest = checkpoints_in(tmp_path / "run")
        newest.write_bytes(newest.read_bytes()[:-100] if damage is None else damage)
        with pytest.warns(OptimzooWarning, match=f"{newest.name} is damaged.*resuming from .*{older.name} instead"):
            runner = make_runner(resume=True)
        assert runner.iter == 10
        with pytest.raises(CheckpointError, match=f"{newest.name} is damaged.*The one before it is .*{older.name}"):
            make_runner(resume=newest)
        older.write_bytes(b"")
        with pytest.raises(CheckpointError, match="none of the 2 checkpoints"):
            make_runner(resume=True)

    def test_one_that_would_run_code_is_refused(self, make_runner, tmp_path):
        class Executing:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "executed"),)

        make_runner().train()
        newest = checkpoints_in(tmp_path / "run")[-1]
        for write in (lambda: torch.save({"format": 1, "x": Executing()}, newest),
                      lambda: newest.write_bytes(pickle.dumps(Executing()))):  # fmt: skip
            write()
            with pytest.raises(CheckpointError, match="is damaged or not a checkpoint"):
                load_checkpoint(newest)
        assert not (tmp_path / "executed").exists()

    def test_a_finished_run_is_said_to_be_complete(self, make_runner, capsys):
        make_runner().train()
        trained = parameters(make_runner(resume=True))
        runner = make_runner(resume=True)
        capsys.readouterr()
        runner.train()
        assert "the run is complete; a larger max_epochs" in capsys.readouterr().out
        assert torch.equal(parameters(runner), trained)


def test_an_interruption_tells_what_is_left_and_how_to_go_on(make_runner, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        make_runner(hooks=[Interrupt(dict(max_iters=7))]).train()
    shown = capsys.readouterr().out
    assert "interrupted after step 8; " in shown
    assert "checkpoint_00000005.pt is the last checkpoint; --resume" in shown


def test_checkpoints_come_at_their_interval_after_resuming_too(make_runner, tmp_path):
    make_runner(train_cfg=dict(max_epochs=3), checkpoint=dict(interval=2, keep=9)).train()
    make_runner(train_cfg=dict(max_epochs=7), checkpoint=dict(interval=2, keep=9), resume=True).train()
    assert [int(p.stem[-8:]) // 5 for p in checkpoints_in(tmp_path / "run")] == [2, 3, 4, 6, 7]


def test_the_wrapper_is_told_how_far_the_run_is(make_runner):
    wrapper = dict(optimizer=dict(type="SGD", lr=0.1), accumulative_counts=3)
    make_runner(optim_wrapper=wrapper, train_cfg=dict(max_epochs=2)).train()
    runner = make_runner(optim_wrapper=wrapper, train_cfg=dict(max_epochs=4), resume=True)
    runner.train()
    assert runner.optim_wrapper.inner_count == 20
    assert runner.optim_wrapper.update_count == 4 + 4  # after 12, 15, 18 and the last two iterations


def test_the_checkpoint_holds_the_model_and_what_made_it(make_runner, tmp_path):
    runner = make_runner()
    runner.train()
    state = load_checkpoint(checkpoints_in(tmp_path / "run")[-1])
    model = network()
    model.load_state_dict(state["model"])
    batch = next(iter(DataLoader(dataset(), batch_size=20)))
    assert mse(model.eval(), batch) == mse(runner.model.eval(), batch)
    assert state["config"]["optim_wrapper"] == {"optimizer": {"type": "AdamW", "lr": 0.01}}


class Pair(nn.Module):
    """Updates one network twice for each time it updates the other."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.critic, self.generator = nn.Linear(3, 1), nn.Linear(3, 1)

    def train_step(self, data, optim_wrapper):
        x, y = data
        for target in (y, -y):
            optim_wrapper["critic"].update_params((self.critic(x) - target.square()).square().mean())
        optim_wrapper["generator"].update_params((self.generator(x) - y).square().mean())


def test_members_that_are_updated_at_their_own_pace_accumulate_and_resume(make_runner, tmp_path):
    sgd = dict(type="SGD", lr=0.1)
    critic, generator = dict(optimizer=sgd, accumulative_counts=3), dict(optimizer=sgd, accumulative_counts=2)
    pair = dict(loss=None, optim_wrapper=dict(critic=critic, generator=generator), checkpoint=dict(keep=9))
    straight = make_runner(**pair, model=Pair())
    straight.train()  # 15 iterations
    counts = {name: member.update_count for name, member in straight.optim_wrapper.items()}
    assert counts == {"critic": 10, "generator": 7}
    resumed = make_runner(
        **pair, model=Pair(), work_dir=tmp_path / "again", resume=tmp_path / "run" / "checkpoint_00000005.pt"
    )
    resumed.train()
    assert torch.equal(parameters(resumed), parameters(straight))
