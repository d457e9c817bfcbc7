"""Lightning and Fabric with optimizers and schedules of this package; the whole task is in test_matrix.py."""

import sys
from itertools import islice

import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper, build_optimizer
from optimzoo.errors import ConfigError

from .task import ACCUMULATE, CFG, CHAIN, Classifier, batches, rows

lightning = pytest.importorskip("lightning")

from lightning.pytorch.callbacks import GradientAccumulationScheduler, LearningRateMonitor  # noqa: E402
from lightning.pytorch.plugins import MixedPrecision  # noqa: E402

from optimzoo.trainers.lightning import OptimizerFactory, OptimzooCallback, lightning_optimizers  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*isinstance.treespec, LeafSpec", "ignore:The '.*_dataloader' does not have many workers"
)
UPDATES = 12
SGD = dict(type="SGD", lr=0.1, momentum=0.9)
HALF = dict(type="ExponentialLR", gamma=0.5, by_epoch=False)


class Module(lightning.LightningModule):
    def __init__(self, cfg=CFG, schedule=None, **options):
        super().__init__()
        self.model, self.cfg, self.schedule, self.options = Classifier().float(), cfg, schedule, options

    def training_step(self, batch, batch_idx):
        return self.model(batch["x"].float(), batch["labels"])["loss"]

    def configure_optimizers(self):
        return lightning_optimizers(self, self.cfg, self.schedule, **self.options)


class Validated(Module):
    def __init__(self, *args):
        super().__init__(*args)
        self.used = []

    def validation_step(self, batch, batch_idx):
        self.used.append(weights(self))


