"""What the optimizer and the schedules get from a validation: its mode, and the metric."""

import pytest
import torch
from torch import nn

from optimzoo.errors import ConfigError
from optimzoo.run import EMAHook, Hook
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint

from .network import dataset, error, parameters
from .plugin import Stop

AVERAGING = dict(optimizer=dict(type="Averaging", lr=0.05))
PLATEAU = dict(type="ReduceOnPlateauLR", monitor="grade", rule="greater", patience=0, factor=0.5)


@pytest.mark.usefixtures("_plugin")
class TestModes:
    def test_validation_and_checkpoints_use_the_parameters_to_use(self, make_runner, tmp_path, val):
        used = []

        def record(model, batch):
            used.append(nn.utils.parameters_to_vector(model.parameters()).clone())
            return {}

        trained = []

        class Look(Hook):
            def before_val(self, runner):
                trained.append(parameters(runner))

            def after_val(self, runner, metrics):
                assert torch.equal(trained[-1], parameters(runner))

        settings = {**val, "metrics": [error, record]}
        runner = make_runner(**settings, optim_wrapper=AVERAGING, hooks=[Look()])
        returned = runner.train()
        assert not torch.equal(used[-1], trained[-1])
        saved = load_checkpoint(checkpoints_in(tmp_path / "run")[-1])
        for state in (saved["model"], returned.state_dict()):
            assert torch.equal(torch.cat([value.flatten() for value in state.values()]), used[-1])
        assert runner.val()["error"] == runner.history.column("val_error")[-1][1]

    def test_a_resumed_run_equals_one_that_never_stopped(self, make_runner, tmp_path, val):
        straight = make_runner(**val, work_dir=tmp_path / "straight", optim_wrapper=AVERAGING)
        straight.train()
        with pytest.raises(KeyboardInterrupt):
            make_runner(**val, hooks=[Stop(8)], optim_wrapper=AVERAGING).train()
        resumed = make_runner(**val, resume=True, optim_wrapper=AVERAGING)
        assert resumed.val()["error"] == straight.history.column("val_error")[0][1]
        resumed.train()
        assert torch.equal(parameters(resumed), parameters(straight))

    def test_two_averages_are_one_too_many(self, make_runner):
        with pytest.raises(ConfigError, match="Averaging does so too"):
            make_runner(optim_wrapper=AVERAGING, hooks=[EMAHook()]).train()


class TestPlateau:
    def test_a_schedule_on_a_metric_is_fed_by_the_validations(self, make_runner, val):
        grades = iter([0, 1, 2, 2, 3, 1])  # the first is to see that there is one
        settings = {**val, "metrics": lambda model, batch: {"grade": next(grades)}}
        runner = make_runner(**settings, param_scheduler=PLATEAU, train_cfg=dict(max_epochs=5))
        runner.train()
        rates = [lr for _, lr in runner.history.column("lr")][::5]
        assert rates == [0.01, 0.01, 0.01, 0.005, 0.005]

    def test_it_goes_on_after_a_resume(self, make_runner, val):
        settings = {**val, "metrics": lambda model, batch: {"grade": 1}, "param_scheduler": PLATEAU}
        with pytest.raises(KeyboardInterrupt):
            make_runner(**settings, hooks=[Stop(12)], train_cfg=dict(max_epochs=4)).train()
        runner = make_runner(**settings, resume=True, train_cfg=dict(max_epochs=4))
        runner.train()
        assert [lr for _, lr in runner.history.column("lr")][::5] == [0.01, 0.01, 0.005, 0.0025]

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                dict(param_scheduler=[PLATEAU]),
                r"^param_scheduler\[0\]\.monitor: .* no metric 'grade'; it has loss, error\.",
            ),
            (
                dict(param_scheduler=[dict(type="ConstantLR"), {**PLATEAU, "monitor": "eror"}]),
                r"^param_scheduler\[1\]\.monitor: .* Did you mean 'error'\?",
            ),
            (dict(param_scheduler=PLATEAU, metrics=None), r"^param_scheduler\[0\]\.monitor: .*; it has loss\."),
            (dict(checkpoint=dict(best="val_grade")), r"^checkpoint\.best: .* no metric 'grade'"),
        ],
    )
    def test_a_metric_that_nothing_returns_is_told_before_the_first_epoch(self, change, said, make_runner, val):
        begun = []

        class Begin(Hook):
            def before_epoch(self, runner):
                begun.append(runner.epoch)

        with pytest.raises(ConfigError, match=said):
            make_runner(**{**val, **change}, hooks=[Begin()]).train()
        assert not begun

    def test_a_metric_of_some_batches_is_one_and_looking_for_it_changes_nothing(self, make_runner, tmp_path):
        def sometimes(model, batch):
            noise = torch.rand(())
            return {"grade": noise} if batch[0][0, 0] > 0.5 else {}

        val = dict(val_dataloader=dict(dataset=dataset(8), batch_size=1, shuffle=True), metrics=sometimes)
        watching = make_runner(**val, param_scheduler={**PLATEAU, "factor": 1 - 1e-12}, work_dir=tmp_path / "watching")
        watching.train()
        plain = make_runner(**val)
        plain.train()
        assert watching.history.column("val_grade") == plain.history.column("val_grade") != []
        assert torch.allclose(parameters(watching), parameters(plain), rtol=0, atol=1e-6)

    def test_without_validation_it_is_an_error(self, make_runner):
        with pytest.raises(ConfigError, match=r"^param_scheduler\[0\]: it watches a metric"):
            make_runner(param_scheduler=[PLATEAU])
