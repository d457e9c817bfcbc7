"""A model, what may happen to it between two updates, and whether the flat step gives the same as the plain one."""

import copy
import io

import torch
from torch import nn
from torch.utils._pytree import tree_flatten_with_path

from optimzoo import build_optim_wrapper

ADAMW = dict(type="AdamW", weight_decay=0.1)


class Model(nn.Module):
    """Tied weights, two branches, a convolution in another layout, and sizes that no buffer takes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(8, 16, 3)
        self.inner, self.norm, self.back = nn.Linear(16, 32), nn.LayerNorm(32), nn.Linear(32, 16)
        self.branches = nn.ModuleList(nn.Linear(16, 64) for _ in range(2))
        self.tied = nn.Linear(16, 64)
        self.tied.weight = self.branches[0].weight
        self.odd = nn.Linear(64, 5)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x, branches=(0, 1)):
        x = self.back(self.norm(self.inner(self.conv(x).mean((2, 3)))).relu())
        return self.odd(sum(self.branches[n](x) for n in branches) + self.tied(x)) * self.scale


def batch(i, size=4):
    return torch.randn(size, 8, 5, 5, generator=torch.Generator().manual_seed(i))


def loss_of(model, i, *args):
    return model(batch(i), *args).square().mean()


def plain(model, wrapper, i):
    wrapper.update_params(loss_of(model, i))


def branches_at_times(model, wrapper, i):
    wrapper.update_params(loss_of(model, i, [(0, 1), (0,), (1,)][(i // 7) % 3]))


def late_branch(model, wrapper, i):
    wrapper.update_params(loss_of(model, i, (0,) if i < 20 else (0, 1)))


def frozen_for_a_while(model, wrapper, i):
    model.inner.requires_grad_(not 10 <= i < 25)
    plain(model, wrapper, i)


def cleared_by_the_user(model, wrapper, i):
    wrapper.optimizer.zero_grad(set_to_none=bool(i % 2))
    loss_of(model, i).backward()
    wrapper.step()


def kept_zero(model, wrapper, i):
    wrapper.update_params(loss_of(model, i), zero_kwargs=dict(set_to_none=False))


def assigned(model, wrapper, i):
    for n, parameter in enumerate(model.parameters()):
        values = batch(i + n, parameter.numel()).flatten()
        parameter.grad = torch.empty_like(parameter).copy_(values[: parameter.numel()].view(parameter.shape))
    wrapper.step()


def moved(model, wrapper, i):
    if i in (9, 20):
        for parameter in model.parameters():
            parameter.data = parameter.data.clone() * 1.5
    plain(model, wrapper, i)


def loaded(model, wrapper, i):
    if i == 10:
        model.load_state_dict({key: value * 0.5 for key, value in model.state_dict().items()})
    plain(model, wrapper, i)


def state_changed(model, wrapper, i):
    plain(model, wrapper, i)
    if i in (8, 16):
        for name in ("inner", "norm"):
            state = wrapper.optimizer.state[getattr(model, name).weight]
            for key, value in state.items():
                if i == 8 and isinstance(value, torch.Tensor) and value.ndim:
                    state[key] = value * 0.5
            if i == 16:
                wrapper.optimizer.state.pop(getattr(model, name).weight)


def stepped_by_hand(model, wrapper, i):
    if i % 9 == 8:
        wrapper.optimizer.zero_grad()
        loss_of(model, i).backward()
        wrapper.optimizer.step()
        wrapper.optimizer.zero_grad()
    else:
        plain(model, wrapper, i)


def joined_later(model, wrapper, i):
    if i == 7:
        model.extra = nn.Linear(5, 32)
        nn.init.constant_(model.extra.weight, 0.1)
        nn.init.constant_(model.extra.bias, 0.1)
        group = dict(params=[*model.extra.parameters()], param_names=["extra.weight", "extra.bias"], lr=0.01)
        of_parts = hasattr(wrapper.optimizer, "parts")
        wrapper.optimizer.add_param_group({**group, "part": "rest"} if of_parts else group)
    out = model(batch(i))
    wrapper.update_params((model.extra(out) if i >= 7 else out).square().mean())


def resumed(model, wrapper, i):
    if i == 13:
        file = io.BytesIO()
        torch.save(wrapper.state_dict(), file)
        file.seek(0)
        wrapper.load_state_dict(torch.load(file, weights_only=True))
    plain(model, wrapper, i)


def scheduled(model, wrapper, i):
    for n, group in enumerate(wrapper.optimizer.param_groups):
        group["lr"] *= 0.97 if n else 1.02
    plain(model, wrapper, i)


def triple(parameter):
    parameter.grad.mul_(3)


def hooks_on_gradients(model, wrapper, i):
    if i == 0:
        model.inner.weight.register_hook(lambda grad: grad * 2)
        model.norm.weight.register_post_accumulate_grad_hook(triple)
    plain(model, wrapper, i)


def hooks_on_steps(model, wrapper, i):
    if i == 0:
        model.average = copy.deepcopy([*model.parameters()])

        def follow(optimizer, *_):
            for group in optimizer.param_groups:
                assert sum(len(g["param_names"]) for g in optimizer.param_groups) == len(model.average)
                assert len(group["params"]) == len(group["param_names"])
            for mean, parameter in zip(model.average, model.parameters()):
                mean.data.lerp_(parameter.data, 0.1)

        def halve(optimizer, *_):
            for parameter in optimizer.param_groups[0]["params"]:
                parameter.grad = None if parameter.grad is None else parameter.grad * 0.5

        wrapper.optimizer.register_step_post_hook(follow)
        wrapper.optimizer.register_step_pre_hook(halve)
    plain(model, wrapper, i)


def nonfinite(model, wrapper, i):
    wrapper.update_params(loss_of(model, i) * (torch.inf if i % 5 == 3 else 1))


def weighted(model, wrapper, i):
    wrapper.update_params(loss_of(model, i), weight=i % 4 + 1)


def converted(model, wrapper, i):
    if i == 12:
        model.to(torch.float64)
        for state in wrapper.optimizer.state.values():
            state.update(
                {key: value.double() for key, value in state.items() if key.startswith(("exp_avg", "momentum"))}
            )
    wrapper.update_params(model(batch(i).to(model.inner.weight.dtype)).square().mean())


OPTIMIZERS = [
    dict(type="AdamW"),
    dict(type="AdamW", amsgrad=True, foreach=True),
    dict(type="Adam", weight_decay=0.1),
    dict(type="SGD", lr=0.01, fused=False),
    dict(type="SGD", lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.1, fused=False),
    dict(type="Adagrad"),
    dict(type="NAdam"),
    dict(type="RAdam"),
    dict(type="Adamax"),
    dict(type="RMSprop", momentum=0.9, centered=True),
    dict(type="ASGD"),
    dict(type="Adadelta"),
    dict(type="Lion", lr=1e-3, weight_decay=0.1),
    dict(type="bitsandbytes.Adam"),
    dict(type="bitsandbytes.RMSprop"),
    dict(type="pytorch_optimizer.AdaBelief"),
    dict(type="pytorch_optimizer.ADOPT"),
    dict(type="pytorch_optimizer.ADOPT", weight_decay=0.1),  # which writes into gradients
    dict(type="optimi.AdamW", lr=1e-3),
    dict(type="optimi.Adan", lr=1e-3),
    dict(type="adam_atan2_pytorch.AdamAtan2"),
    dict(type="torch_optimizer.DiffGrad"),
    dict(type="madgrad.MADGRAD", lr=1e-3),
]
RULES = dict(custom_keys={"branches": dict(lr_mult=0.5)}, bypass_duplicate=True)
CLIP = dict(clip_grad=dict(max_norm=0.05))
AMP = dict(type="AmpOptimWrapper", dtype="float16", loss_scale=dict(init_scale=2.0**40, growth_interval=3), **CLIP)
PLAYS = [
    (branches_at_times, CLIP),
    (late_branch, {}),
    (frozen_for_a_while, CLIP),
    (cleared_by_the_user, {}),
    (kept_zero, CLIP),
    (assigned, CLIP),
    (moved, {}),
    (loaded, {}),
    (state_changed, {}),
    (stepped_by_hand, CLIP),
    (joined_later, CLIP),
    (resumed, {}),
    (scheduled, {}),
    (hooks_on_gradients, CLIP),
    (hooks_on_steps, {}),
    (nonfinite, dict(nonfinite="skip", **CLIP)),
    (weighted, dict(accumulative_counts=3, **CLIP)),
    (converted, CLIP),
    (plain, AMP),
    (plain, dict(accumulative_counts=4, clip_grad=dict(clip_value=1e-3))),
    (plain, dict(clip_grad=dict(max_norm=0.05, norm_type=1.0))),
    (plain, dict(clip_grad=dict(max_norm=0.05, norm_type="inf"))),
]


def play(optimizer, how, settings, flatten, steps):
    model = Model()
    if "bitsandbytes" not in optimizer["type"]:  # which undoes it, and does not take a parameter of no dimension
        model.conv.to(memory_format=torch.channels_last)
    rules = dict(RULES, norm_decay_mult=0.0) if optimizer.get("weight_decay") else RULES
    cfg = dict(optimizer=optimizer, paramwise_cfg=rules, flatten=flatten, **settings)
    wrapper = build_optim_wrapper(model, cfg)
    norms = []
    for i in range(steps):
        how(model, wrapper, i)
        norms.append(wrapper.grad_norm)
    return model, wrapper, norms


def storages(model):
    return {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}


def assert_same(one, other):
    one, other = (dict(tree_flatten_with_path(each)[0]) for each in (one, other))
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]) if isinstance(value, torch.Tensor) else value == other[key], key


def assert_alike(optimizer, how, settings, steps, compiled=False):
    """Assert that the flat steps, as they are or as a compiled function of their operations, are the plain ones."""
    ends = [play(optimizer, how, settings, False, steps)]
    ends.append(play(optimizer, how, dict(settings, compile=compiled), True, steps))
    for model, wrapper, norms in ends:
        if how is not joined_later:
            assert wrapper.update_count + wrapper.skipped_count > 2
        assert_same(ends[0][0].state_dict(), model.state_dict())
        assert_same(ends[0][1].state_dict(), wrapper.state_dict())
        assert norms == ends[0][2]
        assert wrapper.skipped_count == ends[0][1].skipped_count
    assert_same([*getattr(ends[0][0], "average", ())], [*getattr(ends[1][0], "average", ())])
    assert len(storages(ends[1][0])) < len(storages(ends[0][0])) - 3  # parameters were joined indeed