class ByHand(Module):
    """Manual optimization, in which the user makes the steps."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        for optimizer, schedule in zip(self.optimizers(), self.lr_schedulers()):
            optimizer.step()
            schedule.step()


def weights(module):
    return nn.utils.parameters_to_vector(module.parameters()).detach().clone()


def loader(updates=UPDATES):
    return torch.utils.data.DataLoader(list(batches(rows(updates))), batch_size=None)


def trainer(**settings):
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    return lightning.Trainer(**{"accelerator": "cpu", "max_epochs": 1, **quiet, **settings})


class TestPrecision:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_it_clips_as_a_loop_of_torch(self, dtype):
        mixed = {torch.float16: "16-mixed", torch.bfloat16: "bf16-mixed"}[dtype]
        module = Module(SGD)
        plugin = MixedPrecision(mixed, "cpu")  # fp16 on a CPU is not what the argument precision gives
        trainer(plugins=[plugin], gradient_clip_val=0.1, accumulate_grad_batches=ACCUMULATE).fit(module, loader())
        model = Classifier().float()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        scaler = torch.amp.GradScaler("cpu", enabled=dtype is torch.float16)
        for number, batch in enumerate(loader(), 1):
            with torch.autocast("cpu", dtype, cache_enabled=False):
                loss = model(batch["x"].float(), batch["labels"])["loss"]
            scaler.scale(loss / ACCUMULATE).backward()
            if number % ACCUMULATE == 0:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
        torch.testing.assert_close(weights(module), weights(model), rtol=0, atol=1e-6)

    @pytest.mark.parametrize(
        ("settings", "fused"),
        [(dict(gradient_clip_val=1.0, precision="bf16-mixed"), None), (dict(precision="bf16-mixed"), True), ({}, True)],
    )
    def test_a_fused_kernel_is_chosen_where_lightning_takes_one(self, settings, fused):
        made = trainer(**settings)
        made.fit(Module(dict(type="AdamW", lr=0.1)), loader())
        assert made.optimizers[0].param_groups[0]["fused"] is fused


class TestLength:
    @pytest.mark.parametrize(("epochs", "batches"), [(2, 6), (1, 12)])
    def test_shares_are_those_of_the_updates_that_the_trainer_makes(self, epochs, batches):
        made = trainer(max_epochs=epochs, limit_train_batches=batches, accumulate_grad_batches=2)
        made.fit(Module(SGD, dict(type="LinearLR", start_factor=0.5, by_epoch=False, end="100%")), loader())
        assert made.global_step == 6
        assert made.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1)

    def test_schedules_by_epoch_follow_the_epochs(self):
        made = trainer(max_epochs=3)
        made.fit(Module(SGD, [dict(type="ExponentialLR", gamma=0.5), dict(HALF, gamma=1.0)]), loader(2))
        assert made.optimizers[0].param_groups[0]["lr"] == pytest.approx(
            0.1 / 4
        )  # as in mmengine, a curve without an end stops with the run

    def test_accumulation_that_changes_with_the_epochs_is_counted(self):
        made = trainer(max_epochs=3, callbacks=[GradientAccumulationScheduler({1: 2})])
        made.fit(Module(SGD, dict(type="LinearLR", start_factor=0.5, by_epoch=False, end="100%")), loader(3))
        assert made.global_step == 12
        assert made.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1)
        made = trainer(max_epochs=3, callbacks=[GradientAccumulationScheduler({1: 2})])
        made.fit(Module(SGD, dict(type="MultiStepLR", milestones=[2], gamma=0.5)), loader(3))
        assert made.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.05)

    def test_an_endless_loader_has_epochs_of_the_trainer(self):
        class Endless(torch.utils.data.IterableDataset):
            def __iter__(self):
                return iter(loader(2))

        made = trainer(max_epochs=2)
        module = Module(SGD, dict(type="ExponentialLR", gamma=0.5))
        made.fit(module, torch.utils.data.DataLoader(Endless(), batch_size=None))
        assert made.lr_scheduler_configs[0].interval == "epoch"
        assert made.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1 / 4)


class TestModes:
    def module(self):
        pytest.importorskip("schedulefree")
        return Validated(dict(type="AdamWScheduleFree", lr=0.05, warmup_steps=2))

    def loop(self, updates):
        """The weights after some updates of the library's own loop: those to train, and those to use."""
        import schedulefree

        model = Classifier().float()
        optimizer = schedulefree.AdamWScheduleFree(model.parameters(), lr=0.05, warmup_steps=2)
        optimizer.train()
        for batch in islice(loader(), updates):
            optimizer.zero_grad()
            model(batch["x"].float(), batch["labels"])["loss"].backward()
            optimizer.step()
        trained = weights(model)
        optimizer.eval()
        return trained, weights(model)

    def test_validations_and_the_end_have_the_weights_to_use(self):
        module = self.module()
        made = trainer(
            callbacks=[OptimzooCallback()], val_check_interval=6, limit_val_batches=1, num_sanity_val_steps=1
        )
        made.fit(module, loader(), loader(1))
        wanted = [weights(self.module()), *(self.loop(updates)[1] for updates in (6, 12, 18, 24))]
        for seen, used in zip([*module.used, weights(module)], [*wanted, wanted[-1]], strict=True):
            torch.testing.assert_close(seen, used, rtol=0, atol=1e-6)

    def test_a_validation_changes_no_bit(self):
        modules = [self.module() for _ in range(2)]
        for module, interval in zip(modules, (1, 24)):
            made = trainer(callbacks=[OptimzooCallback()], val_check_interval=interval)
            made.fit(module, loader(), loader(1))
        assert torch.equal(weights(modules[0]), weights(modules[1]))

    def test_a_checkpoint_is_for_use_and_resumes_exactly(self, tmp_path):
        class Save(lightning.Callback):
            def on_train_epoch_end(self, trainer, module):
                trainer.save_checkpoint(tmp_path / f"{trainer.current_epoch}.ckpt")

        whole, resumed = self.module(), self.module()
        trainer(callbacks=[OptimzooCallback(), Save()], max_epochs=2).fit(whole, loader(6), loader(1))
        made = trainer(callbacks=[OptimzooCallback(), Save()], max_epochs=2)
        made.fit(resumed, loader(6), loader(1), ckpt_path=tmp_path / "0.ckpt")
        assert torch.equal(weights(whole), weights(resumed))
        used = Module()
        used.load_state_dict(torch.load(tmp_path / "1.ckpt")["state_dict"])
        torch.testing.assert_close(weights(used), weights(whole), rtol=0, atol=1e-6)


