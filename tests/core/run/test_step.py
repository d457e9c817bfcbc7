"""What a training step makes of the user's loss, metrics and train_step, and of what these get wrong."""

import re
import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from optimzoo import StepOutcome
from optimzoo.errors import ConfigError, NonFiniteError, OptimzooWarning
from optimzoo.run import Hook

from .network import ADAMW, dataset, error, mse, network, parameters


class Outcomes(Hook):
    def __init__(self):
        self.seen = []

    def after_iter(self, runner, outcome, logs):
        self.seen.append(outcome)


class Driver(nn.Module):
    """Trains itself by ``step(model, batch, optim_wrapper)``."""

    def __init__(self, step):
        super().__init__()
        self.net = network()
        self.step = step

    def train_step(self, data, optim_wrapper):
        return self.step(self, data, optim_wrapper)


def two_values(model, batch):
    return {"pair": torch.zeros(2)}


def nothing(model, batch):
    return None


def words(model, batch):
    return {"grade": "good"}


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (two_values, r"two_values returned 'pair' with the shape \(2,\), not one number"),
        (nothing, "nothing must return a dict of values, got NoneType"),
        (words, "words returned 'grade' as str, not a number"),
    ],
)
def test_a_metric_that_returns_something_else_is_named(metric, said, make_runner):
    runner = make_runner(metrics=[error, metric], val_dataloader=DataLoader(dataset(), batch_size=4))
    with pytest.raises(ConfigError, match=rf"^metrics\[1\]: {said}"):
        runner.val()


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ({"loss": torch.zeros(0)}, "returned an empty tensor as 'loss'"),
        ({"loss": []}, "returned has no tensor with 'loss' in its name"),
        ("text", "must return a scalar tensor or a dict of them, got str"),
    ],
)
def test_a_loss_that_is_none_is_named_with_its_function(returned, said, make_runner):
    def my_loss(model, batch):
        return returned

    with pytest.raises(ConfigError, match=rf"^loss: .*my_loss {said}"):
        make_runner(loss=my_loss).train()


def test_whole_numbers_among_the_losses_are_logged(make_runner):
    def loss(model, batch):
        return {"loss": mse(model, batch), "seen": torch.tensor([3, 5])}

    runner = make_runner(loss=loss)
    runner.train()
    assert runner.history.column("seen")[0] == (1, 4.0)


@pytest.mark.parametrize("as_tensor", [True, False])
def test_every_value_called_a_loss_is_watched(as_tensor, make_runner):
    def step(model, batch, optim_wrapper):
        loss = mse(model.net, batch)
        optim_wrapper.update_params(loss)
        late = optim_wrapper.update_count >= 7
        bad = torch.tensor([float("inf")]) if as_tensor else float("inf")
        return {"loss": loss, "loss_aux": bad if late else 0.0, "accuracy": float("nan")}

    with pytest.raises(NonFiniteError, match="the value 'loss_aux' is inf at step 7"):
        make_runner(model=Driver(step), loss=None).train()


def test_an_error_of_the_users_code_arrives_as_it_is(make_runner):
    def loss(model, batch):
        return {}["weights"]

    with pytest.raises(KeyError, match="weights") as caught:
        make_runner(loss=loss).train()
    assert caught.traceback[-1].path.name == "test_step.py"


def test_a_train_step_that_logs_a_tensor_of_several_values_is_named(make_runner):
    with pytest.raises(ConfigError, match=r"^model: Driver\.train_step returned 'x' with the shape \(2,\)"):
        make_runner(model=Driver(lambda *_: {"x": torch.zeros(2)}), loss=None).train()


@pytest.mark.parametrize("returned", [torch.zeros(2), 0.0], ids=["tensor", "number"])
def test_a_train_step_that_returns_no_dict_is_named(returned, make_runner):
    with pytest.raises(ConfigError, match=r"^model: Driver\.train_step must return a dict of values, got"):
        make_runner(model=Driver(lambda *_: returned), loss=None).train()


