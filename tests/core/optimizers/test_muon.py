"""Muon steps matrices of one shape together, to the bit as torch steps them one by one."""

import copy
import pickle
import re

import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper, build_optimizer
from optimzoo.errors import ConfigError
from optimzoo.optimizers import muon
from optimzoo.run.check import config_problems

SHAPES = ((96, 32), (32, 32), (32, 96), (40, 40))
pytestmark = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch 2.9 brings Muon")


@pytest.fixture
def counted(monkeypatch):
    """Count how many matrices each step of several together takes."""
    counts = []
    of_ours = muon._step
    monkeypatch.setattr(muon, "_step", lambda some, **kwargs: counts.append(len(some)) or of_ours(some, **kwargs))
    monkeypatch.setattr(muon, "_exact", {})
    return counts


def matrices(count=3, dtype=torch.float32, extra=((30, 20),)):
    torch.manual_seed(0)
    shapes = [shape for _ in range(count) for shape in SHAPES]
    return nn.ParameterList(nn.Parameter(torch.randn(shape).to(dtype)) for shape in (*shapes, *extra))


def give_gradients(params, i, missing=()):
    generator = torch.Generator().manual_seed(i)
    for n, p in enumerate(params):
        grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        p.grad = None if n in missing else grad


def assert_same(one, other):
    for a, b in zip(one.param_groups, other.param_groups):
        for p, q in zip(a["params"], b["params"]):
            assert torch.equal(p, q)
            assert torch.equal(one.state[p]["momentum_buffer"], other.state[q]["momentum_buffer"])


@pytest.mark.parametrize(
    ("settings", "dtype"),
    [
        ({}, torch.float32),
        (dict(nesterov=False, weight_decay=0.0), torch.float32),
        (dict(adjust_lr_fn="match_rms_adamw", ns_steps=3, momentum=0.8), torch.float32),
        (dict(lr=torch.tensor(0.05)), torch.float32),
        ({}, torch.bfloat16),
    ],
    ids=str,
)
def test_the_numbers_are_those_of_torch_to_the_bit(settings, dtype, counted):
    ours, theirs = matrices(dtype=dtype), matrices(dtype=dtype)
    settings = {"lr": 0.02, **settings}
    optimizer = build_optimizer(ours, dict(type="Muon", **settings))
    reference = torch.optim.Muon(theirs.parameters(), **settings)
    for i in range(30):
        missing = [0, 5] if i % 3 == 1 else []  # of their shapes there are still others
        for each in (optimizer, reference):
            give_gradients(each.param_groups[0]["params"], i, missing)
            each.param_groups[0]["weight_decay"] = 0.1 / (1 + i)
            if not isinstance(settings["lr"], torch.Tensor):
                each.param_groups[0]["lr"] = 0.02 / (1 + i)
            each.step()
        assert_same(optimizer, reference)
    assert {*counted} == {2, 3}


def test_matrices_that_torch_would_step_otherwise_are_left_to_it(monkeypatch, counted):
    of_ours = muon._orthogonalized
    monkeypatch.setattr(muon, "_orthogonalized", lambda *args: of_ours(*args) * 1.01)
    ours, theirs = matrices(), matrices()
    optimizer = build_optimizer(ours, dict(type="Muon", lr=0.02))
    reference = torch.optim.Muon(theirs.parameters(), lr=0.02)
    for i in range(3):
        for each in (optimizer, reference):
            give_gradients(each.param_groups[0]["params"], i)
            each.step()
    assert_same(optimizer, reference)
    assert len(counted) == len(SHAPES)  # each was tried once, and failed at once


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (7, 9), (0, 8)], ids=str)
def test_tiny_and_empty_matrices_are_stepped_one_by_one_and_compared_with_nothing(shape, counted):
    shapes = [nn.Parameter(torch.ones(shape)) for _ in range(3)]
    optimizer = build_optimizer(nn.ParameterList(shapes), dict(type="Muon", lr=0.02))
    give_gradients(shapes, 0)
    optimizer.step()
    assert not counted


