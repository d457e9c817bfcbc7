"""What users and hooks do to groups, states and gradients between flat steps acts as between plain ones."""

import copy

import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper
from tests.core.flat.plays import ADAMW, assert_same

X = torch.ones(2, 32)
MUON = dict(type="Muon", lr=0.01, rest=dict(type="NAdam", lr=0.01))


def left_out(model, wrapper):
    group = next(g for g in wrapper.optimizer.param_groups if any(p is model[3].bias for p in g["params"]))
    group["params"] = [p for p in group["params"] if p is not model[3].bias]
    return group


def moved(model, wrapper):
    group = left_out(model, wrapper)
    of_part = {"part": group["part"]} if "part" in group else {}
    wrapper.optimizer.add_param_group(dict(params=[model[3].bias], param_names=["3.bias"], lr=0.0, **of_part))


def reversed_groups(model, wrapper):
    wrapper.optimizer.param_groups.reverse()


def dropped_group(model, wrapper):
    wrapper.optimizer.param_groups.pop(0)


def reset_state(model, wrapper):
    for value in wrapper.optimizer.state[model[3].bias].values():
        if isinstance(value, torch.Tensor):
            value.zero_()


def reset_step(model, wrapper):
    wrapper.optimizer.state[model[2].bias]["step"].fill_(1)


def joined_state(model, wrapper):
    state = wrapper.optimizer.state[model[2].bias]
    state |= {"exp_avg": torch.ones(32)}


def by_closure(model, wrapper):
    def closure():
        wrapper.zero_grad()
        loss = model(X).square().mean()
        loss.backward()
        return loss

    for _ in range(3):
        wrapper.step(closure=closure)
        wrapper.zero_grad()


@pytest.mark.parametrize("settings", [{}, dict(clip_grad=dict(max_norm=0.1)), dict(clip_grad=dict(clip_value=0.01))])
@pytest.mark.parametrize("optimizer", [ADAMW, dict(type="NAdam", lr=0.01), MUON], ids=lambda cfg: cfg["type"])
@pytest.mark.parametrize(
    "how",
    [left_out, moved, reversed_groups, dropped_group, reset_state, reset_step, joined_state, by_closure],
    ids=lambda how: how.__name__,
)
def test_it_is_as_with_plain_steps(how, optimizer, settings):
    ends = []
    for flatten in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(*(nn.Linear(32, 32) for _ in range(8)))
        rules = dict(bias_lr_mult=2.0)
        cfg = dict(optimizer=copy.deepcopy(optimizer), paramwise_cfg=rules, flatten=flatten, **settings)
        wrapper = build_optim_wrapper(model, cfg)
        for i in range(6):
            wrapper.update_params(model(X).square().mean())
            if i == 2:
                how(model, wrapper)
        ends.append((model.state_dict(), {n: dict(wrapper.optimizer.state[p]) for n, p in model.named_parameters()}))
    assert_same(*ends)


def test_hooks_of_a_part_see_its_parameters():
    ends = []
    for flatten in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(*(nn.Linear(32, 32) for _ in range(8)))
        wrapper = build_optim_wrapper(model, dict(optimizer=copy.deepcopy(MUON), flatten=flatten))
        rest, seen = wrapper.optimizer.parts["rest"], []
        rest.register_step_pre_hook(lambda *_, model=model: setattr(model[5].bias, "grad", None))
        for register in (rest.register_step_pre_hook, rest.register_step_post_hook):
            register(lambda part, *_, seen=seen: seen.append(len(part.param_groups[0]["params"])))
        for _ in range(4):
            wrapper.update_params(model(X).square().mean())
        ends.append((model.state_dict(), seen))
    assert ends[0][1] == ends[1][1]
    assert_same(ends[0][0], ends[1][0])


def test_memory_that_somebody_keeps_is_left_to_them():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(32, 32) for _ in range(8)))
    wrapper = build_optim_wrapper(model, dict(optimizer=ADAMW, flatten=True))
    kept, norms = [], []
    for _ in range(4):
        model(X).square().mean().backward()
        wrapper.step()
        kept.append(model[0].weight.grad.detach())
        norms.append(float(kept[-1].norm()))
        wrapper.zero_grad()
    assert [float(grad.norm()) for grad in kept] == norms
    state = model.state_dict()
    wrapper.load_state_dict(copy.deepcopy(wrapper.state_dict()))
    for _ in range(2):
        wrapper.update_params(model(X).square().mean())
    assert_same(state, model.state_dict())


def test_a_model_without_numbers_is_built():
    wrapper = build_optim_wrapper(nn.Linear(32, 32, device="meta"), dict(optimizer=ADAMW, flatten=True))
    assert wrapper.optimizer.param_groups[0]["params"][0].is_meta
