"""An update uses the gradients of its own losses, whatever else was back-propagated."""

import copy
import sys
import warnings
from contextlib import nullcontext
from types import ModuleType

import pytest
import torch
from torch import nn

from optimzoo import AmpOptimWrapper, OptimWrapper, OptimWrapperDict, StepOutcome, build_optim_wrapper
from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning

X = torch.randn(20, 8, 2, generator=torch.Generator().manual_seed(0))
SGD = dict(type="SGD", lr=0.1, momentum=0.9, fused=False)  # which by hand is rounded alike: the weights grow large
ADAM = dict(type="Adam", lr=0.01)


def gan():
    torch.manual_seed(0)
    return nn.ModuleDict(dict(generator=nn.Linear(2, 2), discriminator=nn.Linear(2, 1)))


def losses(model, x):
    fake = model["generator"](x)
    discriminator = model["discriminator"]
    yield "discriminator", lambda: discriminator(fake.detach()).mean() - discriminator(x + 1).square().mean()
    yield "generator", lambda: -discriminator(fake).mean()


def by_hand(model, cfg, counts=1):
    """Each window's losses are back-propagated when no gradient is anywhere, and no other's come between."""
    cls = getattr(torch.optim, cfg["type"])
    optimizers = {k: cls(model[k].parameters(), **{a: v for a, v in cfg.items() if a != "type"}) for k in model}
    kept = {k: [None for _ in model[k].parameters()] for k in model}
    for number, x in enumerate(X, 1):
        for name, loss in losses(model, x):
            grads = torch.autograd.grad(loss() / counts, list(model[name].parameters()))
            kept[name] = [g if k is None else k + g for k, g in zip(kept[name], grads)]
            if number % counts == 0:
                for parameter, grad in zip(model[name].parameters(), kept[name]):
                    parameter.grad = grad
                optimizers[name].step()
                kept[name] = [None for _ in grads]
    return model


def assert_close(mine, theirs, atol=1e-6):
    for (name, ours), other in zip(mine.named_parameters(), theirs.parameters()):
        assert torch.allclose(ours, other, rtol=0, atol=atol), name


@pytest.mark.parametrize("counts", [1, 2, 5])
@pytest.mark.parametrize("cfg", [ADAM, SGD], ids=lambda cfg: cfg["type"])
class TestTwoMembersInTurn:
    def test_they_train_as_a_loop_that_clears_before_each_backward_pass(self, cfg, counts):
        model, twin = gan(), gan()
        member = dict(optimizer=cfg, accumulative_counts=counts)
        wrappers = build_optim_wrapper(model, dict(generator=member, discriminator=member))
        for x in X:
            for name, loss in losses(model, x):
                wrappers[name].update_params(loss())
        assert_close(model, by_hand(twin, cfg, counts))

    def test_so_they_do_under_scales_that_differ(self, cfg, counts):
        model, twin = gan(), gan()
        member = dict(type="AmpOptimWrapper", optimizer=cfg, accumulative_counts=counts, dtype="float16")
        scales = dict(generator=2.0**16, discriminator=2.0**4)
        wrappers = build_optim_wrapper(model, {k: dict(member, loss_scale=s) for k, s in scales.items()})
        for x in X:
            for name, loss in losses(model, x):
                assert wrappers[name].update_params(loss()) is not StepOutcome.SKIPPED
        assert_close(model, by_hand(twin, cfg, counts), atol=1e-5)

    def test_so_they_do_by_the_parts_of_an_update(self, cfg, counts):
        model, twin = gan(), gan()
        member = dict(optimizer=cfg, accumulative_counts=counts)
        wrappers = build_optim_wrapper(model, dict(generator=member, discriminator=member))
        for x in X:
            for name, loss in losses(model, x):
                wrapper = wrappers[name]
                wrapper.backward(wrapper.scale_loss(loss()))
                if wrapper.should_update():
                    wrapper.step()
                    wrapper.zero_grad()
        assert_close(model, by_hand(twin, cfg, counts))


