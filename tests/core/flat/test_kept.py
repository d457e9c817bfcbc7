"""What a flat step leaves as it is: checkpoints, copies, memory of others, errors; and whom it refuses."""

import copy
import pickle

import pytest
import torch
from torch import nn

from optimzoo import AmpOptimWrapper, OptimWrapper, StepOutcome, build_optim_wrapper
from optimzoo.errors import ConfigError, NonFiniteError
from tests.core.flat.plays import (
    ADAMW,
    CLIP,
    RULES,
    Model,
    assert_same,
    batch,
    branches_at_times,
    loss_of,
    plain,
    play,
    storages,
)


@pytest.mark.parametrize(
    ("optimizer", "why"),
    [
        (dict(type="Adafactor"), "a number moves otherwise in another parameter"),
        (dict(type="pytorch_optimizer.StableAdamW"), "a number moves otherwise in another parameter"),
        (dict(type="AdamP"), "a number moves otherwise in another parameter"),
        (dict(type="pytorch_optimizer.SGDP"), "a number moves otherwise in another parameter"),
        (dict(type="torch_optimizer.LARS", lr=0.1, weight_decay=0.1), "LARS, with weight_decay=0.1, moves"),
        (dict(type="Adam8bit"), "a number moves otherwise in another parameter"),
        (dict(type="bitsandbytes.Adam", optim_bits=8), "'state1' is torch.uint8"),
        (dict(type="bitsandbytes.AdEMAMix"), "'state1' is torch.float32 of the shape"),
        (dict(type="LBFGS"), "evaluates the loss itself"),
        (dict(type="SophiaG"), "estimates the diagonal"),
        (dict(type="DAdaptLion"), "adapts one step size over all groups"),
        (dict(type="AdamWScheduleFree"), "trains other parameters"),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_an_optimizer_that_cannot_be_flattened_is_refused_with_the_reason(optimizer, why):
    with pytest.raises(ConfigError, match=why) as raised:
        build_optim_wrapper(nn.Linear(64, 64), dict(optimizer=optimizer, flatten=True))
    assert raised.value.path == "optim_wrapper.flatten"


def test_what_is_known_of_a_decay_alone_is_no_reason_without_one():
    cfg = dict(optimizer=dict(type="torch_optimizer.LARS", lr=0.1), flatten=True)
    assert build_optim_wrapper(nn.Linear(64, 64), cfg).state_dict()["state"] == {}


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (64, "flatten joins 40 of 40 parameters in 1 buffers"),
        (256, "flatten joins 20 of 40 parameters in 1 buffers: the others would not gain by it"),
        (10, "flatten joins 0 of 40 parameters in 0 buffers: the others would not gain by it, or fill no whole rows"),
    ],
)
def test_how_many_parameters_are_joined_is_logged_once_there_are_gradients(size, told, caplog):
    caplog.set_level("INFO", logger="optimzoo")
    model = nn.Sequential(*(nn.Linear(size, size) for _ in range(20)))
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="NAdam"), flatten=True))
    wrapper.step()
    for _ in range(3):
        wrapper.update_params(model(torch.ones(1, size)).sum())
    (message,) = (record.message for record in caplog.records if "joins" in record.message)
    assert message.startswith(told)


class Odd(torch.optim.SGD):
    """Moves a number by the mean over its parameter from its tenth step on."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["count"] = group.get("count", 0) + 1
            for parameter in group["params"]:
                parameter.sub_(parameter.mean() * (group["count"] > 9))
        return super().step(closure)


class Projects(torch.optim.SGD):
    """Makes gradients that are nearly at right angles to their weights so, as AdamP and SGDP do."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                share = (parameter.grad * parameter).sum() / parameter.square().sum()
                near = share.abs() * parameter.norm() < 1e-3 * parameter.grad.norm()
                parameter.grad = parameter.grad - parameter * share * near
        return super().step(closure)


def test_an_optimizer_that_nobody_has_measured_is_tried_with_its_own_arguments():
    model = nn.Linear(64, 64)
    with pytest.raises(ConfigError, match="Odd, with the arguments that it has"):
        OptimWrapper(Odd(model.parameters(), lr=0.1), flatten=True)
    with pytest.raises(ConfigError, match="Projects, with the arguments that it has"):
        OptimWrapper(Projects(model.parameters(), lr=0.1), flatten=True)
    with pytest.raises(ConfigError, match="state of AdaBelief is not .*adanorm"):
        build_optim_wrapper(model, dict(optimizer=dict(type="pytorch_optimizer.AdaBelief", adanorm=True), flatten=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("optimizer", [dict(type="SGD", lr=0.01, fused=False), dict(type="Lion", lr=1e-3)], ids=str)
def test_gradients_of_another_layout_are_stepped_as_torch_steps_them(dtype, optimizer):
    ends = []
    for flatten in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(8, 16, 2), nn.Linear(64, 64), nn.Linear(64, 32)).to(dtype)
        model.to(memory_format=torch.channels_last)
        wrapper = build_optim_wrapper(model, dict(optimizer=optimizer, flatten=flatten))
        for i in range(5):
            for n, p in enumerate(model.parameters()):
                p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(10 * i + n)).to(dtype)
            wrapper.step()
        ends.append(model.state_dict())
    assert_same(*ends)


