"""What is known by measurement is said at the build: one sentence where it matters, and nothing elsewhere."""

import contextlib
import copy
import warnings

import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper, build_optimizer, build_param_scheduler
from optimzoo.errors import OptimzooWarning
from optimzoo.names.facts import Facts, unpacked
from optimzoo.optimizers import heeded

ROWS = {
    "lr": ["fault", "late", "one update late"],
    "lr.tensor": ["fault", "other numbers", "0.1 apart"],
    "scale": ["note", "each", "the size changes nothing"],
    "groups.merge": ["note", "depends", "0.2 apart"],
    "resume": ["fault", "inexact", "lost is current_step"],
    "state.weights_only": ["note", "refused", "because of a deque"],
    "manners.copies": ["note", "not deepcopy", "it has no attribute k"],
    "decay.groups": ["fault", "shared", "what a group says is not read"],
    "dtypes.small": ["note", "loop fused", "gradients of 0.001 lead to NaN"],
    "kernels.half": ["fault", "foreach differs in float16", "ten updates end elsewhere"],
    "dtypes.forgets": ["note", "no", "its average stays"],
    "dtypes.bfloat16": ["fault", "another state", "the momentum is 0.1 times that in float32"],
    "arguments.effect": ["fault", "nesterov dampening", "taken without an effect: nesterov, dampening"],
}


class Strange(torch.optim.SGD):
    pass


@contextlib.contextmanager
def nothing_said():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert [str(each.message) for each in caught] == []


@pytest.fixture
def facts(monkeypatch):
    def of_strange(rows):
        found = unpacked({"version": "1.2", "torch": "2.13.0", "date": "2026-11-28", "facts": rows})
        known = heeded.known_facts
        monkeypatch.setattr(heeded, "known_facts", lambda cls: found if cls is Strange else known(cls))

    return of_strange


def tensor_lr(cls):
    build_optimizer(nn.Linear(2, 2), dict(type=cls, lr=torch.tensor(0.1)))


def schedule(cls):
    optimizer = build_optimizer(nn.Linear(2, 2), dict(type=cls, lr=0.1))
    build_param_scheduler(optimizer, dict(type="LinearLR", start_factor=0.1, end=5))


def clip(cls):
    build_optim_wrapper(nn.Linear(2, 2), dict(optimizer=dict(type=cls, lr=0.1), clip_grad=dict(max_norm=1.0)))


def groups(cls):
    build_optim_wrapper(
        nn.Linear(2, 2),
        dict(optimizer=dict(type=cls, lr=0.1, weight_decay=0.1), paramwise_cfg=dict(bias_decay_mult=0.0)),
    )


def checkpoint(cls):
    build_optim_wrapper(nn.Linear(2, 2), dict(optimizer=dict(type=cls, lr=0.1)))


def bare(cls):
    build_optimizer(nn.Linear(2, 2), dict(type=cls, lr=0.1))


def bfloat16(cls):
    build_optim_wrapper(nn.Linear(2, 2).bfloat16(), dict(optimizer=dict(type=cls, lr=0.1)))


def float16(cls):
    eps = {} if cls is Strange else dict(eps=1e-6)
    build_optim_wrapper(nn.Linear(2, 2).half(), dict(optimizer=dict(type=cls, lr=0.1, **eps)))


def foreach(cls):
    dtype = torch.float16 if cls is Strange else torch.float32
    build_optim_wrapper(nn.Linear(2, 2, dtype=dtype), dict(optimizer=dict(type=cls, lr=0.1, foreach=True)))


def arguments(cls):
    given = dict(momentum=0.9, nesterov=True) if cls is Strange else dict(betas=(0.8, 0.99))
    build_optim_wrapper(nn.Linear(2, 2), dict(optimizer=dict(type=cls, lr=0.1, **given)))