class TestCurvature:
    @pytest.mark.parametrize("accumulate", [1, 2])
    @pytest.mark.parametrize("name", ["Sophia", "SophiaG"])
    def test_it_trains_as_the_wrapper_does(self, name, accumulate):
        cfg = dict(type=name, lr=0.01, k=3)

        def sampled(module, batch):  # without luck, so that two programs agree
            loss = module.model(batch["x"].float(), batch["labels"].flip(0))["loss"]
            return loss, len(batch["labels"])

        module, twin = Module(cfg), Module(cfg)
        torch.manual_seed(0)
        trainer(callbacks=[OptimzooCallback(sampled)], accumulate_grad_batches=accumulate).fit(module, loader())
        torch.manual_seed(0)
        wrapper = build_optim_wrapper(twin, dict(optimizer=cfg, accumulative_counts=accumulate))
        for number, batch in enumerate(loader()):
            loss = twin.training_step(batch, number)
            wrapper.update_params(loss, curvature=lambda batch=batch: sampled(twin, batch))
        torch.testing.assert_close(weights(module), weights(twin), rtol=0, atol=1e-6)


class TestSeveral:
    def cfg(self):
        rates = {"body": 0.1, "norm": 0.2, "head": 0.3}
        return {f"model.{name}": dict(optimizer=dict(SGD, lr=lr)) for name, lr in rates.items()}

    def test_each_has_its_schedule_in_manual_optimization(self):
        cfg = self.cfg()
        made = trainer()
        made.fit(ByHand(cfg, {name: [dict(HALF, end=n)] for n, name in enumerate(cfg, 2)}), loader(3))
        rates = [optimizer.param_groups[0]["lr"] for optimizer in made.optimizers]
        assert rates == pytest.approx([0.1 / 2, 0.2 / 4, 0.3 / 8])
        assert made.global_step == 3 * 3 * ACCUMULATE

    def test_they_are_refused_in_automatic_optimization(self):
        with pytest.raises(ConfigError, match="manual optimization alone: set self.automatic_optimization = False"):
            trainer().fit(Module(self.cfg()), loader())


@pytest.mark.parametrize(
    ("cfg", "settings", "said"),
    [
        (dict(optimizer=SGD, clip_grad=dict(max_norm=1)), {}, r"optim_wrapper\.clip_grad: gradient_clip_val"),
        (
            dict(optimizer=SGD, accumulative_counts=2),
            {},
            r"optim_wrapper\.accumulative_counts: accumulate_grad_batches",
        ),
        (dict(optimizer=SGD, type="AmpOptimWrapper"), {}, r"optim_wrapper\.type: the Trainer makes the step"),
        (dict(optimizer=SGD, nonfinite="skip"), {}, r"optim_wrapper\.nonfinite: the trainer makes the step"),
        (dict(type="SGB", lr=1.0), {}, r"optim_wrapper\.optimizer\.type: .*Did you mean 'SGD'"),
        (dict(type="SGD", lrr=1.0), {}, r"optim_wrapper\.optimizer\.lrr: .*Did you mean 'lr'"),
        (dict(type="AdamWScheduleFree"), {}, r"without OptimzooCallback\(\) among its callbacks does not do that"),
        (dict(type="Sophia"), {}, r"Sophia estimates .* without OptimzooCallback\(\)"),
        (dict(type="LBFGS"), dict(accumulate_grad_batches=2), "LBFGS .*Lightning with accumulate_grad_batches"),
        (
            dict(type="LBFGS"),
            dict(callbacks=[GradientAccumulationScheduler({1: 2})], max_epochs=2),
            "LBFGS .*Lightning with accumulate_grad_batches",
        ),
        (dict(type="AliG"), dict(accumulate_grad_batches=2), "AliG takes the loss .* accumulate_grad_batches"),
        (dict(type="SAM", base_optimizer=SGD), {}, "SAM evaluates the loss at two points"),
    ],
)
def test_what_lightning_does_not_honour_is_refused_by_name(cfg, settings, said):
    with pytest.raises(ConfigError, match=said):
        trainer(**settings).fit(Module(cfg), loader())


def test_closures_reach_an_optimizer_that_wants_them():
    module, model = Module(dict(type="LBFGS", lr=0.1, max_iter=3)), Classifier().float()
    trainer().fit(module, loader(2))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    for batch in loader(2):

        def closure(batch=batch):
            optimizer.zero_grad()
            loss = model(batch["x"].float(), batch["labels"])["loss"]
            loss.backward()
            return loss

        optimizer.step(closure)
    torch.testing.assert_close(weights(module), weights(model), rtol=0, atol=1e-5)


