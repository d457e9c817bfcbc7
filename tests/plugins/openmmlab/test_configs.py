"""Configs as public ones are written, each on a model of the right shape: they build, and their schedules do."""

import pytest

from optimzoo import build_optim_wrapper, build_param_scheduler

from .models import MODELS

SGD = dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=1e-4)
ADAMW = dict(type="AdamW", lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05)
BIASES = dict(bias_decay_mult=0.0, norm_decay_mult=0.0)
WARM_UP = dict(type="LinearLR", start_factor=1e-3, by_epoch=True, end=5, convert_to_iter_based=True)


@pytest.mark.filterwarnings("ignore::optimzoo.errors.OptimzooWarning")  # of what such a config leaves to chance
@pytest.mark.parametrize(
    ("model", "wrapper", "schedules"),
    [
        (
            "convolutions",
            dict(
                constructor="TSMOptimWrapperConstructor",
                paramwise_cfg=dict(fc_lr5=True),
                optimizer=dict(SGD, _scope_="mmaction"),
                clip_grad=dict(max_norm=20, norm_type=2),
            ),
            [dict(type="MultiStepLR", begin=0, end=50, by_epoch=True, milestones=[20, 40], gamma=0.1)],
        ),
        (
            "Classifier",
            dict(optimizer=dict(type="Lamb", lr=0.008, weight_decay=0.02, _scope_="mmpretrain"), paramwise_cfg=BIASES),
            [
                WARM_UP,
                dict(type="CosineAnnealingWeightDecay", eta_min=0.2, T_max=50, end=50, convert_to_iter_based=True),
            ],
        ),
        (
            "Classifier",
            dict(
                type="AmpOptimWrapper",
                dtype="bfloat16",
                optimizer=dict(type="LARS", lr=4.8, momentum=0.9, weight_decay=1e-6, _scope_="mmpretrain"),
                paramwise_cfg=dict(custom_keys=dict(bias=dict(decay_mult=0, lars_exclude=True))),
            ),
            [WARM_UP, dict(type="CosineAnnealingLR", T_max=45, begin=5, end=50, convert_to_iter_based=True)],
        ),
        (
            "Classifier",
            dict(
                optimizer=dict(ADAMW, lr=1e-3),
                constructor="ForceDefaultOptimWrapperConstructor",
                paramwise_cfg=dict(
                    bias_decay_mult=0,
                    force_default_settings=True,
                    custom_keys={"backbone.layers": dict(lr_mult=0.01), "neck": dict(lr_mult=0)},
                ),
                clip_grad=None,
            ),
            [
                dict(type="LinearLR", start_factor=0.03, end=120, by_epoch=False),
                dict(type="PolyLRRatio", eta_min_ratio=0.03, power=0.9, begin=120, end=240, by_epoch=False),
                dict(type="ConstantLR", by_epoch=False, factor=1, begin=240, end=250),
            ],
        ),
        (
            "GAN",
            dict(
                constructor="PGGANOptimWrapperConstructor",
                generator=dict(optimizer=dict(type="Adam", lr=1e-3, betas=(0, 0.99))),
                discriminator=dict(optimizer=dict(type="Adam", lr=1e-3, betas=(0, 0.99))),
                lr_schedule=dict(generator={"8": 1.5e-3}, discriminator={"8": 1.5e-3}),
            ),
            None,
        ),
        (
            "GAN",
            dict(
                constructor="MultiOptimWrapperConstructor",
                generator=dict(optimizer=dict(type="Adam", lr=2e-4, betas=(0.5, 0.999))),
                discriminator=dict(optimizer=dict(type="Adam", lr=2e-4, betas=(0.5, 0.999))),
            ),
            dict(
                type="LinearLrInterval",
                interval=4,
                by_epoch=False,
                start_factor=2e-4,
                end_factor=0,
                begin=100,
                end=200,
            ),
        ),
        (
            "Classifier",
            dict(optimizer=dict(type="Adamax", lr=1e-3, betas=(0.9, 0.999))),
            dict(type="ReduceLR", by_epoch=True, mode="min", factor=0.5, patience=5, cooldown=0),
        ),
        (
            "yolo",
            dict(
                optimizer=dict(SGD, nesterov=True, batch_size_per_gpu=16), constructor="YOLOv7OptimWrapperConstructor"
            ),
            [dict(type="QuadraticWarmupLR", by_epoch=True, begin=0, end=5, convert_to_iter_based=True)],
        ),
    ],
)
def test_a_config_of_openmmlabs_builds_and_makes_an_update(model, wrapper, schedules):
    model = MODELS[model]()
    built = build_optim_wrapper(model, wrapper)
    scheduler = build_param_scheduler(built, schedules, epoch_length=5, max_epochs=50)
    members = built.values() if "optimizer" not in wrapper else [built]
    for member in members:
        params = [p for group in member.optimizer.param_groups for p in group["params"]]
        before = [p.detach().clone() for p in params]
        scheduler.step(member.update_params(sum((p * p + p).sum() for p in params)))
        assert any((p != old).any() for p, old in zip(params, before))