def test_large_matrices_are_stepped_one_by_one(monkeypatch, counted):
    monkeypatch.setattr(muon, "LARGEST", 32 * 32)
    optimizer = build_optimizer(matrices(), dict(type="Muon", lr=0.02))
    give_gradients(optimizer.param_groups[0]["params"], 0)
    optimizer.step()
    assert len({*counted}) == 1  # the trials and the step of 32 x 32


def test_each_head_is_made_orthogonal_by_itself():
    fused = nn.Linear(16, 48, bias=False)
    apart = [nn.Parameter(part.clone()) for part in fused.weight.detach().chunk(6)]
    optimizer = build_optim_wrapper(
        fused, dict(optimizer=dict(type="Muon", lr=0.02), paramwise_cfg=dict(rules=[dict(match="weight", num_heads=6)]))
    ).optimizer
    reference = torch.optim.Muon(apart, lr=0.02)
    for i in range(5):
        give_gradients([fused.weight], i)
        for parameter, grad in zip(apart, fused.weight.grad.chunk(6)):
            parameter.grad = grad
        optimizer.step()
        reference.step()
    assert torch.equal(fused.weight, torch.cat(apart))
    whole = build_optimizer(nn.Linear(16, 48, bias=False), dict(type="Muon", lr=0.02))
    assert "num_heads" not in whole.param_groups[0]


def pickled(pair):
    return pickle.loads(pickle.dumps(pair))


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
@pytest.mark.parametrize("rest", [{}, dict(rest=dict(type="SGD"))], ids=["alone", "a part"])
def test_an_optimizer_copied_without_its_wrapper_still_has_heads(copied, rest):
    model = nn.Sequential(nn.Linear(16, 48, bias=False), *(nn.Linear(48, 4) for _ in rest))
    rules = [dict(match="0.weight", num_heads=6, **(dict(part="Muon") if rest else {}))]
    cfg = dict(optimizer=dict(type="Muon", lr=0.02, **rest), paramwise_cfg=dict(rules=rules))
    pairs = [(model, build_optim_wrapper(model, cfg).optimizer)]
    pairs.append(copied(pairs[0]))
    for of_model, optimizer in pairs:
        give_gradients([*of_model.parameters()], 1)
        optimizer.step()
    assert all(map(torch.equal, *(of_model.parameters() for of_model, _ in pairs)))


def test_heads_of_a_group_that_is_added_are_checked_in_the_step():
    model = nn.Linear(16, 48, bias=False)
    optimizer = build_optimizer(nn.Linear(8, 8, bias=False), dict(type="Muon", lr=0.02))
    optimizer.add_param_group(dict(params=[model.weight], param_names=["added"], num_heads=5))
    give_gradients([model.weight], 0)
    with pytest.raises(ConfigError, match="num_heads: the 48 rows of added are not 5 equal blocks"):
        optimizer.step()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_is_stepped_as_the_matrix_of_its_output_channels(layout):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 8, 3, bias=False), nn.Conv2d(8, 8, 3, bias=False), nn.Linear(8, 8, bias=False))
    model = model.to(memory_format=layout)
    order = (0, 2, 3, 1) if layout is torch.channels_last else (0, 1, 2, 3)

    def flattened(tensor):
        return tensor.permute(order).flatten(1) if tensor.ndim == 4 else tensor

    flat = [nn.Parameter(flattened(p.detach()).clone()) for p in model.parameters()]
    rules = [dict(role="conv", as_matrix=True)]
    cfg = dict(optimizer=dict(type="Muon", lr=0.02), paramwise_cfg=dict(rules=rules))
    optimizer = build_optim_wrapper(model, cfg).optimizer
    reference = torch.optim.Muon(flat, lr=0.02)
    for i in range(5):
        give_gradients([*model.parameters()], i)
        for parameter, p in zip(flat, model.parameters()):
            parameter.grad = flattened(p.grad)
        optimizer.step()
        reference.step()
    for parameter, p in zip(flat, model.parameters()):
        assert torch.equal(parameter, flattened(p))


