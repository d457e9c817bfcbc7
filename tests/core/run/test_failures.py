"""What a run does about faults: of the config, of the data, and in the middle of its training."""

import re

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from optimzoo.errors import CheckpointError, ConfigError, NonFiniteError
from optimzoo.run import Hook
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint

from .network import dataset, error, mse


class TestFaults:
    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_a_loss_that_is_no_number_stops_the_run_with_the_step_and_keeps_the_checkpoint(
        self, bad, make_runner, tmp_path
    ):
        calls = iter([1.0] * 11 + [bad] * 10)
        runner = make_runner(loss=lambda model, batch: mse(model, batch) * next(calls))
        with pytest.raises(NonFiniteError, match=rf"the loss is {bad} at step 12; .*checkpoint_00000010\.pt"):
            runner.train()
        assert [p.name for p in checkpoints_in(tmp_path / "run")][-1] == "checkpoint_00000010.pt"
        assert all(
            torch.isfinite(v).all() for v in load_checkpoint(checkpoints_in(tmp_path / "run")[-1])["model"].values()
        )
        assert runner.history.column("loss")[-1][0] == 11

    def test_what_was_logged_is_written_when_training_stops_by_an_error(self, make_runner, tmp_path):
        class Faulty(list):
            def __iter__(self):
                yield from super().__iter__()
                raise RuntimeError("the disk is gone")

        with pytest.raises(RuntimeError, match="the disk is gone"):
            make_runner(train_dataloader=Faulty(DataLoader(dataset(), batch_size=4))).train()
        assert (tmp_path / "run" / "metrics.csv").read_text().count("\n") == 6

    def test_a_folder_that_cannot_be_written_to_is_an_error(self, make_runner, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigError, match="^work_dir: .*cannot be written to .*choose another folder"):
            make_runner(work_dir=tmp_path / "file" / "run").train()

    def test_a_full_disk_while_saving_leaves_the_earlier_checkpoint(self, make_runner, tmp_path, monkeypatch):
        runner = make_runner()

        class FullDisk(Hook):
            def after_epoch(self, runner):
                if runner.epoch == 2:
                    monkeypatch.setattr(torch, "save", fail)

        def fail(state, file):
            file.write(b"half")
            raise OSError(28, "No space left on device")

        runner.hooks.insert(0, FullDisk())
        with pytest.raises(CheckpointError, match="No space left on device.*Earlier checkpoints are untouched"):
            runner.train()
        assert [p.name for p in (tmp_path / "run").glob("checkpoint*")] == ["checkpoint_00000005.pt"]

    @pytest.mark.parametrize(
        ("arguments", "path", "said"),
        [
            (dict(loss=None), "loss", "the model has no train_step"),
            (dict(loss="no_such_module:loss"), "loss", "there is no module 'no_such_module'"),
            (dict(loss=len), "loss", r"such as `def loss\(model, batch\): ...`; builtins:len does not take these"),
            (dict(loss=3), "loss", "a function of your own is wanted.* got 3"),
            (dict(loss="torch.nn:MSELoss"), "loss", "a function of your own is wanted.* got torch.nn.*:MSELoss"),
            (dict(loss="torch.nn.functional:mse_loss"), "loss", "which may call torch.nn.functional:mse_loss"),
            (dict(metrics=[error, 3]), "metrics[1]", r"such as `def metrics\(model, batch\): ...`, got 3"),
            (dict(model=3), "model", "Module is wanted"),
            (dict(model=dict(type="torch.optim:SGD")), "model.type", "a subclass of torch.nn"),
            (dict(model=dict(type=dataset)), "model.type", r"a Module .of .*: write `def dataset\(count=20\) ->"),
            (dict(model=dict(type="torch.nn.Linear")), "model.type", r"Did you mean 'torch\.nn:Linear'"),
            (dict(train_cfg=dict(epochs=1)), "train_cfg.epochs", "train_cfg has no argument 'epochs'. .* 'max_epochs'"),
            (dict(model=dict(type="torch.nn:Linear", in_features=1)), "model.out_features", "needs a value"),
            (dict(train_dataloader=3), "train_dataloader", "a DataLoader, another iterable"),
            (dict(train_dataloader=[]), "train_dataloader", "yields no batch"),
            (
                dict(train_dataloader=dict(dataset=3, batchsize=2)),
                "train_dataloader.batchsize",
                "Did you mean 'batch_size'",
            ),
            (dict(train_cfg=3), "train_cfg", "a dict such as"),
            (dict(train_cfg=dict()), "train_cfg", "'max_epochs'"),
            (
                dict(train_cfg=dict(by_epoch=False, max_epochs=1, max_iters=1)),
                "train_cfg.max_epochs",
                "goes with 'max_iters'",
            ),
            (dict(train_cfg=dict(max_epoch=1)), "train_cfg.max_epoch", "Did you mean 'max_epochs'"),
            (dict(train_cfg=dict(type="TestLoop", max_epochs=1)), "train_cfg.type", "EpochBasedTrainLoop"),
            (dict(checkpoint=dict(intervall=1)), "checkpoint.intervall", "Did you mean 'interval'"),
            (dict(checkpoint=dict(keep=0)), "checkpoint.keep", "at least 1"),
            (dict(randomness=dict(seed="x")), "randomness.seed", "a whole number"),
            (dict(randomness=3), "randomness", "a dict such as"),
            (dict(device="abacus"), "device", "cannot be trained on"),
            (dict(optim_wrapper=dict(optimizer=dict(type="X"))), "optim_wrapper.optimizer.type", "no optimizer 'X'"),
        ],
    )
    def test_a_wrong_argument_is_named_with_its_place(self, arguments, path, said, make_runner):
        with pytest.raises(ConfigError) as caught:
            make_runner(**arguments).train()
        problem = next(p for p in caught.value.problems if p.path == path)
        assert re.search(said, str(problem))

    def test_validation_data_that_nothing_measures_is_an_error(self, make_runner):
        class Driver(nn.Linear):
            def train_step(self, data, optim_wrapper): ...

        with pytest.raises(ConfigError, match="^metrics: there is validation data"):
            make_runner(model=Driver(1, 1), loss=None, val_dataloader=[torch.zeros(1)])
