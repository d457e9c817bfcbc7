"""What breaks in the middle of a run: nothing is swallowed, and nothing that was saved is lost."""

import errno
import math
import signal

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from optimzoo.errors import CheckpointError, NonFiniteError
from optimzoo.run import Hook
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint

from ..core.run.network import dataset, mse, network, parameters
from .helpers import same

AT = 12


class Torn(Dataset):
    """Raises when a sample is read for the n-th time."""

    def __init__(self, reads):
        self.reads = reads

    def __len__(self):
        return 20

    def __getitem__(self, index):
        self.reads -= 1
        if self.reads < 0:
            raise OSError("the archive is damaged")
        return dataset()[index]


class Failing(torch.optim.SGD):
    """Raises in its n-th step."""

    def __init__(self, params, lr, steps=9999):
        super().__init__(params, lr)
        self.left = iter(range(steps - 1))  # which no state holds

    def step(self, closure=None):
        if next(self.left, None) is None:
            raise ZeroDivisionError("no curvature")
        return super().step(closure)


def fails_at(number, error):
    left = iter(range(number - 1))

    def loss(model, batch):
        if next(left, None) is None:
            raise error
        return mse(model, batch)

    return loss


def poisoned(number):
    """Gradients that are not finite from the n-th iteration on, of a loss that is."""
    left = iter(range(number - 1))

    def loss(model, batch):
        sick = next(left, None) is None
        return mse(model, batch) + (0.0 * (model[0].weight - model[0].weight).sum().abs().sqrt() if sick else 0.0)

    return loss


FAULTS = {
    "the data": (lambda: dict(train_dataloader=DataLoader(Torn(4 * AT - 2), batch_size=4)), OSError, "archive"),
    "the data, in a worker": (
        lambda: dict(train_dataloader=DataLoader(Torn(18), batch_size=4, num_workers=1, persistent_workers=True)),
        OSError,
        "archive",
    ),
    "the optimizer": (
        lambda: dict(optim_wrapper=dict(optimizer=dict(type=Failing, lr=0.1, steps=AT))),
        ZeroDivisionError,
        "no curvature",
    ),
    "the loss": (lambda: dict(loss=fails_at(AT, RuntimeError("out of memory"))), RuntimeError, "out of memory"),
    "a gradient": (
        lambda: dict(loss=poisoned(AT), optim_wrapper=dict(nonfinite="raise", optimizer=dict(type=Failing, lr=0.1))),
        NonFiniteError,
        "the gradient of '0.weight' is not finite in update 12",
    ),
}


@pytest.mark.filterwarnings("ignore:the config differs")
@pytest.mark.parametrize("fault", FAULTS)
def test_the_error_arrives_and_the_run_can_be_resumed(fault, make_runner, tmp_path):
    arguments, error, said = FAULTS[fault]
    settings = dict(
        optim_wrapper=dict(optimizer=dict(type=Failing, lr=0.1)), train_dataloader=DataLoader(Torn(9999), 4)
    )
    straight = make_runner(**settings, work_dir=tmp_path / "straight")
    straight.train()
    with pytest.raises(error, match=said):
        make_runner(**{**settings, **arguments()}).train()
    saved = checkpoints_in(tmp_path / "run")
    steps = 4 if "worker" in fault else AT - 1
    assert [load_checkpoint(path)["iter"] for path in saved] == ([5, 10] if steps > 10 else [])
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert rows[-1].startswith(f"{steps},"), "what was logged before the fault is written"
    if saved:
        resumed = make_runner(**settings, resume=True)
        resumed.train()
        assert torch.equal(parameters(resumed), parameters(straight))


def test_a_gradient_that_is_not_finite_may_be_skipped_instead(make_runner):
    runner = make_runner(loss=poisoned(13), optim_wrapper=dict(nonfinite="skip", optimizer=dict(type="SGD", lr=0.1)))
    runner.train()
    assert (runner.optim_wrapper.update_count, runner.optim_wrapper.skipped_count) == (12, 3)
    assert parameters(runner).isfinite().all()