def test_copies_and_checkpoints_go_on_as_torch_does(counted):
    model = matrices()
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="Muon", lr=0.02)))
    reference = torch.optim.Muon(matrices().parameters(), lr=0.02)
    give_gradients(model, 0)
    give_gradients(reference.param_groups[0]["params"], 0)
    wrapper.optimizer.step()
    reference.step()
    copied = copy.deepcopy(wrapper)
    pickled = pickle.loads(pickle.dumps(wrapper))
    reloaded = build_optim_wrapper(matrices(), dict(optimizer=dict(type="Muon", lr=0.02)))
    reloaded.load_state_dict(dict(reloaded.state_dict(), **copy.deepcopy(reference.state_dict())))
    for p, q in zip(reloaded.optimizer.param_groups[0]["params"], model):
        p.data.copy_(q)
    counted.clear()
    for each in (wrapper, copied, pickled, reloaded):
        give_gradients(each.optimizer.param_groups[0]["params"], 1)
        each.optimizer.step()
    give_gradients(reference.param_groups[0]["params"], 1)
    reference.step()
    for each in (wrapper, copied, pickled, reloaded):
        assert_same(each.optimizer, reference)
    assert len(counted) == 4 * len(SHAPES)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (dict(num_heads=5), "num_heads: the 48 rows of 1.weight are not 5 equal blocks"),
        (dict(num_heads=0), "num_heads: a whole number of at least 1 is wanted, got 0"),
        (dict(num_heads="x"), "num_heads: a whole number of at least 1 is wanted, got 'x'"),
        (dict(as_matrix=3), "as_matrix: True or False is wanted, got 3"),
        (dict(num_head=3), "num_head: neither a rule nor Muon has a key 'num_head'. Did you mean 'num_heads'"),
    ],
)
@pytest.mark.parametrize("rest", [{}, dict(rest=dict(type="SGD", lr=0.1))], ids=["alone", "a part"])
def test_what_no_matrix_is_made_of_is_told_at_its_rule(rule, why, rest):
    model = nn.Sequential(
        nn.Linear(16, 48, bias=False), nn.Linear(48, 48, bias=False), *(nn.Linear(48, 4) for _ in rest)
    )
    rules = [dict(match="0.weight", num_heads=6), dict(match="1.weight", lr_mult=2.0, **rule)]
    cfg = dict(optimizer=dict(type="Muon", lr=0.1, **rest), paramwise_cfg=dict(rules=rules))
    with pytest.raises(ConfigError, match=rf"optim_wrapper\.paramwise_cfg\.rules\[1\]\.{why}"):
        build_optim_wrapper(model, cfg)
    told = config_problems(dict(optim_wrapper=cfg, train_cfg=dict(max_iters=9)))
    assert any(re.search(rf"rules\[1\]\.{why}", str(problem)) for problem in told) or "blocks" in why
    cfg["paramwise_cfg"] = dict(custom_keys={"1.weight": rule})
    if "Did" not in why:
        with pytest.raises(ConfigError, match=rf"custom_keys\['1\.weight'\]\.{why}"):
            build_optim_wrapper(model, cfg)


def test_the_rule_of_the_very_matrix_is_told_where_two_say_the_same():
    model = nn.Sequential(nn.Linear(16, 48, bias=False), nn.Linear(48, 16, bias=False))
    rules = [dict(match="0.weight", num_heads=6), dict(match="1.weight", num_heads=6)]
    with pytest.raises(ConfigError, match=r"rules\[1\]\.num_heads: the 16 rows of 1\.weight"):
        build_optim_wrapper(model, dict(optimizer=dict(type="Muon"), paramwise_cfg=dict(rules=rules)))
    groups = [dict(params=[each.weight], num_heads=6) for each in model]
    with pytest.raises(ConfigError, match=r"^optimizer\.groups\[1\]\.num_heads: the 16 rows of parameter 0"):
        build_optimizer(groups, dict(type="Muon"))


@pytest.mark.parametrize("rest", [{}, dict(rest=dict(type="AdamW"))], ids=["alone", "a part"])
@pytest.mark.parametrize(
    "cfg", [dict(optimizer={}, paramwise_cfg=dict(num_heads=6)), dict(optimizer=dict(num_heads=6))]
)
def test_where_a_key_of_groups_belongs_is_told(cfg, rest):
    cfg = {**cfg, "optimizer": dict(type="Muon", **cfg["optimizer"], **rest)}
    with pytest.raises(ConfigError, match="num_heads.* It belongs in a rule"):
        build_optim_wrapper(nn.Linear(16, 48), cfg)