def three(**kwargs):
    torch.manual_seed(0)
    model = nn.ModuleDict(dict(body=nn.Linear(2, 4), a=nn.Linear(4, 1), b=nn.Linear(4, 1)))
    cfg = dict(optimizer=SGD, **kwargs)
    return model, build_optim_wrapper(model, dict(body=cfg, a=cfg, b=cfg))


class TestASharedBody:
    def test_its_own_loss_drops_what_the_heads_losses_left(self):
        (model, wrappers), (twin, _) = three(), three()
        hand = {k: torch.optim.SGD(twin[k].parameters(), lr=0.1, momentum=0.9) for k in twin}

        def of(model, head, x):
            return (model[head](model["body"](x)) - 1).square().mean()

        for x in X:
            for head in "ab":
                wrappers[head].update_params(of(model, head, x))
            wrappers["body"].update_params(of(model, "a", x) + of(model, "b", x))
            for names, loss in (("a", "a"), ("b", "b"), (["body"], "ab")):
                twin.zero_grad()
                sum(of(twin, head, x) for head in loss).backward()
                for name in names:
                    hand[name].step()
        assert_close(model, twin)

    def test_without_a_loss_of_its_own_its_step_uses_theirs(self):
        (model, wrappers), (twin, _) = three(), three()
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
        for x in X:
            features = model["body"](x)
            wrappers["a"].update_params(model["a"](features).square().mean())
            wrappers["b"].update_params(model["b"](model["body"](x)).square().mean())
            wrappers["body"].step()
            wrappers["body"].zero_grad()
            optimizer.zero_grad()
            twin["a"](twin["body"](x)).square().mean().backward()
            twin["b"](twin["body"](x)).square().mean().backward()
            optimizer.step()
        # b's loss meets a body that has not moved: the body steps last in both
        assert_close(model, twin)

    @pytest.mark.parametrize("body", [256.0, 128.0, None])
    @pytest.mark.parametrize("head", [256.0, None])
    def test_gradients_under_another_scale_are_no_ones_to_use(self, head, body):
        amp = dict(type="AmpOptimWrapper", dtype="float16")
        model, _ = three()
        cfgs = dict(body=body, a=head, b=head)
        cfgs = {k: dict(optimizer=SGD, **(dict(amp, loss_scale=scale) if scale else {})) for k, scale in cfgs.items()}
        wrappers = build_optim_wrapper(model, cfgs)
        for number, name in enumerate(("a", "b")):
            wrappers[name].update_params(model[name](model["body"](X[number])).mean())
        refused = pytest.raises(OptimzooError, match="another member's loss, not under the scale of this one's")
        with refused if head or body else nullcontext():
            wrappers["body"].step()

    @pytest.mark.parametrize("counts", [1, 3])
    def test_zeros_that_a_member_keeps_take_what_others_leave(self, counts):
        (model, wrappers), twin = three(accumulative_counts=counts), three()[0]
        grads = {name: [] for name in wrappers}
        optimizers = {name: torch.optim.SGD(twin[name].parameters(), lr=0.1, momentum=0.9) for name in wrappers}
        for number, x in enumerate(X):
            name = ("a", "b", "body")[number % 3]
            loss = [each["a" if name == "body" else name](each["body"](x)).square().mean() for each in (model, twin)]
            outcome = wrappers[name].update_params(loss[0], zero_kwargs=dict(set_to_none=False))
            grads[name].append(torch.autograd.grad(loss[1], list(twin[name].parameters())))
            if outcome is StepOutcome.UPDATED:
                for parameter, *own in zip(twin[name].parameters(), *grads.pop(name)):
                    parameter.grad = sum(own) / counts
                optimizers[name].step()
                grads[name] = []
        assert_close(model, twin)


def linear(**kwargs):
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    return model, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), **kwargs)


