"""Schedules as a scheduler of torch: the same values, in torch's own compositions, and what is refused."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import ChainedScheduler, ExponentialLR, LambdaLR, LinearLR, LRScheduler, SequentialLR

from optimzoo import build_param_scheduler
from optimzoo.errors import CheckpointError, ConfigError, OptimzooError, OptimzooWarning
from optimzoo.trainers.torch import torch_scheduler
from optimzoo.wrappers import StepOutcome

WARM = dict(type="LinearLR", start_factor=0.25, by_epoch=False, end="20%")
COSINE = dict(type="CosineAnnealingLR", by_epoch=False, begin="20%")
CHAINS = {
    "warm-up and cosine": [WARM, COSINE],
    "momentum": dict(type="LinearMomentum", start_factor=0.5, by_epoch=False, end=8),
    "both": [
        dict(type="StepLR", step_size=3, by_epoch=False),
        dict(type="ConstantMomentum", factor=0.5, by_epoch=False, end=4),
    ],
    "one cycle": dict(type="OneCycleLR", eta_max=2.0, by_epoch=False, total_steps=20),
    "by epoch": dict(type="MultiStepLR", milestones=[1, 3]),
    "mixed": [dict(type="LinearLR", start_factor=0.5, by_epoch=False, end=5), dict(type="ExponentialLR", gamma=0.5)],
}


def optimizer(cls=SGD, **settings):
    weights = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    for weight in weights:
        weight.grad = torch.zeros(2)
    groups = [dict(params=[weight], lr=lr) for weight, lr in zip(weights, (1.0, 0.1))]
    return cls(groups, **({"momentum": 0.8} if cls is SGD else {}) | settings)


def after_each(scheduler, target, steps):
    seen = []
    for _ in range(steps):
        seen.append([(group["lr"], group.get("momentum")) for group in target.param_groups])
        target.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("cfg", CHAINS.values(), ids=CHAINS)
def test_the_values_are_those_of_the_schedules(cfg):
    target, twin = optimizer(), optimizer()
    scheduler = torch_scheduler(target, cfg, total_updates=20, updates_per_epoch=5)
    assert isinstance(scheduler, LRScheduler)
    assert scheduler.unit == "update"
    seen = after_each(scheduler, target, 22)
    assert scheduler.last_epoch == 22
    assert scheduler.get_last_lr() == [group["lr"] for group in target.param_groups]

    schedules, own = build_param_scheduler(twin, cfg, epoch_length=5, max_iters=20), []
    for step in range(1, 23):
        own.append([(group["lr"], group["momentum"]) for group in twin.param_groups])
        twin.step()
        schedules.step(StepOutcome.UPDATED, epoch_end=step % 5 == 0)
    assert seen == own
    assert len({str(values) for values in seen}) > 2


@pytest.mark.parametrize("cls", [SGD, AdamW])
def test_a_fused_step_that_leaves_no_trace_is_known(cls):
    """torch's fused SGD without momentum keeps no state, and its kernel does not count the weights' versions."""
    weight = nn.Parameter(torch.ones(2))
    target = cls([weight], lr=0.1, fused=True)
    scheduler = torch_scheduler(target, WARM, total_updates=20)
    for _ in range(3):
        weight.sum().backward()
        target.step()
        scheduler.step()
        target.zero_grad()
    assert weight[0] < 1


def test_the_updates_of_an_optimizer_of_opacus_are_those_of_the_one_inside():
    class DPOptimizer(torch.optim.Optimizer):  # as in opacus, without torch's __init__
        __module__ = "opacus.optimizers.optimizer"

        def __init__(self, optimizer):
            self.original_optimizer = optimizer

        @property
        def param_groups(self):
            return self.original_optimizer.param_groups

        def step(self, skips):
            return None if skips else self.original_optimizer.step()

    optimizer = SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    private = DPOptimizer(optimizer)
    schedule = torch_scheduler(private, dict(type="LinearLR", start_factor=0.5, by="update", end=3), total_updates=4)
    rates = []
    for skips in (True, False, True, False):
        private.step(skips)
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [0.5, 0.75, 0.75, 1.0]


def test_a_schedule_by_epoch_alone_is_stepped_by_epoch():
    target = optimizer()
    scheduler = torch_scheduler(target, dict(type="StepLR", step_size=2, gamma=0.1))
    assert scheduler.unit == "epoch"
    seen = []
    for _ in range(4):
        seen.append(target.param_groups[0]["lr"])
        for _ in range(3):
            target.step()
        scheduler.step()
    assert seen == pytest.approx([1, 1, 0.1, 0.1])


def test_stepping_it_by_update_is_told_once():
    target = optimizer()
    scheduler = torch_scheduler(target, dict(type="StepLR", step_size=2))
    target.step()
    with pytest.warns(OptimzooWarning, match="after a single update"):
        scheduler.step()
    target.step()
    scheduler.step()


@pytest.mark.parametrize("at", [1, 4, 9])
@pytest.mark.parametrize("cfg", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("first", ["optimizer", "scheduler"])
def test_a_resumed_one_goes_on(cfg, at, first, tmp_path):
    length = dict(total_updates=20, updates_per_epoch=5)
    target = optimizer()
    scheduler = torch_scheduler(target, cfg, **length)
    after_each(scheduler, target, at)
    torch.save({"optimizer": target.state_dict(), "scheduler": scheduler.state_dict()}, tmp_path / "state.pt")
    seen = after_each(scheduler, target, 10)

    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    target = optimizer()
    parts = {"optimizer": target, "scheduler": torch_scheduler(target, cfg, **length)}
    for name in sorted(parts, key=lambda name: name != first):
        parts[name].load_state_dict(saved[name])
    assert parts["scheduler"].last_epoch == at
    assert after_each(parts["scheduler"], target, 10) == seen


@pytest.mark.parametrize("first", ["optimizer", "scheduler"])
@pytest.mark.parametrize(("on_change", "as_if_of"), [("config", 20), ("restore", 10)])
def test_a_longer_run_goes_on_as_on_change_says(on_change, as_if_of, first):
    cosine = dict(type="CosineAnnealingLR", by_epoch=False)
    target = optimizer()
    scheduler = torch_scheduler(target, cosine, total_updates=10)
    after_each(scheduler, target, 6)
    saved = {"optimizer": target.state_dict(), "scheduler": scheduler.state_dict()}
    target = optimizer()
    with pytest.raises(CheckpointError, match="end of CosineAnnealingLR was 10, and is 20"):
        torch_scheduler(target, cosine, total_updates=20).load_state_dict(saved["scheduler"])
    target = optimizer()
    parts = {"optimizer": target, "scheduler": torch_scheduler(target, cosine, 20, on_change=on_change)}
    for name in sorted(parts, key=lambda name: name != first):
        parts[name].load_state_dict(saved[name])
    seen = after_each(parts["scheduler"], target, 4)
    whole = optimizer()
    wanted = after_each(torch_scheduler(whole, cosine, total_updates=as_if_of), whole, 10)[6:]
    assert [group for step in seen for group in step] == [pytest.approx(group) for step in wanted for group in step]


def assert_resumes(made):
    """What ``made`` makes goes on after three steps as one that is made anew and loaded."""
    target, sequence = made()
    after_each(sequence, target, 3)
    saved = copy.deepcopy((target.state_dict(), sequence.state_dict()))
    wanted = after_each(sequence, target, 8)
    target, sequence = made()
    target.load_state_dict(saved[0])
    sequence.load_state_dict(saved[1])
    assert after_each(sequence, target, 8) == wanted


class TestTorchsCompositions:
    @pytest.mark.parametrize("on_change", ["error", "restore", "config"])
    def test_one_whose_turn_in_a_sequence_has_not_come_is_resumed(self, on_change):
        def made():
            target = optimizer()
            cosine = torch_scheduler(target, dict(type="CosineAnnealingLR", by_epoch=False), 20, on_change=on_change)
            return target, SequentialLR(target, [LinearLR(target, 0.1, total_iters=5), cosine], milestones=[5])

        assert_resumes(made)

    @pytest.mark.parametrize("ours_first", [True, False])
    def test_sequential(self, ours_first):
        """A schedule begins at its first value where its turn comes."""
        target = optimizer()
        ours = torch_scheduler(target, dict(type="LinearLR", start_factor=0.5, by_epoch=False, end=4))
        theirs = LambdaLR(target, lambda step: 1 - 0.1 * step)
        pair = [ours, theirs] if ours_first else [theirs, ours]
        sequence = SequentialLR(target, pair, milestones=[6])
        rise, fall = [0.5, 2 / 3, 5 / 6, 1, 1, 1], [1, 0.9, 0.8, 0.7, 0.6, 0.5]
        wanted = rise + fall if ours_first else fall + rise
        seen = after_each(sequence, target, 12)
        assert [rates[0][0] for rates in seen] == pytest.approx(wanted)
        assert [rates[1][0] for rates in seen] == pytest.approx([0.1 * rate for rate in wanted])

    def test_chained(self):
        target = optimizer()
        ours = torch_scheduler(target, dict(type="LinearLR", start_factor=0.5, by_epoch=False, end=3))
        seen = after_each(ChainedScheduler([ours, ExponentialLR(target, 0.5)]), target, 5)
        assert [rates[0][0] for rates in seen] == pytest.approx([0.5, 0.375, 0.25, 0.125, 0.0625])

    def test_a_sequence_is_resumed(self):
        def made():
            target = optimizer()
            warm = torch_scheduler(target, dict(type="LinearLR", start_factor=0.5, by_epoch=False, end=4))
            return target, SequentialLR(target, [warm, ExponentialLR(target, 0.9)], milestones=[6])

        assert_resumes(made)


class TestRefused:
    @pytest.mark.parametrize(
        ("cfg", "said"),
        [
            ([WARM, dict(type="ReduceOnPlateauLR", monitor="loss")], r"param_scheduler\[1\]: .* follows a metric"),
            ([dict(type="StepLR", step_size=2), WARM], "give updates_per_epoch"),
            (dict(type="StepLR", step=2), "step_size"),
            (dict(type="StepLr", step_size=2), "StepLR"),
            ([], "param_scheduler: a schedule is wanted"),
            ([dict(WARM, by="epochs")], r"^param_scheduler\[0\].by: .*Did you mean 'epoch'"),
        ],
    )
    def test_by_name(self, cfg, said):
        with pytest.raises(ConfigError, match=said):
            torch_scheduler(optimizer(), cfg, total_updates=20)

    def test_a_jump(self):
        target = optimizer()
        with pytest.raises(OptimzooError, match="cannot be set to a step"):
            torch_scheduler(target, WARM, total_updates=20).step(3)

    def test_what_to_do_about_another_state(self):
        with pytest.raises(ConfigError, match="on_change"):
            torch_scheduler(optimizer(), WARM, on_change="go on")

    def test_a_handler_that_asks_for_rates_and_makes_no_step(self):
        handlers = pytest.importorskip("ignite.handlers")
        engine = pytest.importorskip("ignite.engine").Engine(lambda *_: None)
        scheduler = torch_scheduler(optimizer(), WARM, total_updates=20)
        with pytest.raises(OptimzooError, match="no schedule moves: call step"):
            handlers.LRScheduler(scheduler)(engine)
        assert scheduler.get_lr() == scheduler.get_last_lr()

    @pytest.mark.parametrize("other", ["ExponentialLR", "epoch", "torch"])
    def test_another_state(self, other):
        target = optimizer(AdamW)
        by_epoch = dict(type="ExponentialLR", gamma=0.5)
        state = {
            "ExponentialLR": lambda: torch_scheduler(target, by_epoch | dict(by_epoch=False)).state_dict(),
            "epoch": lambda: torch_scheduler(target, by_epoch).state_dict(),
            "torch": lambda: ExponentialLR(target, 0.5).state_dict(),
        }[other]()
        scheduler = torch_scheduler(optimizer(AdamW), WARM, total_updates=20)
        before = scheduler.state_dict()
        with pytest.raises(CheckpointError):
            scheduler.load_state_dict(state)
        assert scheduler.state_dict() == before
