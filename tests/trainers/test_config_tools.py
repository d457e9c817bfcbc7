"""Hydra, tyro, jsonargparse and Optuna give the settings that the builders take, from their own command lines."""

from dataclasses import dataclass, field

import pytest
import torch

from optimzoo import build_optim_wrapper, build_optimizer, build_param_scheduler
from optimzoo.errors import ConfigError

YAML = """
lr: 0.001
updates: 100
optimizer:
  _target_: optimzoo.build_optimizer
  cfg: {type: AdamW, lr: "${lr}", betas: [0.9, 0.95]}
named:
  _target_: optimzoo.build_optimizer
  _partial_: true
  cfg: NAdam
  lr: ${lr}
optim_wrapper:
  _target_: optimzoo.build_optim_wrapper
  cfg:
    optimizer: {type: AdamW, lr: "${lr}", weight_decay: 0.1}
    paramwise_cfg: {bias_decay_mult: 0.0, custom_keys: {weight: {lr_mult: 2.0}}}
param_scheduler:
  _target_: optimzoo.build_param_scheduler
  cfg:
    - {type: LinearLR, start_factor: 0.1, by: update, end: 10%}
    - {type: CosineAnnealingLR, by: update, begin: 10%, end: 100%}
  max_iters: ${updates}
"""


@dataclass
class AdamW:
    type: str = "AdamW"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass
class Clip:
    max_norm: float = 1.0


@dataclass
class Training:
    optimizer: AdamW = field(default_factory=AdamW)
    clip_grad: Clip = field(default_factory=Clip)
    accumulative_counts: int = 1


OPTIONS = ["--optimizer.lr", "0.02", "--clip_grad.max_norm", "0.5", "--accumulative_counts", "2"]


@pytest.fixture
def model():
    return torch.nn.Linear(4, 1)


def assert_told(wrapper):
    assert wrapper.get_lr() == {"lr": [0.02]}
    assert wrapper.clip_grad_kwargs == {"max_norm": 0.5}
    assert wrapper._accumulative_counts == 2


@pytest.fixture
def hydra_config(tmp_path):
    hydra = pytest.importorskip("hydra")
    (tmp_path / "config.yaml").write_text(YAML)
    with hydra.initialize_config_dir(str(tmp_path), version_base=None):
        yield hydra.compose("config", overrides=["lr=0.02", "optim_wrapper.cfg.optimizer.weight_decay=0.2"])


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # which OmegaConf 2.4 raises in Hydra
class TestHydra:
    def test_targets_are_the_builders(self, hydra_config, model):
        from hydra.utils import instantiate

        optimizer = instantiate(hydra_config.optimizer, model)
        assert (type(optimizer), optimizer.defaults["lr"]) == (torch.optim.AdamW, 0.02)
        assert optimizer.param_groups[0]["betas"] == (0.9, 0.95)
        assert type(instantiate(hydra_config.named)(model)) is torch.optim.NAdam
        wrapper = instantiate(hydra_config.optim_wrapper, model)
        assert [group["weight_decay"] for group in wrapper.optimizer.param_groups] == [0.2, 0.0]
        assert wrapper.get_lr()["lr"] == [0.04, 0.02]
        schedules = instantiate(hydra_config.param_scheduler, wrapper)
        assert (schedules[0].end, schedules[1].begin) == (10, 10)

    def test_a_mistake_has_its_place(self, hydra_config, model):
        from hydra.errors import InstantiationException
        from hydra.utils import instantiate

        with pytest.raises(InstantiationException, match="Did you mean 'Adam'") as caught:
            instantiate(hydra_config.optimizer, model, cfg=dict(type="AdamV"))
        assert isinstance(caught.value.__cause__, ConfigError)


def test_what_tyro_reads_is_taken(model):
    tyro = pytest.importorskip("tyro")
    assert_told(build_optim_wrapper(model, tyro.cli(Training, args=OPTIONS)))


@pytest.mark.parametrize("instantiated", [True, False])
def test_what_jsonargparse_reads_is_taken(model, instantiated):
    parser = pytest.importorskip("jsonargparse").ArgumentParser()
    parser.add_class_arguments(Training, "training")
    found = parser.parse_args([option.replace("--", "--training.") for option in OPTIONS])
    instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes  # its name up to 4.48
    found = instantiate(found) if instantiated else found
    assert_told(build_optim_wrapper(model, found.training))


def test_a_trial_of_optuna_suggests_plain_settings(model):
    optuna = pytest.importorskip("optuna")
    trial = optuna.trial.FixedTrial({"type": "NAdam", "lr": 1e-3, "begin": 3})
    cfg = dict(
        type=trial.suggest_categorical("type", ["AdamW", "NAdam"]), lr=trial.suggest_float("lr", 1e-5, 1, log=True)
    )
    optimizer = build_optimizer(model, cfg)
    schedule = dict(type="ConstantLR", factor=0.5, by="update", begin=trial.suggest_int("begin", 1, 9), end=20)
    assert (type(optimizer), build_param_scheduler(optimizer, schedule)[0].begin) == (torch.optim.NAdam, 3)


def test_a_study_of_optuna_searches_among_optimizers(model):
    optuna = pytest.importorskip("optuna")

    def objective(trial):
        optimizer = build_optimizer(
            model, trial.suggest_categorical("type", ["AdamW", "SGD"]), lr=trial.suggest_float("lr", 0.1, 0.2)
        )
        return optimizer.defaults["lr"]

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=4)
    assert 0.1 <= study.best_value <= 0.2
