"""Clipping in the kernel of a fused step equals clipping before it, but for the last bits."""

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from optimzoo import BaseOptimWrapper, OptimWrapper, build_optim_wrapper
from optimzoo.errors import ConfigError, NonFiniteError, OptimzooError

FUSED = [dict(type="AdamW"), dict(type="Adam", weight_decay=0.1), dict(type="SGD", lr=0.1), dict(type="Adagrad")]


def trained(optimizer, flatten=False, own=None, **settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 33), nn.ReLU(), nn.Linear(33, 32))
    wrapper = build_optim_wrapper(model, dict(optimizer=optimizer, flatten=flatten, **settings))
    norms = []
    for i in range(30):
        loss = model(torch.randn(8, 16, generator=torch.Generator().manual_seed(i))).square().mean()
        if own is None:
            wrapper.update_params(loss)
        else:
            wrapper.zero_grad()
            loss.backward()
            own(model, wrapper)
        norms.append(wrapper.grad_norm)
    return model, wrapper, norms


@pytest.mark.parametrize("optimizer", FUSED, ids=lambda cfg: cfg["type"])
@pytest.mark.parametrize("max_norm", [0.01, 1e6])
def test_a_fused_step_clips_as_torch_does_by_hand(optimizer, max_norm):
    expected = []

    def by_hand(model, wrapper):
        expected.append(nn.utils.clip_grad_norm_(model.parameters(), max_norm).item())
        wrapper.optimizer.step()

    one, _, _ = trained(optimizer, own=by_hand)
    for flatten in (False, True):
        two, wrapper, norms = trained(optimizer, flatten, clip_grad=dict(max_norm=max_norm))
        assert norms == pytest.approx(expected, rel=1e-4)
        assert norms[0] == expected[0]
        for before, after in zip(one.parameters(), two.parameters()):
            torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
            assert max_norm < 1 or torch.equal(before, after)
        assert not hasattr(wrapper.optimizer, "grad_scale")


@pytest.mark.parametrize("flatten", [False, True])
def test_gradients_after_a_fused_step_are_the_clipped_ones(flatten):
    model, wrapper, _ = trained(dict(type="AdamW"), flatten, clip_grad=dict(max_norm=0.01))
    model(torch.ones(2, 16)).square().mean().backward()
    wrapper.step()
    norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
    assert wrapper.grad_norm > 0.02
    assert norm.item() == pytest.approx(0.01, rel=1e-3)


def test_a_wrapper_with_a_step_of_its_own_has_clipped_gradients_before_it():
    class Own(OptimWrapper):
        def step(self, **kwargs):
            self._clip_grad()
            grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
            assert torch.stack([grad.norm() for grad in grads]).norm() < 0.011
            self.optimizer.step(**kwargs)

    model = nn.Linear(8, 8)
    wrapper = Own(torch.optim.AdamW(model.parameters(), fused=True), clip_grad=dict(max_norm=0.01))
    wrapper.update_params(model(torch.ones(2, 8)).square().sum())


def test_a_closure_gets_clipped_gradients():
    model = nn.Linear(8, 8)
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), fused=True), clip_grad=dict(max_norm=0.01))

    def closure():
        wrapper.zero_grad()
        loss = model(torch.ones(2, 8)).square().sum()
        loss.backward()
        return loss

    wrapper.step(closure=closure)
    assert torch.stack([p.grad.norm() for p in model.parameters()]).norm() < 0.011


@pytest.mark.parametrize("flatten", [False, True])
def test_a_norm_that_is_not_finite_names_the_parameter(flatten):
    model = nn.Linear(32, 32)
    config = dict(optimizer=dict(type="AdamW"), flatten=flatten, clip_grad=dict(max_norm=1.0, error_if_nonfinite=True))
    wrapper = build_optim_wrapper(model, config)
    model.bias.register_hook(lambda grad: grad * torch.inf)
    with pytest.raises(NonFiniteError, match="'bias'"):
        wrapper.update_params(model(torch.ones(2, 32)).sum())


RULES = [
    dict(module="embedding", clip=0.02),
    dict(match="norm", lr_mult=0.5, clip=0.01),
    dict(match="*.bias", clip=0.01),
]


