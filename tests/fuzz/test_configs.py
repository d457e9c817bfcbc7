"""Configs with something wrong in them: what checks, draws or builds them gives a result, or a typed error with a path.

``OPTIMZOO_FUZZ=20000`` says how many; ``make fuzz`` runs as many, each time others.
"""

import copy
import math
import os
import warnings

import numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimzoo import build_optim_wrapper, build_param_scheduler
from optimzoo.errors import ConfigError, OptimzooError
from optimzoo.run.check import config_problems
from optimzoo.schedules.preview import schedule_courses

from ..core.run.network import dataset, error, mse, network

EXAMPLES = int(os.environ.get("OPTIMZOO_FUZZ", 300))

RUN = dict(
    model=dict(type="torch.nn:Linear", in_features=3, out_features=1),
    work_dir="run",
    train_dataloader=dict(dataset=dataset(), batch_size=4, sampler=dict(type="DefaultSampler", shuffle=True)),
    val_dataloader=dict(dataset=dataset(8), batch_size=8, num_workers=0, collate_fn="default_collate"),
    optim_wrapper=dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=0.01)),
    train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=1, val_begin=1),
    loss=mse,
    metrics=[error],
    hooks=[dict(type="EMAHook", decay=0.99)],
    checkpoint=dict(interval=1, keep=2, best="val_error", rule="less", usr1="save"),
    randomness=dict(seed=0),
    device="cpu",
    strategy="single",
    log_interval=10,
    log_groups=True,
)

WRAPPERS = [
    dict(type="AmpOptimWrapper", dtype="bfloat16", accumulative_counts=4, loss_scale="dynamic",
         clip_grad=dict(max_norm=1.0, norm_type=2), optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.99), eps=1e-8),
         paramwise_cfg=dict(norm_decay_mult=0.0, bias_lr_mult=2.0, flat_decay_mult=0.5, bypass_duplicate=True,
                            custom_keys={"0": dict(lr_mult=0.1, decay_mult=0.5), "bias": dict(lr=0.1, extra=[1])})),
    dict(type="OptimWrapper", nonfinite="skip", optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4),
         paramwise_cfg=dict(rules=[dict(match="0.*", lr_mult=0.5), dict(modules=["Linear"], weight_decay=0.0)],
                            strict=False, merge_groups=False, all_biases=True, not_norms=["Tanh"])),
    dict(constructor="LayerDecayOptimWrapperConstructor", optimizer=dict(type="Lion", lr=1e-4),
         paramwise_cfg=dict(decay_factor=0.7)),
    {"0": dict(optimizer=dict(type="Adam", lr=1e-3)), "3": dict(optimizer=dict(type="RMSprop", lr=0.1), modules=["3"])},
    dict(optimizer=dict(type="Adafactor", lr=1e-3, scale_parameter=False, relative_step=False, warmup_init=False)),
    dict(optimizer=dict(type="Prodigy", lr=1.0, d0=1e-6)),
    dict(optimizer=dict(type="SophiaG", lr=1e-3, rho=0.05, update_period=2)),
]  # fmt: skip

SCHEDULES = [
    [dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=4),
     dict(type="CosineAnnealingLR", T_max=2, eta_min=1e-5, by_epoch=True, begin=0, end=2, convert_to_iter_based=True)],
    [dict(type="OneCycleLR", eta_max=0.1, total_steps=8, pct_start=0.3, three_phase=True, by_epoch=False)],
    [dict(type="MultiStepLR", milestones=[1, 2], gamma=0.1), dict(type="CosineRestartLR", periods=[1, 1],
     restart_weights=[1, 0.5], eta_min_ratio=0.1)],
    [dict(type="PolyLR", power=0.9, eta_min=1e-6, by="update", end="90%"), dict(type="StepMomentum", step_size=3)],
    [dict(type="SequenceLR", curves=[dict(type="Linear", start_factor=0.5, steps=2), dict(type="Constant", factor=1)])],
    [dict(type="ReduceOnPlateauLR", monitor="val_error", rule="less", factor=0.5, patience=1, threshold=1e-4)],
    [dict(type="ExponentialParamScheduler", param_name="weight_decay", gamma=0.9, begin="10%", groups=["0.*"])],
    dict(type="ConstantLR", factor=0.5, end=3),
]  # fmt: skip

