"""The average of the weights: what it is, that it is what gets validated, and that it is kept."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.optim.swa_utils import get_ema_multi_avg_fn as EMA  # noqa: N812

import optimzoo
from optimzoo import HOOKS
from optimzoo.errors import CheckpointError, ConfigError, OptimzooError, OptimzooWarning
from optimzoo.run import EMAHook, Hook
from optimzoo.run.store.checkpoint import checkpoints_in, load_checkpoint, save_checkpoint

from ...faults.helpers import same
from .network import dataset, error, mse, network, parameters
from .plugin import Stop

ACCUMULATING = dict(optimizer=dict(type="AdamW", lr=0.01), accumulative_counts=2)


def halved(count, dtype):
    x, y = dataset(count).tensors
    return [(a.to(dtype), b.to(dtype)) for a, b in zip(x.split(4), y.split(4))]


class TestEMA:
    def test_before_training_there_is_no_average_but_that_of_a_checkpoint(self, make_runner, tmp_path, val):
        runner = make_runner(hooks=[EMAHook()], **val)
        first = runner.val()
        with torch.no_grad():
            for parameter in runner.model.parameters():
                parameter.add_(1.0)
        assert runner.val() != first
        runner.train()
        checkpoint = checkpoints_in(tmp_path / "run")[-1]
        again = make_runner(hooks=[EMAHook()], **val, work_dir=tmp_path / "again", resume=checkpoint)
        again.save(tmp_path / "copy.pt")
        assert same(load_checkpoint(tmp_path / "copy.pt")["hooks"], load_checkpoint(checkpoint)["hooks"])

    def test_it_averages_the_updates_and_validates_the_average_too(self, make_runner, val):
        twins, measured = [], []

        class Twin(Hook):
            def before_train(self, runner):
                twins.append(AveragedModel(runner.model, multi_avg_fn=EMA(0.5)))

            def after_iter(self, runner, outcome, logs):
                if runner.iter % 2 == 0 or runner.iter == 15:
                    twins[0].update_parameters(runner.model)

            def after_val(self, runner, metrics):
                measured.append((metrics["error"], metrics["ema_val_error"]))

        data = next(iter(torch.utils.data.DataLoader(dataset(8), batch_size=8)))
        expected = []

        class Measure(Hook):
            def before_val(self, runner):
                models = (runner.model, twins[0].module)
                expected.append(tuple(error(copy.deepcopy(model).eval(), data)["error"].item() for model in models))

        ema = EMAHook(0.5)
        runner = make_runner(**val, hooks=[Twin(), Measure(), ema], optim_wrapper=ACCUMULATING)
        runner.train()
        assert measured == expected
        assert runner.history.column("val_error") == [(5 * (n + 1), raw) for n, (raw, _) in enumerate(expected)]
        assert [value for _, value in runner.history.column("ema_val_error")] == [average for _, average in expected]
        assert all(raw != average for raw, average in expected)
        assert same(ema.averaged.state_dict(), twins[0].state_dict())
        assert not torch.equal(parameters(runner), nn.utils.parameters_to_vector(ema.averaged.parameters()))

    def test_it_does_not_change_the_training_and_resumes_bit_equal(self, make_runner, tmp_path, val):
        plain = make_runner(**val, work_dir=tmp_path / "plain", optim_wrapper=ACCUMULATING)
        plain.train()
        straight = EMAHook(0.9)
        make_runner(**val, work_dir=tmp_path / "straight", hooks=[straight], optim_wrapper=ACCUMULATING).train()
        with pytest.raises(KeyboardInterrupt):
            make_runner(**val, hooks=[EMAHook(0.9), Stop(8)], optim_wrapper=ACCUMULATING).train()
        resumed = make_runner(**val, hooks=[dict(type="EMAHook", decay=0.9)], resume=True, optim_wrapper=ACCUMULATING)
        resumed.train()
        assert torch.equal(parameters(resumed), parameters(plain))
        assert same(resumed.hooks[0].averaged.state_dict(), straight.averaged.state_dict())
        saved = load_checkpoint(checkpoints_in(tmp_path / "run")[-1])["hooks"]["optimzoo.run:EMAHook"][0]
        assert same(saved, dict(straight.averaged.state_dict()))

    def test_it_takes_the_update_of_one_optimizer_where_another_skips_its_own(self, make_runner, tmp_path):
        def loss(model, batch):
            large = float("inf") if runner.iter == 1 else 1.0
            model[0].weight.register_hook(lambda grad: grad * large)
            return mse(model, batch)

        first = dict(optimizer=dict(type="SGD", lr=0.1), nonfinite="skip", clip_grad=dict(max_norm=1.0))
        wrapper = dict(first=dict(first, modules="0.*"), rest=first)
        length = dict(by_epoch=False, max_iters=2)
        runner = make_runner(optim_wrapper=wrapper, hooks=[EMAHook(decay=0.0)], loss=loss, train_cfg=length)
        runner.train()
        state = load_checkpoint(checkpoints_in(tmp_path / "run")[-1])
        assert same(state["averaged"]["ema"], state["model"])
        columns = [runner.history.column(f"{name}.grad_norm") for name in wrapper]
        assert [[step for step, _ in column] for column in columns] == [[1], [1, 2]]

    def test_several_averages_are_kept_apart(self, make_runner, val):
        plain = make_runner(**val)
        plain.train()
        averages = EMAHook(0.5), EMAHook(0.9)
        alone = EMAHook(0.9)
        runner = make_runner(**val, hooks=averages)
        runner.train()
        make_runner(**val, hooks=[alone]).train()
        assert torch.equal(parameters(runner), parameters(plain))
        assert same(averages[1].averaged.state_dict(), alone.averaged.state_dict())

    def test_an_evaluation_by_hand_is_of_the_average_too(self, make_runner, val):
        runner = make_runner(**val, hooks=[EMAHook(0.9)])
        runner.train()
        logged = runner.history.column("ema_val_error")[-1][1]
        assert runner.val()["ema_val_error"] == logged
        assert make_runner(**val, hooks=[EMAHook(0.9)], resume=True).val()["ema_val_error"] == logged

    def test_a_validation_that_fails_leaves_the_trained_weights(self, make_runner, val):
        straight = make_runner(**val, train_cfg=dict(max_epochs=1))
        straight.train()
        settings = {**val, "metrics": lambda model, batch: {"error": 1 / 0}}
        runner = make_runner(**settings, hooks=[EMAHook(0.5)])
        with pytest.raises(ZeroDivisionError):
            runner.train()
        assert torch.equal(parameters(runner), parameters(straight))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_weights_of_few_bits_are_averaged_in_float32(self, dtype, make_runner, tmp_path, val):
        """At a decay of 0.999 an average of so few bits never moves."""
        twins = []

        class Twin(Hook):
            def before_train(self, runner):
                twins.append(AveragedModel(copy.deepcopy(runner.model).float(), multi_avg_fn=EMA(0.999)))

            def after_iter(self, runner, outcome, logs):
                twins[-1].update_parameters(copy.deepcopy(runner.model).float())

        settings = dict(
            train_dataloader=halved(20, dtype), val_dataloader=halved(8, dtype), metrics=error,
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        )  # fmt: skip
        straight = EMAHook()
        runner = make_runner(**settings, model=network().to(dtype), hooks=[straight, Twin()], work_dir=tmp_path / "a")
        runner.train()
        assert same(straight.averaged.state_dict(), twins[0].state_dict())
        assert {p.dtype for p in runner.model.parameters()} == {dtype}
        begun = nn.utils.parameters_to_vector(network().to(dtype).float().parameters())
        assert not torch.equal(nn.utils.parameters_to_vector(straight.averaged.parameters()), begun)
        with pytest.raises(KeyboardInterrupt):
            make_runner(**settings, model=network().to(dtype), hooks=[EMAHook(), Stop(8)]).train()
        resumed = EMAHook()
        make_runner(**settings, model=network().to(dtype), hooks=[resumed], resume=True).train()
        assert same(resumed.averaged.state_dict(), straight.averaged.state_dict())

    def test_the_checkpoint_has_the_average_as_a_state_of_the_model(self, make_runner, tmp_path, val):
        ema = EMAHook(0.5)
        make_runner(**val, hooks=[ema], checkpoint=dict(best="ema_val_error")).train()
        path = checkpoints_in(tmp_path / "run")[-1]
        model = network()
        model.load_state_dict(torch.load(path, weights_only=True)["averaged"]["ema"])
        assert same(dict(model.state_dict()), dict(ema.averaged.module.state_dict()))
        assert (tmp_path / "run" / "best.pt").exists()
        twice = tmp_path / "twice.pt"
        torch.save({**torch.load(path, weights_only=True), "averaged": {}}, twice)
        assert path.stat().st_size < twice.stat().st_size + 2000, "the weights are in the file once"

    def test_both_are_measured_with_the_same_random_numbers(self, make_runner, tmp_path, val):
        def noise(model, batch):
            return {"noise": torch.rand(())}

        settings = {**val, "metrics": noise}
        plain = make_runner(**settings, work_dir=tmp_path / "plain")
        plain.train()
        averaged = make_runner(**settings, hooks=[EMAHook()])
        averaged.train()
        columns = [plain.history.column("val_noise")]
        columns += [averaged.history.column(name) for name in ("val_noise", "ema_val_noise")]
        assert columns[0] == columns[1] == columns[2]
        assert torch.equal(parameters(averaged), parameters(plain))

    def test_the_average_alone_can_be_validated_and_several_have_names(self, make_runner, val):
        hooks = [EMAHook(0.5, trained=False, name="quick"), EMAHook(0.9)]
        found = make_runner(**val, hooks=hooks, checkpoint=dict(best="quick_val_error"))
        found.train()
        assert set(found.val()) == {"quick_val_loss", "quick_val_error", "ema_val_loss", "ema_val_error"}

    def test_the_picture_has_both_in_one_panel(self, make_runner, val):
        runner = make_runner(**val, hooks=[EMAHook(0.5)])
        runner.train()
        panels = {axis.get_ylabel(): axis.get_legend_handles_labels()[1] for axis in runner.plot().panels}
        assert panels["val_error"] == ["val_error", "ema_val_error"]
        assert panels["loss"] == ["loss", "val_loss", "ema_val_loss"]

    @pytest.mark.parametrize("settings", [dict(trained="no"), dict(name="a b"), dict(name=3), dict(decay=1.0)])
    def test_a_wrong_argument_is_an_error(self, settings):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            EMAHook(**settings)


def test_its_buffers_are_those_of_the_model_between_updates_too():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = optimzoo.EMA(model)
    ema.update()
    model(torch.randn(4, 2))  # as inside a window of accumulation
    with ema.swapped():
        measured = copy.deepcopy(model.state_dict())
    assert same(ema.weights(), measured)


class Cached(nn.Linear):
    """Registers a cache in its first batch, which grows with the longest one, as rotary embeddings do."""

    persistent = False

    def forward(self, x):
        if not hasattr(self, "cache") or len(self.cache) < len(x):
            self.register_buffer("cache", torch.arange(1.0, len(x) + 1), self.persistent)
        return super().forward(x) * self.cache[: len(x), None]


@pytest.mark.parametrize("persistent", [False, True])
def test_a_buffer_may_come_later_and_grow(persistent):
    model = nn.Sequential(Cached(2, 2), nn.BatchNorm1d(2))
    model[0].persistent = persistent
    ema = optimzoo.EMA(model)
    for length in (2, 4):
        model(torch.randn(length, 2))
        ema.update()
        assert torch.equal(ema.averaged.module[0].cache, torch.arange(1.0, length + 1))
        assert same(ema.weights(), model.state_dict())


class Stat(nn.Module):
    def __init__(self, value, **more):
        super().__init__()
        self.register_buffer("mean", torch.full((2,), value))
        vars(self).update(more)


def test_buffers_are_those_of_their_names_whatever_comes_and_goes():
    model = nn.Sequential(nn.Linear(2, 2), Stat(3.0, late=None), Stat(5.0))
    ema = optimzoo.EMA(model)
    ema.update()
    model[0].add_module("stat", Stat(7.0))
    del model[1].late, model[2].mean
    model[1].register_buffer("late", torch.tensor(1))
    ema.update()
    model[1].late = model[1].late + 0.5
    ema.update()
    assert same(ema.weights(), model.state_dict())
    model.load_state_dict(ema.weights())


@pytest.mark.parametrize("use", [lambda ema: ema.update(), lambda ema: ema.swapped().__enter__()])
@pytest.mark.parametrize("at", [0, 2])
def test_a_model_with_other_parameters_than_its_average_is_an_error(at, use):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    ema = optimzoo.EMA(model)
    model.insert(at, nn.Linear(2, 2))
    with pytest.raises(OptimzooError, match="other parameters than when its average began"):
        use(ema)


def test_a_decay_that_may_be_a_momentum_is_told():
    with pytest.warns(OptimzooWarning, match=r"a decay of 0\.0002 .* which would be 0\.9998"):
        EMAHook(decay=0.0002)
    with pytest.raises(ConfigError, match="no argument 'momentum'. Did you mean 'decay'"):
        HOOKS.build(dict(type="EMAHook", momentum=0.0002))


def test_an_average_is_of_a_model():
    with pytest.raises(ConfigError, match="model: a torch.nn.Module is wanted, got 3"):
        optimzoo.EMA(3)


def test_in_a_loop_of_ones_own_it_is_the_same_average(make_runner, val):
    """And it goes on from its state."""
    hook = EMAHook(0.9)
    runner = make_runner(**val, hooks=[hook])
    model = runner.model
    averages = [optimzoo.EMA(model, 0.9), optimzoo.EMA(model, 0.9)]

    class Own(Hook):
        def after_iter(self, runner, outcome, logs):
            averages[0].update()
            if runner.iter == 7:
                averages[1].load_state_dict(averages[0].state_dict())
            elif runner.iter > 7:
                averages[1].update()

    runner.hooks.append(Own())
    runner.train()
    for average in averages:
        assert same(dict(average.weights()), dict(hook.averaged.module.state_dict()))
    trained = parameters(runner)
    with averages[0].swapped() as swapped:
        assert same(dict(swapped.named_parameters()), dict(hook.averaged.module.named_parameters()))
    assert torch.equal(parameters(runner), trained)


@pytest.mark.parametrize("value", [[], "x", True])
def test_a_damaged_average_is_told_with_its_hook(value, make_runner, tmp_path):
    make_runner(hooks=[EMAHook()]).train()
    path = checkpoints_in(tmp_path / "run")[0]
    state = load_checkpoint(path)
    (kept,) = state["hooks"]["optimzoo.run:EMAHook"]
    save_checkpoint({**state, "hooks": {"optimzoo.run:EMAHook": [dict.fromkeys(kept, value)]}}, path)
    with pytest.raises(CheckpointError, match="EMAHook"):
        make_runner(hooks=[EMAHook()], resume=path).train()