SITUATIONS = [
    ("manners.copies", bare, "it does not survive a deepcopy (a wrapper keeps what such a copy forgets"),
    ("decay.groups", groups, "the weight_decay of a single group does nothing: what a group says is not read"),
    ("dtypes.bfloat16", bfloat16, "do not train bfloat16 parameters with it: the momentum is 0.1 times"),
    ("dtypes.small", float16, "keep its parameters in float32, under AmpOptimWrapper: gradients of 0.001 lead to NaN"),
    ("kernels.half", foreach, "leave the kernel out, or train in another dtype: ten updates end elsewhere"),
    (
        "dtypes.forgets",
        bfloat16,
        "a large gradient makes all later steps of bfloat16 parameters small: its average stays",
    ),
    ("arguments.effect", arguments, "an argument does nothing: taken without an effect: nesterov, dampening"),
    ("lr", schedule, "a schedule of its learning rate does not do what it says: one update late"),
    ("lr.tensor", tensor_lr, "give it the learning rate as a number: 0.1 apart"),
    ("scale", clip, "clipping its gradients by their norm does nothing"),
    ("groups.merge", groups, "its results depend on how parameters are grouped, and there are groups: 0.2 apart"),
    ("resume", checkpoint, "a run that is resumed does not go on as if it had not stopped: lost is current_step"),
    (
        "state.weights_only",
        checkpoint,
        "torch.load reads its checkpoints with weights_only=False only: because of a deque",
    ),
]


@pytest.mark.parametrize(("fact", "build", "sentence"), SITUATIONS)
def test_one_sentence_says_it_where_it_matters(fact, build, sentence, facts):
    facts({fact: ROWS[fact]})
    with pytest.warns(OptimzooWarning) as caught:
        build(Strange)
    (warning,) = caught
    assert f"Strange: {sentence}" in str(warning.message)
    assert str(warning.message).endswith(" (measured with tests 1.2 and torch 2.13.0)")


def test_a_fault_of_a_decay_alone_is_told_where_it_matters(facts):
    facts({"lr.tensor": ["fault", "other numbers with weight_decay", "with a weight_decay, 1 of the way elsewhere"]})
    with pytest.warns(OptimzooWarning, match="give it the learning rate as a number: with a weight_decay, 1 of"):
        tensor_lr(Strange)


def test_what_two_facts_or_two_members_tell_is_told_once(facts):
    facts({"lr": ROWS["lr"], "lr.written": ["fault", "written", "it becomes 0.2"], "scale": ROWS["scale"]})
    member = dict(optimizer=dict(type=Strange, lr=0.1), clip_grad=dict(max_norm=1.0))
    with pytest.warns(OptimzooWarning, match="clipping its gradients") as clipped:
        wrapper = build_optim_wrapper(
            nn.ModuleDict(dict(a=nn.Linear(2, 2), b=nn.Linear(2, 2))), dict(a=member, b=member)
        )
    with pytest.warns(OptimzooWarning, match="Strange: a schedule of its learning rate does not do what") as scheduled:
        build_param_scheduler(wrapper, dict(type="LinearLR", start_factor=0.1, end=5))
    assert (len(clipped), len(scheduled)) == (1, 1)


@pytest.mark.parametrize(("fact", "build", "sentence"), SITUATIONS)
def test_a_healthy_fact_says_nothing(fact, build, sentence, facts):
    facts({fact: "fine"})
    with nothing_said():
        build(Strange)


def test_where_no_fact_matters_nothing_is_said(facts):
    facts({fact: row for fact, row in ROWS.items() if fact != "manners.copies"})
    with nothing_said():
        build_optimizer(nn.Linear(2, 2), dict(type=Strange, lr=0.1))


def test_what_is_no_fault_or_has_its_usual_value_is_not_told(facts):
    facts({"arguments.effect": ["note", "nesterov", "nothing changes here"]})
    with nothing_said():
        arguments(Strange)
    facts({"arguments.effect": ROWS["arguments.effect"]})
    with nothing_said():
        build_optim_wrapper(nn.Linear(2, 2), dict(optimizer=dict(type=Strange, lr=0.1, nesterov=False)))


def test_a_copy_that_goes_another_way_is_told_of_a_wrapper_too(facts):
    facts({"manners.copies": ["fault", "another way", "a copy is made, and goes another way"]})
    with pytest.warns(OptimzooWarning, match="Strange: a copy of it does not go on as it does"):
        checkpoint(Strange)


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # of bitsandbytes, at its import
@pytest.mark.parametrize("name", ["Lion", "Adam8bit"])
def test_a_wrapper_survives_the_copy_that_its_optimizer_alone_does_not(name):
    with pytest.warns(OptimzooWarning, match="it does not survive a deepcopy"):
        bare(name)
    model = nn.Linear(2, 2)
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type=name, lr=0.1)))
    model, wrapper = copy.deepcopy((model, wrapper))
    before = model.weight.detach().clone()
    wrapper.update_params(model(torch.ones(1, 2)).sum())
    assert not torch.equal(model.weight, before)


