"""mmengine's own Runner with names of this package; the whole task is in test_matrix.py."""

import contextlib
import copy
import uuid

import pytest
import torch
from torch import nn

from optimzoo import Runner, StepOutcome, build_optim_wrapper, build_param_scheduler
from optimzoo.errors import ConfigError, OptimzooWarning

pytest.importorskip("mmengine.runner")

from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import ExponentialMomentum
from mmengine.optim import OptimWrapper as TheirOptimWrapper
from mmengine.optim import build_optim_wrapper as build_theirs
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS, PARAM_SCHEDULERS
from mmengine.runner import Runner as TheirRunner

import optimzoo.trainers.mmengine

from .task import CFG, Classifier, batches, rows

pytestmark = pytest.mark.filterwarnings("ignore")  # it warns of calls of its own
EPOCHS = 2
SCHEDULES = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=4),
    dict(type="CosineAnnealingLR", T_max=2, by_epoch=True, convert_to_iter_based=True),
    dict(type="ExponentialLR", gamma=0.9, by_epoch=True),
]
OURS = "optimzoo.DefaultOptimWrapperConstructor"


ADAM = dict(type="Adam", lr=0.1)


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.model = Classifier()

    def forward(self, x, labels, mode="loss"):
        return self.model(x, labels)


def scoped(cfg):
    """The same config with the names of this package."""
    if isinstance(cfg, dict):
        return {k: f"optimzoo.{v}" if k == "type" else scoped(v) for k, v in cfg.items()}
    return [scoped(each) for each in cfg] if isinstance(cfg, list) else cfg


def config(folder, optim_wrapper, schedules=SCHEDULES):
    return dict(
        work_dir=str(folder),
        train_dataloader=list(batches(rows(8))),
        train_cfg=dict(by_epoch=True, max_epochs=EPOCHS),
        optim_wrapper=optim_wrapper,
        param_scheduler=schedules,
    )


def trained(folder, *args, **settings):
    cfg = config(folder / uuid.uuid4().hex, *args)
    loader = dict(
        dataset=rows(8), sampler=dict(type="DefaultSampler", shuffle=False), batch_size=4,
        collate_fn=dict(type="default_collate"),
    )  # fmt: skip
    name = uuid.uuid4().hex
    made = TheirRunner(
        Model(), **{**cfg, "train_dataloader": loader}, log_level="ERROR", experiment_name=name, **settings
    )
    made.train()
    return made