def test_a_train_step_that_never_updates_is_warned_of_once(make_runner):
    runner = make_runner(model=Driver(lambda *_: {}), loss=None, train_cfg=dict(max_iters=120))
    with pytest.warns(
        OptimzooWarning, match=r"Driver\.train_step has not updated a parameter in 50 iterations"
    ) as seen:
        runner.train()
    assert len(seen) == 1


def test_a_long_window_of_accumulation_is_not_warned_of(make_runner):
    def step(model, batch, optim_wrapper):
        optim_wrapper.update_params(mse(model.net, batch))

    wrapper = dict(optimizer=dict(type="SGD", lr=0.1), accumulative_counts=60)
    outcomes = Outcomes()
    make_runner(
        model=Driver(step), loss=None, optim_wrapper=wrapper, train_cfg=dict(max_iters=61), hooks=[outcomes]
    ).train()
    assert [n for n, outcome in enumerate(outcomes.seen, 1) if outcome is StepOutcome.UPDATED] == [60, 61]


def test_a_skipped_update_is_told_to_the_hooks(make_runner):
    def step(model, batch, optim_wrapper):
        optim_wrapper.update_params(mse(model.net, batch) * (float("nan") if optim_wrapper.inner_count == 1 else 1))

    wrapper = dict(optimizer=dict(type="SGD", lr=0.1), nonfinite="skip")
    outcomes = Outcomes()
    runner = make_runner(model=Driver(step), loss=None, optim_wrapper=wrapper, hooks=[outcomes])
    runner.train()
    assert outcomes.seen[:3] == [StepOutcome.UPDATED, StepOutcome.SKIPPED, StepOutcome.UPDATED]
    assert runner.history.column("skipped") == [(step, 1.0) for step in range(2, 16)]
    resumed = make_runner(model=Driver(step), loss=None, optim_wrapper=wrapper, resume=True)
    assert resumed.optim_wrapper.skipped_count == 1


def test_the_norm_before_clipping_is_logged_with_each_update(make_runner):
    norms = []

    class Norms(Hook):
        def after_iter(self, runner, outcome, logs):
            if outcome is StepOutcome.UPDATED:
                norms.append((runner.iter, runner.optim_wrapper.grad_norm))

    runner = make_runner(optim_wrapper=dict(ADAMW, accumulative_counts=2), hooks=[Norms()])
    runner.train()
    assert runner.history.column("grad_norm") == norms
    assert [step for step, _ in norms] == [2, 4, 6, 8, 10, 12, 14, 15]
    assert "skipped" not in runner.history.columns


def test_validation_leaves_every_module_in_its_mode_even_when_it_fails(make_runner):
    runner = make_runner(val_dataloader=DataLoader(dataset(), batch_size=4))
    runner.model.train()
    runner.model[2].eval()
    modes = [module.training for module in runner.model.modules()]
    runner.val()
    assert [module.training for module in runner.model.modules()] == modes
    runner.metrics = [lambda model, batch: 1 / 0]
    with pytest.raises(ZeroDivisionError):
        runner.val()
    assert [module.training for module in runner.model.modules()] == modes


def test_a_model_without_trainable_parameters_is_an_error(make_runner):
    with pytest.raises(ConfigError, match="optim_wrapper"):
        make_runner(model=network().requires_grad_(False))


MEMBERS = dict(
    matrices=dict(optimizer=dict(type="SGD", lr=0.1), modules=["*.weight"]),
    biases=dict(optimizer=dict(type="AdamW", lr=0.01), modules=["*.bias"]),
)


