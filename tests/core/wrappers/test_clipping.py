"""Clipping in the kernel of a fused step equals clipping before it, but for the last bits."""

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, build_optim_wrapper
from optimzoo.errors import NonFiniteError

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