def test_the_learning_rates_are_logged_by_the_names_of_groups(tmp_path):
    from lightning.pytorch.loggers import CSVLogger

    monitor = LearningRateMonitor()
    made = trainer(logger=CSVLogger(tmp_path), callbacks=[monitor], log_every_n_steps=1)
    made.fit(Module(CFG, CHAIN), loader())
    assert set(monitor.lrs) == {
        "lr-AdamW/model.body.weight",
        "lr-AdamW/model.body.bias+2",
        "lr-AdamW/model.head.weight+1",
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of jsonargparse, about what Lightning calls
class TestCommandLine:
    @pytest.fixture
    def cli(self, monkeypatch):
        pytest.importorskip("jsonargparse")
        from lightning.pytorch.cli import LightningCLI

        class Configured(Module):
            def __init__(self, optimizer: OptimizerFactory):
                super().__init__()
                self.factory = optimizer

            def configure_optimizers(self):
                return self.factory(self)

        class CLI(LightningCLI):
            def add_arguments_to_parser(self, parser):
                parser.add_class_arguments(OptimizerFactory, "optimizer")
                parser.link_arguments("optimizer", "model.optimizer", apply_on="instantiate")

        def made(*arguments):
            monkeypatch.setattr(sys, "argv", ["train", *arguments])
            return CLI(
                Configured,
                run=False,
                auto_configure_optimizers=False,
                save_config_callback=None,
                seed_everything_default=False,
            ).model

        return made

    def test_an_optimizer_is_named(self, cli):
        schedule = "--optimizer.param_scheduler=[{type: ExponentialLR, gamma: 0.5, by_epoch: false}]"
        arguments = ("--optimizer.type=Lion", "--optimizer.lr=0.2", "--optimizer.arguments.betas=[0.9, 0.5]", schedule)
        made = cli(*arguments).configure_optimizers()
        optimizer = made["optimizer"]
        assert type(optimizer).__name__ == "Lion"
        assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]) == (0.2, (0.9, 0.5))
        assert made["lr_scheduler"]["interval"] == "step"

    def test_a_wrong_one_is_told(self, cli):
        with pytest.raises((SystemExit, ConfigError)):
            cli("--optimizer.type=Lyon")


class TestFabric:
    def test_rules_know_the_names_of_the_plain_model(self):
        model = lightning.Fabric(accelerator="cpu", devices=1).setup(Classifier())
        for optimizer in (build_optim_wrapper(model, CFG).optimizer, build_optimizer(model, "SGD", lr=0.1)):
            names = {name for group in optimizer.param_groups for name in group["param_names"]}
            assert names == {name for name, _ in Classifier().named_parameters()}

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_closures_of_fused_steps_take_gradients_of_any_layout(self, layout):
        def trained(fused):
            torch.manual_seed(0)
            model = nn.Conv2d(3, 4, 3).to(memory_format=layout)
            optimizer = build_optimizer(
                model, dict(type="SGD", lr=0.1) if fused else dict(type="SGD", lr=0.1, fused=False)
            )
            assert optimizer.param_groups[0]["fused"] is fused
            x = torch.randn(2, 3, 5, 5)

            def closure():
                optimizer.zero_grad()
                loss = model(x).square().mean()
                loss.backward()
                weight = model.weight
                weight.grad = weight.grad.contiguous(memory_format=torch.contiguous_format)
                if layout is torch.contiguous_format:
                    weight.grad = weight.grad.contiguous(memory_format=torch.channels_last)
                return loss

            optimizer.step(closure)
            return model.weight.detach()

        torch.testing.assert_close(trained(True), trained(False))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch.compile, as it is imported
def test_a_compiled_model_that_fabric_holds_has_the_names_of_the_plain_one():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    held = lightning.Fabric(accelerator="cpu", devices=1).setup_module(torch.compile(model, backend="eager"))
    cfg = dict(CFG, paramwise_cfg=dict(norm_decay_mult=0.0))
    plain, other = (build_optim_wrapper(each, cfg).optimizer.param_groups for each in (model, held))
    assert [group["param_names"] for group in other] == [group["param_names"] for group in plain]