@pytest.mark.parametrize("optimizer", [ADAMW, dict(type="NAdam"), dict(type="Lion", lr=1e-3)], ids=lambda o: o["type"])
@pytest.mark.parametrize("flat_first", [True, False])
def test_a_checkpoint_of_one_goes_on_in_the_other(optimizer, flat_first):
    model, wrapper, _ = play(optimizer, branches_at_times, {}, flat_first, 10)
    other, second, _ = play(optimizer, plain, {}, not flat_first, 3)
    other.load_state_dict(model.state_dict())
    second.load_state_dict(pickle.loads(pickle.dumps(wrapper.state_dict())))
    for i in range(10, 20):
        branches_at_times(model, wrapper, i)
        branches_at_times(other, second, i)
    assert_same(model.state_dict(), other.state_dict())
    assert_same(wrapper.state_dict()["state"], second.state_dict()["state"])


@pytest.mark.parametrize(("optimizer", "least"), [("AdamW", 12), ("Lion", 3)])
def test_few_parameters_are_stepped_as_they_are_until_there_are_more(optimizer, least, monkeypatch):
    monkeypatch.undo()
    models = [nn.ParameterList(nn.Parameter(torch.ones(64)) for _ in range(least - 1)) for _ in range(2)]
    cfg = dict(optimizer=dict(type=optimizer, lr=0.01))
    wrappers = [build_optim_wrapper(model, dict(cfg, flatten=f)) for model, f in zip(models, (False, True))]
    for i in range(6):
        for model, wrapper in zip(models, wrappers):
            for n in range(least if i == 3 else 0):
                model.append(nn.Parameter(torch.ones(64)))
                wrapper.optimizer.param_groups[0]["params"].append(model[-1])
                wrapper.optimizer.param_groups[0]["param_names"].append(f"late{n}")
            wrapper.update_params(sum(parameter.square().sum() for parameter in model))
        assert_same(models[0].state_dict(), models[1].state_dict())
        assert len(storages(models[1])) == (least - 1 if i < 3 else least)


def test_what_was_joined_is_joined_again_after_a_checkpoint_was_loaded():
    model, wrapper, _ = play(ADAMW, plain, {}, True, 5)
    loss_of(model, 5).backward()
    before = len(wrapper._flat.gather())
    wrapper.load_state_dict(copy.deepcopy(wrapper.state_dict()))
    assert len(wrapper._flat.gather()) == before < len([*model.parameters()])


def test_of_several_parts_those_are_flattened_that_can_be():
    model = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64)) for _ in range(3)))
    muon = dict(type="Muon", rest=dict(type="Lion", lr=1e-4))
    for clip in (dict(max_norm=0.1), dict(max_norm=0.1, parts=["rest"]), dict(clip_value=1e-3)):
        models = [copy.deepcopy(model) for _ in range(2)]
        cfg = dict(optimizer=muon, clip_grad=clip)
        wrappers = [build_optim_wrapper(m, dict(cfg, flatten=f)) for m, f in zip(models, (False, True))]
        for i in range(20):
            x = torch.randn(4, 64, generator=torch.Generator().manual_seed(i))
            for each, wrapper in zip(models, wrappers):
                wrapper.update_params(each(x).square().mean())
        assert_same(models[0].state_dict(), models[1].state_dict())
        assert wrappers[0].grad_norm == wrappers[1].grad_norm
        assert len({p.untyped_storage().data_ptr() for p in models[1].parameters()}) == 3 + 1  # matrices, and the rest


def test_parts_none_of_which_can_be_flattened_are_refused_and_none_is_compiled():
    model = nn.Linear(64, 64)
    muon = dict(type="Muon", rest=dict(type="Adafactor"))
    with pytest.raises(ConfigError, match="a number moves otherwise in another parameter"):
        build_optim_wrapper(model, dict(optimizer=muon, flatten=True))
    with pytest.raises(ConfigError, match="several parts is not compiled"):
        build_optim_wrapper(model, dict(optimizer=dict(type="Muon", rest=ADAMW), flatten=True, compile=True))


@pytest.mark.parametrize("optimizer", [ADAMW, dict(type="Muon", rest=ADAMW)], ids=lambda o: o["type"])
def test_a_copied_or_pickled_wrapper_goes_on_as_the_original(optimizer):
    model, wrapper, _ = play(optimizer, plain, CLIP, True, 5)
    for joined, copied in ((True, copy.deepcopy), (False, lambda both: pickle.loads(pickle.dumps(both)))):
        plain(model, wrapper, 5)
        twin, second = copied((model, wrapper))
        for i in range(6, 9):
            plain(model, wrapper, i)
            plain(twin, second, i)
        assert_same(model.state_dict(), twin.state_dict())
        assert not joined or len(storages(twin)) < len([*twin.parameters()]) - 3
        assert len(wrapper._flat.gather()) == len(second._flat.gather())