def weights(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach()


class TestNumbers:
    @pytest.fixture(scope="class")
    def theirs(self, tmp_path_factory):
        cfg = dict(CFG, accumulative_counts=2, clip_grad=dict(max_norm=0.5))
        return trained(tmp_path_factory.mktemp("theirs"), cfg)

    def same(self, made, theirs):
        torch.testing.assert_close(weights(made.model), weights(theirs.model), rtol=0, atol=1e-12)
        rates = [
            {key: sorted({round(lr, 12) for lr in rates}) for key, rates in r.optim_wrapper.get_lr().items()}
            for r in (made, theirs)
        ]
        assert rates[0] == rates[1]

    def test_schedules_act_on_their_wrapper(self, theirs, tmp_path):
        cfg = dict(CFG, accumulative_counts=2, clip_grad=dict(max_norm=0.5))
        self.same(trained(tmp_path, cfg, scoped(SCHEDULES)), theirs)

    def test_optimizers_stand_in_their_constructor(self, theirs, tmp_path):
        cfg = dict(scoped(CFG), accumulative_counts=2, clip_grad=dict(max_norm=0.5))
        self.same(trained(tmp_path, cfg, scoped(SCHEDULES)), theirs)

    def test_wrapper_and_constructor_are_asked_as_theirs(self, theirs, tmp_path):
        own = dict(scoped(CFG), type="optimzoo.OptimWrapper", constructor=OURS)
        made = trained(tmp_path, dict(own, accumulative_counts=2, clip_grad=dict(max_norm=0.5)), scoped(SCHEDULES))
        self.same(made, theirs)
        assert len(made.optim_wrapper.optimizer.param_groups) == 3, "groups are merged"
        norms = [runner.message_hub.get_scalar("train/grad_norm").current() for runner in (made, theirs)]
        assert norms[0] == pytest.approx(norms[1])

    def test_the_runner_here_takes_the_config_of_theirs(self, theirs, tmp_path):
        cfg = Config(config(tmp_path, dict(CFG, accumulative_counts=2, clip_grad=dict(max_norm=0.5))))
        cfg.model, cfg.loss, cfg.device = Classifier(), lambda model, batch: model(**batch)["loss"], "cpu"
        model = Runner.from_cfg(cfg).train()
        torch.testing.assert_close(weights(model), weights(theirs.model), rtol=0, atol=1e-12)


class TestNames:
    def test_those_that_mmengine_lacks_are_there_as_they_are(self, tmp_path):
        lion = OPTIMIZERS.build(dict(type="Lion", lr=0.1), default_args=dict(params=nn.Linear(1, 1).parameters()))
        assert type(lion).__module__.startswith("lion_pytorch")
        made = trained(tmp_path, dict(optimizer=dict(type="Lion", lr=0.01)), None)
        assert type(made.optim_wrapper.optimizer) is type(lion)

    def test_theirs_stay_theirs(self):
        for registry, name in ((OPTIMIZERS, "SGD"), (PARAM_SCHEDULERS, "LinearLR")):
            assert not registry.get(name).__module__.startswith("optimzoo")

    def test_no_library_is_imported_for_its_name(self, run):
        code = (
            "import sys, optimzoo; optimzoo.build_optimizer; assert not {m for m in sys.modules if 'trainers' in m}\n"
            "import mmengine.optim; before = set(sys.modules)  # which imports some itself\n"
            "import optimzoo.trainers.mmengine\n"
            "print({m.split('.')[0] for m in set(sys.modules) - before})"
        )
        found = run("-c", code).stdout
        assert "lion_pytorch" not in found
        assert "pytorch_optimizer" not in found


class TestSeveral:
    def test_members_have_their_schedules(self, tmp_path):
        cfg = {
            f"model.{name}": dict(optimizer=dict(type="SGD", lr=lr))
            for name, lr in (("body", 0.1), ("norm", 0.2), ("head", 0.4))
        }
        made = trained(
            tmp_path,
            dict(cfg, constructor="optimzoo.MultiOptimWrapperConstructor"),
            [dict(type="optimzoo.ExponentialLR", gamma=0.5)],
        )
        rates = made.optim_wrapper.get_lr()
        assert {name: rate[0] for name, rate in rates.items()} == pytest.approx(
            {"model.body.lr": 0.05, "model.norm.lr": 0.1, "model.head.lr": 0.2}
        )


class TestRefused:
    @pytest.mark.parametrize(
        ("cfg", "said"),
        [
            (
                dict(optimizer=dict(type="Sophia", lr=0.1)),
                "Sophia estimates .*constructor='optimzoo.DefaultOptimWrapper",
            ),
            (dict(optimizer=dict(type="AdamWScheduleFree")), "AdamWScheduleFree trains other .*optimzoo.Runner"),
            (dict(optimizer=dict(type="AdamWScheduleFree"), constructor=OURS), "trains other .*optimzoo.Runner"),
            (dict(optimizer=dict(type="LBFGS"), constructor=OURS), "LBFGS .*optimzoo.Runner"),
            (
                dict(optimizer=dict(type="Lyon"), constructor=OURS),
                r"optim_wrapper\.optimizer\.type: .*Did you mean 'Lion'",
            ),
        ],
    )
    def test_by_name(self, cfg, said):
        with pytest.raises(ConfigError, match=said):
            OPTIM_WRAPPER_CONSTRUCTORS.build(
                dict(
                    type=cfg.get("constructor", "DefaultOptimWrapperConstructor"),
                    optim_wrapper_cfg={k: v for k, v in cfg.items() if k != "constructor"},
                )
            )(nn.Linear(1, 1))

    def test_updates_are_counted_by_wrappers_of_this_package_alone(self):
        model = nn.Linear(1, 1)
        made = [
            OPTIM_WRAPPER_CONSTRUCTORS.build(
                dict(type=name, optim_wrapper_cfg=dict(optimizer=dict(type="SGD", lr=1.0), accumulative_counts=2))
            )(model)
            for name in ("DefaultOptimWrapperConstructor", OURS)
        ]
        schedule = dict(type="optimzoo.ExponentialLR", gamma=0.5, by="update")
        with pytest.raises(
            ConfigError, match=r"by: mmengine's wrapper counts no updates: say type='optimzoo.OptimWrapper'"
        ):
            PARAM_SCHEDULERS.build(schedule, default_args=dict(optimizer=made[0]))
        built = PARAM_SCHEDULERS.build(schedule, default_args=dict(optimizer=made[1]))
        seen = []
        for _ in range(4):
            outcome = made[1].update_params(model(torch.ones(1)).sum())
            built.step()
            seen.append((outcome is StepOutcome.UPDATED, made[1].get_lr()["lr"][0]))
        assert seen == [(False, 1.0), (True, 0.5), (False, 0.5), (True, 0.25)]


class TestTheirSchedulesOverWrappersHere:
    def test_a_momentum_of_adam(self):
        model = nn.Linear(2, 1)
        wrapper = optimzoo.trainers.mmengine._as_theirs(build_optim_wrapper(model, dict(optimizer=ADAM)))
        theirs = TheirOptimWrapper(torch.optim.Adam((twin := copy.deepcopy(model)).parameters(), lr=0.1))
        both = [(each, ExponentialMomentum(each, gamma=0.9, by_epoch=False)) for each in (wrapper, theirs)]
        for _ in range(3):
            for (each, schedule), net in zip(both, (model, twin)):
                each.update_params(net(torch.ones(1, 2)).sum())
                schedule.step()
        assert torch.allclose(model.weight, twin.weight)
        own = build_optim_wrapper(model, dict(optimizer=ADAM))
        schedule = build_param_scheduler(own, dict(type="ExponentialMomentum", gamma=0.9, by_epoch=False))
        own.load_state_dict(theirs.state_dict())
        schedule.load_state_dict([both[1][1].state_dict()])
        assert own.optimizer.param_groups[0]["betas"] == theirs.optimizer.param_groups[0]["betas"]

    def test_a_state_of_other_groups_is_told_to_their_base_values(self):
        model = nn.ModuleDict(dict(a=nn.Linear(2, 2), b=nn.Linear(2, 1)))
        rules = dict(custom_keys=dict(a=dict(lr_mult=0.1)))
        theirs = build_theirs(model, dict(type="OptimWrapper", optimizer=dict(ADAM), paramwise_cfg=dict(rules)))
        for merges in (True, False):
            cfg = dict(optimizer=ADAM, paramwise_cfg=dict(rules, merge_groups=merges))
            wrapper = optimzoo.trainers.mmengine._as_theirs(build_optim_wrapper(model, cfg))
            told = pytest.warns(OptimzooWarning, match="is of 4 parameter groups, and these are 2: schedules of mmeng")
            with told if merges else contextlib.nullcontext():
                wrapper.load_state_dict(theirs.state_dict())