@pytest.mark.parametrize("name", ["Rprop", "ASGD"])
def test_a_schedule_of_an_optimizer_of_torch_that_does_not_follow_it_is_told(name):
    with pytest.warns(OptimzooWarning, match=f"{name}: a schedule of its learning rate does not do what it says"):
        schedule(name)


@pytest.mark.parametrize("build", [schedule, tensor_lr, clip, groups, checkpoint, bare, arguments])
def test_nothing_is_said_of_adamw(build):
    with nothing_said():
        build("AdamW")


def test_parameters_of_no_floating_dtype_are_passed_over():
    model = nn.Linear(2, 2)
    model.codes = nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False)
    with nothing_said():
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="AdamW"), paramwise_cfg=dict(bias_lr_mult=2.0)))
    assert any(p is model.codes for group in wrapper.optimizer.param_groups for p in group["params"])


def test_an_average_that_was_measured_with_other_factors_is_not_spoken_of(facts):
    facts({"dtypes.forgets": ROWS["dtypes.forgets"]})
    with pytest.warns(OptimzooWarning, match="Strange: a large gradient"):
        bfloat16(Strange)
    with nothing_said():
        heeded.heed_dtypes(Strange, [], {torch.bfloat16}, {"betas"})


def after_a_large_gradient(cls, dtype, settings):
    """Return the average of squares after a gradient of 100 and 3000 of 1."""
    weight = nn.Parameter(torch.zeros(8, dtype=dtype))
    optimizer = cls([weight], lr=1e-3, **settings)
    for gradient in (100.0, *[1.0] * 3000):
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
    (found,) = (v for k, v in optimizer.state[weight].items() if k in ("exp_avg_sq", "square_avg", "exp_inf"))
    return float(found[0])


@pytest.mark.parametrize(
    ("name", "dtype", "settings", "stays"),
    [
        ("AdamW", torch.bfloat16, {}, True),
        ("Adam", torch.bfloat16, dict(betas=(0.9, 0.997)), True),
        ("AdamW", torch.bfloat16, dict(betas=(0.9, 0.995)), False),
        ("AdamW", torch.float16, dict(eps=1e-4), False),
        ("AdamW", torch.float32, {}, False),
        ("NAdam", torch.bfloat16, {}, True),
        ("RAdam", torch.bfloat16, {}, True),
        ("Adamax", torch.bfloat16, {}, True),
        ("Adamax", torch.bfloat16, dict(betas=(0.9, 0.99)), False),
        ("RMSprop", torch.bfloat16, {}, False),
        ("RMSprop", torch.bfloat16, dict(alpha=0.999), True),
    ],
    ids=str,
)
def test_an_average_that_rounding_keeps_from_falling_is_told(name, dtype, settings, stays):
    kept = [after_a_large_gradient(getattr(torch.optim, name), each, settings) for each in (dtype, torch.float32)]
    assert (kept[0] > 3 * kept[1]) is stays
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build_optim_wrapper(nn.Linear(2, 2, dtype=dtype), dict(optimizer=dict(type=name, **settings)))
    assert [f"{name} averages squared gradients in bfloat16" in str(each.message) for each in caught] == [True] * stays


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("resume=exact", True), ("resume", True), ("elementwise", True), ("state<=4", True), ("state<4", False),
        ("state>=4", True), ("state!=4", False), ("lr=live", False), ("lr", False), ("lr!=live", True),
        ("unheard_of", False), ("unheard_of=1", False), ("state=4", True), ("resume<=4", False),
    ],
)  # fmt: skip
def test_conditions_on_facts(condition, holds):
    rows = {
        "resume": ("fine", "exact", ""),
        "elementwise": ("fine", "yes", ""),
        "state": ("fine", 4.0, ""),
        "lr": ("fault", "late", "x"),
    }
    assert Facts("1", "2", "2026-11-28", rows).meets(condition) is holds