class TestABackwardPassOfTheUsersOwn:
    @pytest.mark.parametrize("counts", [1, 3])
    def test_before_a_window_it_is_dropped_with_a_warning(self, counts):
        (model, wrapper), (twin, clean) = linear(accumulative_counts=counts), linear(accumulative_counts=counts)
        model(X[0]).sum().backward()
        with pytest.warns(OptimzooWarning, match=r"2 parameters had gradients .* they are dropped.*add that loss"):
            wrapper.update_params(model(X[1]).sum())
        clean.update_params(twin(X[1]).sum())
        for x in X[2 : 2 * counts]:
            assert wrapper.update_params(model(x).sum()) is clean.update_params(twin(x).sum())
        assert_close(model, twin)

    def test_before_a_members_window_too_though_another_member_comes_first(self):
        model = gan()
        wrappers = build_optim_wrapper(model, dict(generator=dict(optimizer=SGD), discriminator=dict(optimizer=SGD)))
        for epoch in range(2):
            for name, loss in losses(model, X[epoch]):
                if name == "generator" and epoch:
                    model["discriminator"](X[2]).mean().backward()
                wrappers[name].update_params(loss())
        with pytest.warns(OptimzooWarning, match="2 parameters had gradients"):
            wrappers["discriminator"].update_params(next(losses(model, X[3]))[1]())

    def test_inside_a_window_it_is_told(self):
        model, wrapper = linear(accumulative_counts=2)
        wrapper.update_params(model(X[0]).sum())
        model(X[1]).sum().backward()
        with pytest.warns(OptimzooWarning, match="changed inside a window of accumulation"):
            wrapper.update_params(model(X[2]).sum())

    def test_by_the_wrappers_own_backward_it_counts(self):
        (model, wrapper), (twin, clean) = linear(), linear()
        wrapper.backward(model(X[0]).sum())
        wrapper.update_params(model(X[1]).sum())
        clean.update_params(twin(X[0]).sum() + twin(X[1]).sum())
        assert_close(model, twin)

    def test_a_step_by_hand_uses_it(self):
        (model, wrapper), (twin, _) = linear(), linear()
        model(X[0]).sum().backward()
        wrapper.step()
        twin(X[0]).sum().backward()
        torch.optim.SGD(twin.parameters(), lr=0.1).step()
        assert_close(model, twin)

    def test_zeros_are_no_gradients_of_anybody(self):
        model, wrapper = linear()
        address = None
        for x in X[:3]:
            wrapper.update_params(model(x).sum(), zero_kwargs=dict(set_to_none=False))
            assert address in (None, model.weight.grad.data_ptr())
            address = model.weight.grad.data_ptr()
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        wrapper.update_params(model(X[3]).sum())