CONFIGS = [
    {**RUN, "optim_wrapper": wrapper, "param_scheduler": SCHEDULES[n % len(SCHEDULES)]}
    for n, wrapper in enumerate([*WRAPPERS, *WRAPPERS[:3] * 2, RUN["optim_wrapper"], RUN["optim_wrapper"]])
]
"""What is representative of the rest of the tests."""

DEEP = "a list, 3000 lists deep"  # which Hypothesis could not print itself
KNOWN = [
    *(None, True, False, 0, 1, -1, 2, 10**9, 10**400, -(10**30), 0.0, -0.0, 0.5, -1.5, 1e-320, 1e308),
    *(math.inf, -math.inf, math.nan, 3 + 4j, b"bytes", object(), len, int, DEEP, range(3), {1, 2}, slice(1)),
    *("", "x", "1", "1e-3", "50%", "-5%", "1000%", "inf%", "nan", "re:(", "[0]", "a:b", "os:fspath", "x" * 2000),
    *("0.*", "*", ".*", "\0", "Lion", "SGD", "LinearLR", "epoch"),
    *([], {}, (), [1], [[1]], [None], ["a", "b"], [math.nan], {"a": 1}, {1: 2}, {None: 1}, {"": 0}, {"lr": {}}),
    *({"type": "SGD"}, {"type": None}, {"type": ["SGD"]}),
    *(numpy.array([1.0, 2.0]), numpy.array(3), numpy.float32(0.1), numpy.int64(2)),
    *(torch.tensor(0.1), torch.tensor([1.0, 2.0]), torch.nn.Linear),
]  # fmt: skip
VALUES = st.one_of(st.sampled_from(KNOWN), st.integers(), st.floats(), st.text(max_size=5))
CHANGES = st.lists(
    st.tuples(st.integers(0, 10_000), st.sampled_from(["set", "set", "set", "drop", "add", "wrap"]), VALUES),
    min_size=1, max_size=3,
)  # fmt: skip


def deep():
    held = []
    for _ in range(3000):
        held = [held]
    return held


def places(value, depth=0):
    """Yield each container inside a config, with each key of it, to where something deep begins."""
    if depth > 20:
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from places(item, depth + 1)


def changed(config, changes):
    config = copy.deepcopy(config)
    for number, kind, value in changes:
        value = deep() if value is DEEP else value
        found = list(places(config))
        if not found:
            return config
        holder, key = found[number % len(found)]
        if kind == "drop":
            del holder[key]
        elif kind == "wrap":
            holder[key] = [holder[key]] if number % 2 else {str(type(value))[:5]: holder[key]}
        elif kind == "add" and isinstance(holder, dict):
            holder[value if isinstance(value, (str, int, type(None))) else "type"] = number
        else:
            holder[key] = value
    return config


def draw(config):
    schedule_courses(config, epoch_length=4, max_epochs=2)


def build(config):
    model = network()
    wrapper = build_optim_wrapper(model, config["optim_wrapper"])
    build_param_scheduler(wrapper, config.get("param_scheduler"), epoch_length=4, max_epochs=2)


def untyped(config):
    """Return what is wrong with the errors that a config leads to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problems = config_problems(config)
        for call in (draw, build) if "optim_wrapper" in config else ():
            try:
                call(config)
            except ConfigError as raised:
                problems += raised.problems
            except OptimzooError as raised:
                problems.append(raised)
    return [problem for problem in problems if not problem.path]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="OPTIMZOO_FUZZ" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(st.sampled_from(CONFIGS), CHANGES)
def test_a_result_or_a_typed_error_with_a_path(config, changes):
    assert untyped(changed(config, changes)) == []


def test_each_known_value_in_each_place():
    stride = 1 if "OPTIMZOO_FUZZ" in os.environ else 61
    found = set()
    jobs = [(c, n, v) for c in CONFIGS for n, _ in enumerate(places(c)) for v in KNOWN]
    for config, number, value in jobs[::stride]:
        try:
            wrong = untyped(changed(config, [(number, "set", value)]))
        except Exception as error:
            wrong = [repr(error)]
        _, key = list(places(config))[number]
        found |= {(key, repr(value), str(problem)) for problem in wrong}
    assert found == set()
