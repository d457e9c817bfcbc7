"""ignite and skorch train as a loop by hand; the names that peft makes meet rules."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from optimzoo import build_optim_wrapper, build_optimizer, build_param_scheduler
from optimzoo.errors import ConfigError
from optimzoo.trainers.torch import torch_scheduler

from .task import ACCUMULATE, CFG, CHAIN, MAX_NORM, SAVED, UPDATES, Classifier, assert_same, batches, digits, rows


class TestIgnite:
    def trained(self, folder, resumed=False):
        pytest.importorskip("ignite")
        from ignite.engine import Engine, Events
        from ignite.handlers import Checkpoint, DiskSaver

        model = Classifier()
        cfg = CFG | dict(accumulative_counts=ACCUMULATE, clip_grad=dict(max_norm=MAX_NORM))
        optim_wrapper = build_optim_wrapper(model, cfg)
        chain = [{**each, "by": "update"} for each in CHAIN]
        schedules = build_param_scheduler(optim_wrapper, chain, max_iters=UPDATES * ACCUMULATE)
        engine = Engine(lambda _, batch: schedules.step(optim_wrapper.update_params(model(**batch)["loss"])))
        parts = dict(model=model, optim_wrapper=optim_wrapper, schedules=schedules)
        data, half = list(batches(rows())), SAVED * ACCUMULATE
        if resumed:
            Checkpoint.load_objects(parts, torch.load(folder / f"checkpoint_{half}.pt"))
            data = data[half:]
        saves = Checkpoint(parts, DiskSaver(folder, require_empty=False), n_saved=None)
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=half), saves)
        engine.run(data, max_epochs=1)
        return model.state_dict()

    def test_the_wrapper_and_its_schedules_train_as_a_loop_by_hand(self, tmp_path):
        whole = self.trained(tmp_path)
        assert_same(whole)
        assert_same(self.trained(tmp_path, resumed=True), whole, tolerance=0)

    def test_a_group_of_schedules_is_not_rebuilt(self):
        utils = pytest.importorskip("ignite.utils")
        schedules = build_param_scheduler(build_optimizer(nn.Linear(1, 1), "SGD", lr=0.1), [], max_iters=1)
        assert not isinstance(schedules, Sequence)
        assert utils.apply_to_type([schedules], type(schedules), lambda found: found)[0] is schedules


def schedule(optimizer, last_epoch, **settings):
    return torch_scheduler(optimizer, CHAIN, **settings)


class TestSkorch:
    @pytest.fixture
    def net_of(self):
        skorch = pytest.importorskip("skorch")
        from skorch.callbacks import LRScheduler

        settings = dict(
            criterion=nn.CrossEntropyLoss, optimizer=build_optimizer, optimizer__cfg="AdamW", lr=0.02, batch_size=8,
            train_split=None, verbose=0, iterator_train__shuffle=False, max_epochs=2,
            callbacks=[LRScheduler(schedule, step_every="batch", total_updates=40)],
        )  # fmt: skip
        return lambda module: skorch.NeuralNetClassifier(module, optimizer__weight_decay=0.1, **settings)

    def test_it_trains_as_a_loop_by_hand(self, net_of):
        from sklearn.base import clone

        def network():
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)).double()

        x, labels = (part[:160] for part in digits())
        net = clone(net_of(network)).fit(x.numpy(), labels.numpy())
        model = network()
        optimizer = build_optimizer(model, dict(type="AdamW", lr=0.02, weight_decay=0.1))
        scheduler = torch_scheduler(optimizer, CHAIN, total_updates=40)
        for _ in range(2):
            for batch, wanted in zip(x.split(8), labels.split(8)):
                optimizer.zero_grad()
                cross_entropy(model(batch), wanted).backward()
                optimizer.step()
                scheduler.step()
        assert_same(net.module_.state_dict(), model.state_dict(), tolerance=0)
        assert net.score(x.numpy(), labels.numpy()) > 0.9


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
class TestPeft:
    @pytest.fixture
    def model(self):
        peft = pytest.importorskip("peft")
        return peft.get_peft_model(Classifier(), peft.LoraConfig(target_modules=["body"], modules_to_save=["head"]))

    def built(self, model, **paramwise):
        return build_optim_wrapper(model, dict(optimizer=dict(type="AdamW", lr=1.0), paramwise_cfg=paramwise))

    @pytest.mark.parametrize("match", ["*.head", "*.head.*", "*head*"])
    def test_rules_match_behind_its_prefix(self, model, match):
        wrapper = self.built(model, rules=[dict(match=match, lr_mult=0.5)])
        (group,) = (group for group in wrapper.optimizer.param_groups if group["lr"] == 0.5)
        assert {n for n in group["param_names"] if model.get_parameter(n).requires_grad} == {
            f"base_model.model.head.modules_to_save.default.{name}" for name in ("weight", "bias")
        }

    def test_parts_of_names_match_as_before(self, model):
        wrapper = self.built(model, custom_keys=dict(head=dict(lr_mult=0.5), lora_B=dict(lr_mult=16.0)))
        lrs = {name: group["lr"] for group in wrapper.optimizer.param_groups for name in group["param_names"]}
        assert lrs["base_model.model.head.modules_to_save.default.weight"] == 0.5
        assert lrs["base_model.model.body.lora_B.default.weight"] == 16.0
        assert lrs["base_model.model.norm.weight"] == 1.0

    def test_a_name_without_the_prefix_is_told_the_pattern(self, model):
        with pytest.raises(ConfigError, match=r"no parameter of the model meets match='head.\*'.*'\*.head'"):
            self.built(model, rules=[dict(match="head.*", lr_mult=0.5)])

    def test_it_trains_and_goes_on_by_names(self, model):
        wrapper = self.built(model, custom_keys=dict(head=dict(lr_mult=0.5)))
        frozen = model.base_model.model.body.base_layer.weight.detach().clone()
        for batch in batches(rows(2)):
            wrapper.update_params(model(**batch)["loss"])
        assert torch.equal(model.base_model.model.body.base_layer.weight, frozen)
        again = self.built(model, rules=[dict(match="*lora_B*", lr_mult=2.0)])
        again.load_state_dict(wrapper.state_dict())
        for name, parameter in model.named_parameters():
            held = [each.optimizer.state.get(parameter, {}) for each in (wrapper, again)]
            assert bool(held[0]) == bool(held[1]) == parameter.requires_grad, name