class TestSeveralOptimizers:
    def test_they_share_a_loss_and_each_logs_its_learning_rate(self, make_runner):
        runner = make_runner(optim_wrapper=MEMBERS, model=nn.Sequential(nn.Linear(3, 1)))
        twin = nn.Sequential(nn.Linear(3, 1))
        twin.load_state_dict(runner.model.state_dict())
        batches = list(DataLoader(dataset(), batch_size=4))
        runner.train_dataloader = batches
        runner.train()
        optimizers = [torch.optim.SGD([twin[0].weight], lr=0.1), torch.optim.AdamW([twin[0].bias], lr=0.01)]
        for batch in batches * 3:
            mse(twin, batch).backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
        assert torch.allclose(parameters(runner), torch.cat([p.detach().flatten() for p in twin.parameters()]))
        assert runner.history.columns == ["iter", "epoch", "loss", "matrices.lr", "biases.lr"]
        assert runner.history.column("biases.lr")[0] == (1, 0.01)

    def test_they_share_their_windows_of_accumulation(self, make_runner):
        members = {name: {**member, "accumulative_counts": 2} for name, member in MEMBERS.items()}
        outcomes = Outcomes()
        runner = make_runner(optim_wrapper=members, train_cfg=dict(max_iters=5), hooks=[outcomes])
        runner.train()
        assert [outcome.value for outcome in outcomes.seen] == ["accumulating", "updated"] * 2 + ["updated"]
        assert runner.optim_wrapper["biases"].update_count == 3

    def test_a_loss_that_they_cannot_share_is_an_error(self, make_runner):
        members = {**MEMBERS, "biases": {**MEMBERS["biases"], "accumulative_counts": 2}}
        with pytest.raises(ConfigError, match="^loss: the optimizers matrices, biases cannot share it"):
            make_runner(optim_wrapper=members)

    def test_a_model_may_update_each_in_turn_and_be_resumed(self, make_runner, tmp_path, capsys):
        class Pair(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.student, self.teacher = nn.Linear(3, 1), nn.Linear(3, 1)

            def train_step(self, data, optim_wrapper):
                losses = {}
                for name, wrapper in optim_wrapper.items():
                    losses[f"loss_{name}"] = mse(getattr(self, name), data)
                    wrapper.update_params(losses[f"loss_{name}"])
                return losses

        config = dict(
            loss=None,
            optim_wrapper=dict(
                student=dict(optimizer=dict(type="AdamW", lr=0.1)), teacher=dict(optimizer=dict(type="SGD", lr=0.01))
            ),
        )
        straight = make_runner(model=Pair(), work_dir=tmp_path / "straight", train_cfg=dict(max_epochs=4), **config)
        straight.train()
        make_runner(model=Pair(), train_cfg=dict(max_epochs=2), **config).train()
        resumed = make_runner(model=Pair(), train_cfg=dict(max_epochs=4), resume=True, **config)
        resumed.train()
        assert torch.equal(parameters(resumed), parameters(straight))
        shown = capsys.readouterr().out
        assert re.search("student:.*AdamW.*teacher:.*SGD", shown, re.DOTALL)
        assert "student.lr 0.1  teacher.lr 0.01" in shown


class TestLog:
    def test_a_line_shows_the_mean_of_the_loss_over_the_interval(self, make_runner, capsys):
        values = iter(range(1, 16))
        runner = make_runner(loss=lambda model, batch: mse(model, batch) * 0 + next(values), log_interval=4)
        runner.train()
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
        assert [re.search(r"loss (\S+)", line)[1] for line in lines] == ["3.5", "8.5", "13.5"]

    def test_brackets_in_names_are_printed_as_they_are(self, make_runner, tmp_path, capsys):
        def loss(model, batch):
            return {"loss[/]": mse(model, batch)}

        make_runner(loss=loss, work_dir=tmp_path / "[bold]run").train()
        shown = capsys.readouterr().out
        assert "loss[/] " in shown
        assert "[bold]run" in shown

    def test_lines_fit_eighty_columns(self, make_runner, capsys):
        make_runner(val_dataloader=DataLoader(dataset(), batch_size=4), metrics=error).train()
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("epoch", "Seq"))]
        assert len(lines) == 4
        assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("device", ["cuda:77", "abacus", "xpu:5"])
def test_a_device_that_is_not_there_is_an_error(device, make_runner):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ConfigError, match=f"^device: '{device}' cannot be trained on: ."):
            make_runner(device=device)


def test_without_a_device_in_the_config_the_best_one_is_taken(make_runner):
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert make_runner().device.type == best