@pytest.mark.parametrize("accumulated", [1, 3])
def test_a_loss_that_is_nan_is_skipped_with_its_window(accumulated, make_runner):
    left = iter([1.0, 1.0, 1.0, float("nan")])
    runner = make_runner(
        loss=lambda model, batch: mse(model, batch) * next(left, 1.0),
        optim_wrapper=dict(nonfinite="skip", optimizer=dict(type="SGD", lr=0.1), accumulative_counts=accumulated),
    )
    runner.train()
    assert (runner.optim_wrapper.update_count, runner.optim_wrapper.skipped_count) == (15 // accumulated - 1, 1)
    assert parameters(runner).isfinite().all()
    assert [math.isnan(loss) for _, loss in runner.history.column("loss")].index(True) == 3


def test_a_value_that_is_nan_while_the_update_is_not_stops_a_run_that_skips(make_runner):
    def loss(model, batch):
        return {"loss": mse(model, batch), "aux_loss": float("nan")}

    with pytest.raises(NonFiniteError, match="the value 'aux_loss' is nan at step 1"):
        make_runner(
            loss=loss,
            optim_wrapper=dict(nonfinite="skip", optimizer=dict(type="SGD", lr=0.1), accumulative_counts=2),
        ).train()


def test_parameters_that_are_nan_do_not_replace_the_last_good_checkpoint(make_runner, tmp_path):
    wrapper = dict(optimizer=dict(type="SGD", lr=0.1))
    with pytest.raises(NonFiniteError, match=r"'0\.weight' is NaN .* after step 10; .* is .*_00000005"):
        make_runner(loss=poisoned(10), optim_wrapper=wrapper, checkpoint=dict(keep=1)).train()
    assert [load_checkpoint(path)["iter"] for path in checkpoints_in(tmp_path / "run")] == [5]


@pytest.mark.filterwarnings("ignore:the config differs")
@pytest.mark.parametrize("train_cfg", [dict(max_epochs=3), dict(by_epoch=False, max_iters=15, val_interval=4)])
def test_a_validation_that_fails_costs_no_step_and_is_repeated(train_cfg, make_runner, tmp_path):
    def settings(measure):
        return dict(
            train_cfg=train_cfg,
            metrics=measure,
            val_dataloader=dict(dataset=dataset(8), batch_size=4, shuffle=True, drop_last=True),
            param_scheduler=dict(type="ReduceOnPlateauLR", monitor="draw", patience=0),
            checkpoint=dict(best="draw"),
        )

    def draw(model, batch):
        return {"draw": torch.rand(())}

    left = iter(range(3))

    def failing(model, batch):
        if next(left, None) is None:
            raise ZeroDivisionError
        return draw(model, batch)

    straight = make_runner(**settings(draw), work_dir=tmp_path / "straight")
    straight.train()
    with pytest.raises(ZeroDivisionError):
        make_runner(**settings(failing)).train()
    resumed = make_runner(**settings(draw), resume=True)
    assert resumed.iter == (10 if "max_epochs" in train_cfg else 8)
    resumed.train()
    assert list(resumed.history.rows()) == list(straight.history.rows())
    assert torch.equal(parameters(resumed), parameters(straight))
    for name in ("best.pt", "checkpoint_00000015.pt"):
        found, expected = (load_checkpoint(tmp_path / run / name) for run in ("run", "straight"))
        for part in ("iter", "hooks", "param_scheduler", "random", "rows"):
            assert same(found[part], expected[part]), part


def test_a_disk_that_is_full_when_a_signal_stops_the_run_leaves_the_earlier_checkpoint(
    make_runner, tmp_path, monkeypatch
):
    def fail(state, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full(Hook):
        def after_iter(self, runner, outcome, logs):
            if runner.iter == 8:
                monkeypatch.setattr(torch, "save", fail)
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(CheckpointError, match="No space left on device.*Earlier checkpoints are untouched"):
        make_runner(hooks=[Full()]).train()
    assert [path.name for path in (tmp_path / "run").glob("checkpoint*")] == ["checkpoint_00000005.pt"]


def test_a_loss_that_is_nan_in_the_middle_of_a_window_saves_nothing_of_it(make_runner, tmp_path):
    left = iter([1.0] * 12)
    with pytest.raises(NonFiniteError, match="the loss is nan at step 13"):
        make_runner(
            loss=lambda model, batch: mse(model, batch) * next(left, float("nan")),
            optim_wrapper=dict(accumulative_counts=4, optimizer=dict(type="SGD", lr=0.1)),
        ).train()
    state = load_checkpoint(checkpoints_in(tmp_path / "run")[-1])
    assert state["iter"] == 10
    model = network()
    model.load_state_dict(state["model"])
    assert nn.utils.parameters_to_vector(model.parameters()).isfinite().all()
    assert all(gradient.isfinite().all() for gradient in state["gradients"].values())
