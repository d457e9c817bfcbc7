import csv

import numpy
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from optimzoo import OptimWrapper, Runner, StepOutcome
from optimzoo.config.load import load_config
from optimzoo.errors import ConfigError
from optimzoo.run import Hook

from .network import SCHEDULES, dataset, error, mse, network, parameters


class Recorder(Hook):
    def __init__(self):
        self.events = []

    def __getattribute__(self, name):
        method = super().__getattribute__(name)
        if name.startswith("_") or name in ("events", "needs", "measures", "trained"):
            return method
        self.events.append(name)
        return method


class TestTraining:
    def test_it_equals_the_loop_written_by_hand(self, make_runner):
        data = list(DataLoader(dataset(), batch_size=4))
        model = network()
        model.eval = model.train = lambda mode=True: model  # no dropout, so that nothing is random
        nn.Module.eval(model[2])
        twin = network()
        twin[2].eval()
        runner = make_runner(model=model, train_dataloader=data, train_cfg=dict(max_epochs=2))
        runner.train()
        optimizer = torch.optim.AdamW(twin.parameters(), lr=0.01)
        for x, y in data * 2:
            nn.functional.mse_loss(twin(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
        twin_parameters = torch.cat([p.detach().flatten() for p in twin.parameters()])
        assert torch.allclose(parameters(runner), twin_parameters, atol=1e-6)

    def test_what_it_leaves_in_the_work_dir(self, make_runner, tmp_path):
        runner = make_runner(
            param_scheduler=SCHEDULES,
            val_dataloader=DataLoader(dataset(8), batch_size=3),
            metrics=[error],
            optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.01)),
        )
        runner.train()
        folder = tmp_path / "run"
        assert sorted(path.name for path in folder.glob("[!.]*") if path.is_file()) == [
            "checkpoint_00000010.pt",
            "checkpoint_00000015.pt",
            "config.yaml",
            "curves.png",
            "metrics.csv",
            "metrics.jsonl",
        ]
        with (folder / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert set(rows[0]) == {"iter", "epoch", "loss", "lr", "betas[0]", "val_loss", "val_error"}
        assert [row["iter"] for row in rows if row["loss"]] == [str(i) for i in range(1, 16)]
        assert [row["epoch"] for row in rows if row["val_error"]] == ["1", "2", "3"]
        assert float(rows[0]["lr"]) == 0.001
        config = load_config(folder / "config.yaml")
        assert config["optim_wrapper"] == {"optimizer": {"type": "AdamW", "lr": 0.01}}
        assert config["randomness"] == {"seed": 1}

    def test_numbers_of_numpy_are_numbers_in_its_config(self, make_runner):
        optimizer = dict(type="AdamW", lr=numpy.float32(0.5), weight_decay=torch.tensor(0.25))
        runner = make_runner(log_interval=numpy.int64(3), optim_wrapper=dict(optimizer=optimizer))
        assert runner.config["log_interval"] == 3
        assert runner.config["optim_wrapper"]["optimizer"] == {"type": "AdamW", "lr": 0.5, "weight_decay": 0.25}

    def test_by_iteration_it_goes_round_the_data_and_validates_at_its_interval(self, make_runner):
        recorder = Recorder()
        runner = make_runner(
            train_cfg=dict(by_epoch=False, max_iters=12, val_interval=5),
            val_dataloader=DataLoader(dataset(8), batch_size=3),
            hooks=[recorder],
        )
        runner.train()
        assert (runner.iter, runner.epoch) == (12, 2)
        assert [recorder.events.count(e) for e in ("after_iter", "after_epoch", "after_val", "checkpoint_due")] == [
            12,
            2,
            3,
            3,
        ]

    def test_validation_begins_and_recurs_as_told_and_ends_the_run(self, make_runner):
        epochs = []

        class Note(Hook):
            def after_val(self, runner, metrics):
                epochs.append(runner.epoch)

        make_runner(
            train_cfg=dict(max_epochs=7, val_begin=2, val_interval=3),
            val_dataloader=DataLoader(dataset(8), batch_size=3),
            hooks=[Note()],
        ).train()
        assert epochs == [3, 6, 7]

    @pytest.mark.parametrize(
        ("length", "validated"),
        [
            (dict(max_epochs=8, val_interval=4, dynamic_intervals=[[6, 1]]), [20, 25, 30, 35, 40]),
            (dict(max_epochs=9, val_interval=1, dynamic_intervals=[(3, 3), (7, 8)]), [5, 15, 40, 45]),
            (dict(max_iters=12, val_interval=5, dynamic_intervals=[[7, 2]]), [5, 6, 8, 10, 12]),
            (dict(max_iters=12, val_interval=3, dynamic_intervals=[[7, 12]]), [3, 12]),
            (dict(max_iters=12.0, val_interval=5.0, dynamic_intervals=[[7.0, 2.0]]), [5, 6, 8, 10, 12]),
        ],
    )
    def test_the_interval_may_change_during_the_run(self, length, validated, make_runner):
        steps = []

        class Note(Hook):
            def after_val(self, runner, metrics):
                steps.append(runner.iter)

        make_runner(train_cfg=length, val_dataloader=DataLoader(dataset(8), batch_size=3), hooks=[Note()]).train()
        assert steps == validated

    def test_a_mean_over_the_validation_data_weighs_every_sample_alike(self, make_runner):
        runner = make_runner(val_dataloader=DataLoader(dataset(8), batch_size=5), metrics=error)
        whole = next(iter(DataLoader(dataset(8), batch_size=8)))
        runner.model.eval()
        with torch.no_grad():
            expected = {"loss": mse(runner.model, whole).item(), "error": error(runner.model, whole)["error"].item()}
        assert runner.val() == pytest.approx(expected, rel=1e-6)

    def test_a_mean_adds_up_in_double_precision(self, make_runner):
        one = torch.ones((), dtype=torch.bfloat16)
        batches = [(torch.zeros(1, 3), torch.zeros(1, 1))] * 1000
        runner = make_runner(val_dataloader=batches, metrics=lambda model, batch: {"one": one}, loss=mse)
        assert runner.val()["one"] == 1

    def test_a_list_of_samples_counts_as_many_as_the_loader_puts_into_it(self, make_runner):
        images = [torch.full((3, 2, 2), float(value)) for value in range(5)]
        loader = DataLoader(images, batch_size=4, collate_fn=list)
        mean = lambda model, batch: {"mean": torch.stack(batch).mean()}  # noqa: E731
        runner = make_runner(val_dataloader=loader, metrics=mean, loss=lambda model, batch: torch.zeros(()))
        assert runner.val()["mean"] == 2

    def test_a_metric_that_some_batches_lack_is_a_mean_over_the_others(self, make_runner):
        odd = lambda model, batch: {"one": 1.0} if batch[0][0, 0] > 0 else {}  # noqa: E731
        runner = make_runner(val_dataloader=DataLoader(dataset(), batch_size=1), metrics=odd)
        assert runner.val()["one"] == 1

    @pytest.mark.parametrize("name", ["error", "loss"])
    def test_two_metrics_of_one_name_are_an_error(self, name, make_runner):
        metrics = [error, lambda model, batch: {name: 0.0}]
        with pytest.raises(ConfigError, match=f"^metrics: two of them measure '{name}'"):
            make_runner(val_dataloader=DataLoader(dataset(8), batch_size=3), metrics=metrics).val()

    def test_schedules_by_update_wait_for_the_updates(self, make_runner):
        runner = make_runner(
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=1e-3), accumulative_counts=2),
            param_scheduler=dict(type="LinearLR", by="update", start_factor=0.5, end=3),
            train_cfg=dict(by_epoch=False, max_iters=5),
        )
        runner.train()
        assert [lr for _, lr in runner.history.column("lr")] == pytest.approx([5e-4, 5e-4, 7.5e-4, 7.5e-4, 1e-3])

    @pytest.mark.parametrize("returned", [None, "net", [nn.Linear(1, 1)]])
    def test_a_function_that_returns_no_model_is_told(self, returned, make_runner):
        def model() -> nn.Module:
            return returned

        with pytest.raises(ConfigError, match=r"^model: a torch.nn.Module is wanted"):
            make_runner(model=dict(type=model))

    def test_a_model_with_a_train_step_drives_itself(self, make_runner):
        class Driver(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = network()

            def train_step(self, data, optim_wrapper):
                with optim_wrapper.optim_context(self):
                    loss = mse(self.net, data)
                optim_wrapper.update_params(loss)
                return {"loss": loss, "note": "not a number"}

        outcomes = []

        class Note(Hook):
            def after_iter(self, runner, outcome, logs):
                outcomes.append(outcome)

        wrapper = dict(optimizer=dict(type="SGD", lr=0.1), accumulative_counts=2)
        runner = make_runner(model=Driver(), loss=None, optim_wrapper=wrapper, hooks=[Note()])
        runner.train()
        assert outcomes[:4] == [StepOutcome.ACCUMULATING, StepOutcome.UPDATED] * 2
        assert runner.history.columns == ["iter", "epoch", "loss", "lr"]

    def test_a_loss_may_be_a_dict_whose_losses_are_summed(self, make_runner):
        def losses(model, batch):
            loss = mse(model, batch)
            return {"loss_a": loss, "loss_b": [loss, loss], "grade": loss.detach() * 0 + 7}

        runner = make_runner(loss=losses)
        runner.train()
        row = next(runner.history.rows())
        assert row["loss"] == pytest.approx(3 * row["loss_a"])
        assert row["grade"] == 7

    @pytest.mark.parametrize(
        ("returned", "said"),
        [(1.0, "got float"), (torch.zeros(3), r"the shape \(3,\)"), ({"x": torch.zeros(1)}, "no tensor")],
    )
    def test_a_loss_that_is_none_is_explained(self, returned, said, make_runner):
        with pytest.raises(ConfigError, match=f"^loss: .*{said}"):
            make_runner(loss=lambda model, batch: returned).train()

    def test_lbfgs_gets_its_closure(self, make_runner):
        runner = make_runner(
            model=nn.Linear(3, 1),
            optim_wrapper=dict(optimizer=dict(type="LBFGS")),
            train_dataloader=DataLoader(dataset(), batch_size=20),
        )
        runner.train()
        assert runner.history.column("loss")[-1][1] < 1e-6

    def test_lbfgs_evaluates_its_closure_under_autocast(self, make_runner):
        types = set()

        def loss(model, batch):
            output = model(batch[0])
            types.add(output.dtype)
            return nn.functional.mse_loss(output.float(), batch[1])

        amp = dict(type="AmpOptimWrapper", dtype="bfloat16", optimizer=dict(type="LBFGS"))
        make_runner(model=nn.Linear(3, 1), optim_wrapper=amp, loss=loss).train()
        assert types == {torch.bfloat16}

    def test_sophia_g_gets_its_sampled_loss_when_an_estimate_is_due(self, make_runner):
        calls = []

        def sampled(model, batch):
            calls.append(len(batch[0]))
            return model(batch[0]).square().mean(), len(batch[0])

        make_runner(optim_wrapper=dict(optimizer=dict(type="SophiaG", k=5)), curvature=sampled).train()
        assert calls == [4, 4, 4]

    def test_the_seed_decides_the_course_of_a_run(self, make_runner, tmp_path):
        trained = []
        for number, seed in enumerate((1, 1, 2)):
            runner = make_runner(work_dir=tmp_path / str(number), randomness=dict(seed=seed))
            runner.train()
            trained.append(parameters(runner))
        assert torch.equal(trained[0], trained[1])
        assert not torch.equal(trained[0], trained[2])

    def test_hooks_are_called_around_everything(self, make_runner):
        recorder = Recorder()
        make_runner(train_cfg=dict(max_epochs=1), hooks=[recorder]).train()
        assert list(dict.fromkeys(recorder.events)) == [
            "before_train",
            "before_epoch",
            "before_iter",
            "after_iter",
            "after_epoch",
            "checkpoint_due",
            "before_checkpoint",
            "state_dict",
            "after_checkpoint",
            "after_train",
        ]

    def test_a_hook_may_keep_a_module_out_of_training(self, make_runner):
        class Freeze(Hook):
            def before_epoch(self, runner):
                runner.model[1].eval()

        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        make_runner(model=model, hooks=[Freeze()]).train()
        assert torch.equal(model[1].running_mean, torch.zeros(4))

    def test_by_iteration_a_run_that_ends_with_an_epoch_has_completed_it(self, make_runner):
        recorder = Recorder()
        runner = make_runner(train_cfg=dict(by_epoch=False, max_iters=10), hooks=[recorder])
        runner.train()
        assert (runner.epoch, recorder.events.count("after_epoch")) == (2, 2)

    def test_what_the_loss_calls_iter_does_not_replace_the_iteration(self, make_runner):
        runner = make_runner(loss=lambda model, batch: {"loss": mse(model, batch), "iter": torch.tensor(99.0)})
        runner.train()
        assert [row["iter"] for row in runner.history.rows()] == list(range(1, 16))


class TestDataLoaders:
    def test_one_is_built_from_a_config_in_mmengines_words_too(self, make_runner):
        cfg = dict(
            dataset=dataset(),
            batch_size=4,
            sampler=dict(type="DefaultSampler", shuffle=True),
            collate_fn=dict(type="default_collate"),
        )
        runner = make_runner(train_dataloader=cfg)
        runner.train()
        assert (runner.iter, runner.train_dataloader.batch_size) == (15, 4)

    def test_a_wrapper_that_is_built_already_is_used(self, make_runner):
        model = network()
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        assert make_runner(model=model, optim_wrapper=wrapper).optim_wrapper is wrapper

    def test_from_cfg_reports_every_problem_at_once(self):
        with pytest.raises(ConfigError) as caught:
            Runner.from_cfg(dict(model=dict(type="torch.nn:Linaer"), optim_wraper={}, train_cfg=dict(max_epochs=0)))
        assert {p.path for p in caught.value.problems} == {
            "optim_wraper",
            "work_dir",
            "train_dataloader",
            "optim_wrapper",
            "model.type",
            "train_cfg.max_epochs",
        }


def test_a_runner_is_printed_as_a_short_table(make_runner, val, tmp_path):
    runner = make_runner(**val)
    assert "trained    epoch 0 of 3, 0 iterations of 15" in repr(runner)
    runner.train()
    lines = [line for line in repr(runner).splitlines() if not line.startswith(" ")]  # what is long goes on below
    assert lines[0] == "model      Sequential, 81 parameters on cpu"
    assert lines[1].startswith("optimizer  AdamW: 1 parameter group, fused=True, 4 tensors, 81 elements, lr")
    assert lines[2] == "trained    epoch 3 of 3, 15 iterations of 15"
    assert [line.split("  ")[0] for line in lines[3:6]] == ["last loss", "val_loss", "val_error"]
    assert runner._repr_html_().count("<tr>") == 7