class Tiny(nn.Module):
    """An embedding, a norm, a projection with a bias."""

    def __init__(self, sparse=False):
        super().__init__()
        self.embed, self.norm, self.head = nn.Embedding(20, 8, sparse=sparse), nn.LayerNorm(8), nn.Linear(8, 20)

    def forward(self, tokens):
        return self.head(self.norm(self.embed(tokens))).square().mean()


def by_hand(model, max_norm=None):
    """Clip as RULES say, then all in common."""
    nn.utils.clip_grad_norm_(model.embed.parameters(), 0.02)
    nn.utils.clip_grad_norm_([model.norm.weight], 0.01)
    nn.utils.clip_grad_norm_([model.norm.bias, model.head.bias], 0.01)
    return max_norm and nn.utils.clip_grad_norm_(model.parameters(), max_norm).item()


def batches(count):
    return [torch.randint(20, (4, 6), generator=torch.Generator().manual_seed(k)) for k in range(count)]


def of_tiny(**settings):
    torch.manual_seed(0)
    model = Tiny()
    settings = dict(optimizer=dict(type="SGD", lr=1.0, momentum=0.9, fused=False)) | settings
    return model, build_optim_wrapper(model, settings | dict(paramwise_cfg=dict(rules=RULES)))


def groups_by_hand(model):
    halved = dict(params=[*model.norm.parameters()], lr=0.5)
    return [dict(params=[model.embed.weight, *model.head.parameters()]), halved]


@pytest.mark.parametrize("max_norm", [None, 0.015])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_rule_clips_its_parameters_as_one_before_the_common_clipping(max_norm, accumulate):
    clip_grad = max_norm and dict(max_norm=max_norm)
    model, wrapper = of_tiny(clip_grad=clip_grad, accumulative_counts=accumulate)
    torch.manual_seed(0)
    other = Tiny()
    optimizer = torch.optim.SGD(groups_by_hand(other), lr=1.0, momentum=0.9)
    for number, tokens in enumerate(batches(9), 1):
        wrapper.update_params(model(tokens))
        (other(tokens) / accumulate).backward()
        if number % accumulate == 0:
            assert wrapper.grad_norm == by_hand(other, max_norm)
            optimizer.step()
            optimizer.zero_grad()
    for one, two in zip(model.parameters(), other.parameters()):
        assert torch.equal(one, two)


def test_a_rule_clips_the_unscaled_gradients_under_amp():
    model, wrapper = of_tiny(type="AmpOptimWrapper", dtype="float16", loss_scale=128.0)
    torch.manual_seed(0)
    other = Tiny()
    optimizer = torch.optim.SGD(groups_by_hand(other), lr=1.0, momentum=0.9)
    for tokens in batches(4):
        with wrapper.optim_context(model):
            loss = model(tokens)
        wrapper.update_params(loss)
        with torch.autocast("cpu", dtype=torch.float16):
            loss = other(tokens)
        (loss * 128).backward()
        for parameter in other.parameters():
            parameter.grad /= 128
        by_hand(other)
        optimizer.step()
        optimizer.zero_grad()
    for one, two in zip(model.parameters(), other.parameters()):
        torch.testing.assert_close(one, two)


def test_a_rule_clips_in_a_fused_step_over_parts_and_after_a_state_without_it_was_loaded():
    muon = dict(type="Muon", lr=0.1, adjust_lr_fn="match_rms_adamw", rest=dict(type="SGD", lr=1.0))
    for optimizer in (dict(type="SGD", lr=1.0), muon):
        torch.manual_seed(0)
        model = nn.Sequential(Tiny().embed, nn.Linear(8, 8), nn.Linear(8, 4))
        plain = build_optim_wrapper(model, dict(optimizer=optimizer))
        rules = [dict(module="embedding", clip=0.5), dict(match="*.bias", clip=0.25)]
        wrapper = build_optim_wrapper(model, dict(optimizer=optimizer, paramwise_cfg=dict(rules=rules)))
        wrapper.load_state_dict(plain.state_dict())
        before = [p.detach().clone() for p in model.parameters()]
        wrapper.update_params(100 * model(batches(1)[0]).square().mean())
        moved = [(p.detach() - b).norm().item() for p, b in zip(model.parameters(), before)]
        assert moved[0] == pytest.approx(0.5, rel=1e-4)
        assert (moved[2] ** 2 + moved[4] ** 2) ** 0.5 == pytest.approx(0.25, rel=1e-4)
        assert moved[3] > 0.25