def test_a_copied_optimizer_shares_nothing_with_the_one_that_is_flat():
    _, wrapper, _ = play(ADAMW, plain, {}, True, 5)
    state = copy.deepcopy(wrapper.optimizer).state
    steps = [entry["step"] for entry in state.values()]
    assert len({step.data_ptr() for step in steps}) == len(steps)
    assert all(type(entry) is dict and entry["step"] == 5 for entry in state.values())


def test_a_parameter_whose_memory_others_use_stays_where_it_is():
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64))
    model[1].weight.data = model[0].weight.data  # tied without torch's knowing
    kept = model.state_dict()["2.weight"]
    wrapper = build_optim_wrapper(model, dict(optimizer=ADAMW, flatten=True))
    for _ in range(3):
        wrapper.update_params(model(torch.randn(2, 64)).sum())
    assert torch.equal(model[0].weight, model[1].weight)
    assert torch.equal(kept, model[2].weight)
    assert len(storages(model)) == 3  # two weights of one memory, one weight, three biases in a buffer


def test_gradients_that_somebody_keeps_do_not_change():
    model, wrapper, _ = play(ADAMW, plain, {}, True, 3)
    loss_of(model, 3).backward()
    wrapper.step()
    kept = [parameter.grad for parameter in model.parameters()]
    before = [grad.clone() for grad in kept]
    wrapper.zero_grad()
    plain(model, wrapper, 4)
    assert all(map(torch.equal, kept, before))


def test_gradients_after_a_step_are_the_clipped_ones():
    model, wrapper, _ = play(ADAMW, plain, CLIP, True, 3)
    loss_of(model, 3).backward()
    wrapper.step()
    norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
    assert wrapper.grad_norm > 0.05
    assert norm.item() == pytest.approx(0.05, rel=1e-3)


def test_a_graph_from_before_a_step_is_refused_after_it():
    model, wrapper, _ = play(ADAMW, plain, {}, True, 3)
    old = loss_of(model, 3)
    plain(model, wrapper, 4)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        old.backward()


def test_the_parameter_whose_gradient_is_not_finite_is_named():
    model, wrapper, _ = play(ADAMW, plain, dict(nonfinite="raise"), True, 3)
    model.back.weight.register_hook(lambda grad: grad * torch.nan)
    with pytest.raises(NonFiniteError, match=r"'back\.weight'"):
        plain(model, wrapper, 3)


def test_a_step_that_fails_leaves_the_groups_as_they_were():
    model, wrapper, _ = play(ADAMW, plain, {}, True, 3)
    group = wrapper.optimizer.param_groups[0]
    betas, group["betas"] = group["betas"], None
    loss_of(model, 3).backward()
    with pytest.raises(TypeError):
        wrapper.step()
    held = [parameter for group in wrapper.optimizer.param_groups for parameter in group["params"]]
    assert {*map(id, held)} == {*map(id, model.parameters())}
    group["betas"] = betas
    wrapper.step()


def test_a_compiled_model_is_not_compiled_again():
    model, seen = Model(), []

    def backend(graph, _):
        seen.append(graph)
        return graph

    wrapper = build_optim_wrapper(model, dict(optimizer=ADAMW, flatten=True, paramwise_cfg=RULES))
    compiled = torch.compile(model, backend=backend)
    counts = []
    for i in range(4):
        assert wrapper.update_params(compiled(batch(i)).square().mean()) is StepOutcome.UPDATED
        counts.append(len(seen))
    torch._dynamo.reset()
    assert counts[0] == counts[-1] > 0


def test_gradients_may_be_parts_of_the_buckets_of_processes(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        for as_parts in (False, True):
            ends = []
            for flatten in (False, True):
                model = Model()
                spread = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=as_parts)
                wrapper = build_optim_wrapper(
                    model, dict(optimizer=ADAMW, flatten=flatten, accumulative_counts=2, paramwise_cfg=RULES, **CLIP)
                )
                for i in range(12):
                    with wrapper.optim_context(spread):
                        loss = spread(batch(i)).square().mean()
                    wrapper.update_params(loss)
                ends.append(model)
            assert_same(ends[0].state_dict(), ends[1].state_dict())
            assert len(storages(ends[1])) < len(storages(ends[0]))
    finally:
        torch.distributed.destroy_process_group()


def test_the_wrapper_of_mixed_precision_takes_it_too():
    parameters = [*nn.Linear(64, 64).parameters()]
    assert AmpOptimWrapper(optimizer=torch.optim.AdamW(parameters), flatten=True).state_dict()["state"] == {}
    with pytest.raises(ConfigError, match="flatten"):
        OptimWrapper(torch.optim.AdamW(parameters), flatten="yes")


class CountsParameters(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, dict(lr=lr))
        self.count = 0

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                self.count += 1
                parameter.sub_(parameter.grad / self.count, alpha=group["lr"])


def test_an_optimizer_without_settings_but_a_rate_is_tried_too():
    with pytest.raises(ConfigError, match="CountsParameters.*moves a number otherwise in another parameter"):
        OptimWrapper(CountsParameters(nn.Linear(32, 32).parameters(), lr=0.1), flatten=True)