class TestOtherTrainers:
    def test_an_optimizer_that_accelerate_prepared_is_refused(self):
        from accelerate import Accelerator

        prepared = Accelerator(cpu=True).prepare(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1))
        with pytest.raises(
            ConfigError, match=r"^optimizer: AcceleratedOptimizer of accelerate .* before it is prepared"
        ):
            OptimWrapper(prepared)

    @pytest.mark.parametrize(
        "module",
        [
            "lightning.fabric.wrappers",
            "lightning_fabric.wrappers",
            "lightning.pytorch.core.optimizer",
            "deepspeed.zero",
        ],
    )
    def test_one_that_another_library_drives_is_refused_by_its_name(self, module):
        # Fabric and Lightning make a class of their own from that of the optimizer: "FabricSGD", "LightningSGD".
        around = type("Around", (), dict(__module__=module))
        prepared = type("AroundSGD", (around, torch.optim.SGD), {})(nn.Linear(1, 1).parameters(), lr=0.1)
        library = module.partition(".")[0]
        with pytest.raises(ConfigError, match=f"^optimizer: AroundSGD of {library} accumulates, scales and skips by"):
            OptimWrapper(prepared)

    @pytest.mark.parametrize(
        "module",
        [
            "opacus.optimizers.optimizer",
            "horovod.torch.optimizer",
            "apex.contrib.optimizers.distributed_fused_adam",
        ],
    )
    def test_one_that_makes_its_gradients_itself_is_refused_with_what_to_do(self, module):
        own = type("OwnSGD", (torch.optim.SGD,), dict(__module__=module))(nn.Linear(1, 1).parameters(), lr=0.1)
        library = module.partition(".")[0]
        with pytest.raises(ConfigError, match=rf"^optimizer: OwnSGD of {library} .* call its step\(\) in a loop of"):
            OptimWrapper(own)

    @pytest.mark.parametrize("module", ["horovod_like.torch", "apex.contrib.optimizers.fused_sgd"])
    def test_one_of_a_like_name_is_not(self, module):
        model = nn.Linear(2, 1)
        own = type("OwnSGD", (torch.optim.SGD,), dict(__module__=module))(model.parameters(), lr=0.1)
        assert OptimWrapper(own).update_params(model(X[0]).sum()) is StepOutcome.UPDATED

    @pytest.mark.parametrize("amp", [False, True])
    def test_a_step_past_that_of_opacus_is_refused(self, monkeypatch, amp):
        monkeypatch.setitem(sys.modules, "opacus", ModuleType("opacus"))
        model, wrapper = linear()
        if amp:
            wrapper = AmpOptimWrapper(optimizer=wrapper.optimizer, dtype="float16")
        wrapper.update_params(model(X[0]).sum())
        for parameter in model.parameters():  # as an optimizer and a model of opacus do
            parameter.summed_grad = None
            parameter.register_hook(lambda grad, p=parameter: setattr(p, "grad_sample", grad[None]))
        before = model.weight.detach().clone()
        with pytest.raises(OptimzooError, match="to make these gradients private"):
            wrapper.update_params(model(X[0]).sum())
        assert torch.equal(model.weight, before)

    @pytest.mark.parametrize("by", ["accelerator.backward", "update_params"])
    def test_a_step_inside_its_accumulation_is_refused(self, by):
        from accelerate import Accelerator

        model, wrapper = linear()
        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
        try:
            with accelerator.accumulate(model):
                loss = model(X[0]).sum()
                if by == "accelerator.backward":
                    accelerator.backward(loss)
                act = wrapper.step if by == "accelerator.backward" else lambda: wrapper.update_params(loss)
                with pytest.raises(OptimzooError, match="accelerate accumulates"):
                    act()
        finally:
            accelerator.gradient_state._reset_state()
            accelerator.free_memory()

    def test_so_it_is_under_a_loss_scale(self):
        from accelerate.state import AcceleratorState

        model = nn.Linear(2, 1)
        wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), dtype="bfloat16")
        (model(X[0]).sum() * 65536).backward()
        AcceleratorState._shared_state["_mixed_precision"] = "fp16"
        try:
            with pytest.raises(OptimzooError, match="accelerate accumulates or scales"):
                wrapper.step()
        finally:
            AcceleratorState._shared_state.clear()


def test_a_copied_container_keeps_its_members_apart():
    model = gan()
    member = dict(optimizer=SGD, accumulative_counts=2)
    wrappers = build_optim_wrapper(model, dict(generator=member, discriminator=member))
    twin, copied = copy.deepcopy((model, wrappers))
    for each, wrapped in ((model, wrappers), (twin, copied)):
        for x in X[:4]:
            for name, loss in losses(each, x):
                wrapped[name].update_params(loss())
    assert isinstance(copied, OptimWrapperDict)
    assert_close(twin, model, atol=0)


def test_an_update_without_foreign_gradients_says_nothing():
    model, wrapper = linear(accumulative_counts=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcomes = [wrapper.update_params(model(x).sum()) for x in X]
    assert outcomes == [StepOutcome.ACCUMULATING, StepOutcome.UPDATED] * 10


@pytest.mark.parametrize("settings", [{}, dict(accumulative_counts=2), dict(flatten=True), dict(nonfinite="skip")])
def test_an_update_of_parameters_that_the_model_has_no_more_is_told(settings):
    with torch.device("meta"):
        model = nn.Linear(2, 1)
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.1), **settings))
    model.to_empty(device="cpu")
    for _ in range(settings.get("accumulative_counts", 1) - 1):
        wrapper.update_params(model(torch.ones(1, 2)).sum())
    with pytest.warns(OptimzooWarning, match="none of the 2 parameters that SGD steps has a gradient of this loss"):
        wrapper.update_params(model(torch.ones(1, 2)).sum())


def test_frozen_parameters_are_nothing_to_tell():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    wrappers = build_optim_wrapper(model, {n: dict(optimizer=dict(type="SGD", lr=0.1)) for n in "01"})
    model[0].requires_grad_(False)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        wrappers["0"].update_params(model(torch.ones(1, 2)).sum())
    assert told == []