def test_a_rule_clips_sparse_gradients():
    model = nn.Sequential(nn.Embedding(20, 8, sparse=True), nn.Linear(8, 4))
    cfg = dict(optimizer=dict(type="SGD", lr=1.0), paramwise_cfg=dict(rules=[dict(module="embedding", clip=0.1)]))
    before = model[0].weight.detach().clone()
    build_optim_wrapper(model, cfg).update_params(100 * model(torch.arange(6)).square().mean())
    assert (model[0].weight.detach() - before).norm().item() == pytest.approx(0.1, rel=1e-4)


class Bare(BaseOptimWrapper):
    """A wrapper that does not clip."""

    def update_params(self, loss): ...
    def backward(self, loss): ...
    def step(self): ...
    def zero_grad(self): ...


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (dict(type=Bare), r"paramwise_cfg.rules\[0\].clip: Bare clips nothing by rules"),
        (dict(flatten=True), "flatten: a rule clips the gradients of some parameters"),
        (dict(paramwise_cfg=dict(rules=[dict(ndim=1, clip=-1)])), r"paramwise_cfg.rules\[0\].clip: "),
        (dict(paramwise_cfg=dict(rules=[dict(ndim=1, clip="1")])), r"paramwise_cfg.rules\[0\].clip: "),
    ],
)
def test_a_clip_that_cannot_be_is_an_error(settings, why):
    rules = dict(rules=[dict(ndim=1, clip=1.0)])
    with pytest.raises(ConfigError, match=why):
        build_optim_wrapper(nn.Linear(2, 2), dict(optimizer=dict(type="AdamW"), paramwise_cfg=rules) | settings)


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("optimizer", [dict(type="SGD"), dict(type="SGD", fused=False), dict(type="AdamW")])
@pytest.mark.parametrize("every", [False, True])
def test_hooks_before_the_step_see_the_gradients_that_it_takes(flatten, optimizer, every):
    def change(optimizer, *_):
        params = [p for group in optimizer.param_groups for p in group["params"]]
        seen.append(torch.cat([p.grad.flatten() for p in params]).norm().item())
        for p in params:
            p.grad.add_(0.1)

    def moved(hook):
        torch.manual_seed(0)
        model = nn.Linear(4, 2)
        cfg = dict(optimizer=dict(lr=1.0, **optimizer), clip_grad=dict(max_norm=0.01), flatten=flatten)
        wrapper = build_optim_wrapper(model, cfg)
        add = register_optimizer_step_pre_hook if every else wrapper.optimizer.register_step_pre_hook
        handle = add(hook)
        before = model.weight.detach().clone()
        wrapper.update_params(model(torch.ones(3, 4)).square().mean())
        handle.remove()
        return before - model.weight.detach()

    seen = []
    apart = moved(change) - moved(lambda *_: None)
    assert seen == [pytest.approx(0.01, rel=1e-3)]
    if optimizer["type"] == "SGD":
        assert torch.allclose(apart, torch.tensor(0.1), atol=1e-6)


def test_by_the_largest_number_an_empty_parameter_is_none():
    params = [nn.Parameter(torch.tensor([3.0, -4.0])), nn.Parameter(torch.zeros(0, 3))]
    wrapper = OptimWrapper(torch.optim.SGD(params, lr=1.0), clip_grad=dict(max_norm=1.0, norm_type="inf"))
    wrapper.update_params((params[0] * torch.tensor([2.0, -4.0])).sum() + params[1].sum())
    assert wrapper.grad_norm == 4
    assert params[0].tolist() == pytest.approx([2.5, -3.0])


def test_complex_gradients_are_clipped_by_the_norm_alone():
    weight = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    wrapper = OptimWrapper(torch.optim.SGD([weight], lr=1.0), clip_grad=dict(clip_value=1.0))
    with pytest.raises(OptimzooError, match="complex gradients have no order, and are clipped by the norm alone"):
        wrapper.update_params((weight * 3).abs().sum())
