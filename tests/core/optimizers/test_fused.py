"""torch's fused kernels: chosen where they do what the loop does, and refused where they do not."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from optimzoo import ConfigError, OptimWrapper, OptimzooError, build_optim_wrapper, build_optimizer
from optimzoo.optimizers.fused import _moves_otherwise

ADAM = dict(betas=(0.9, 0.99), eps=1e-4)  # by which halves do well
KERNELS = [dict(type="Adam", **ADAM), dict(type="AdamW", **ADAM), dict(type="SGD"), dict(type="Adagrad", eps=1e-4)]
HALF = [torch.bfloat16, torch.float16]
MOMENTUM = dict(type="SGD", lr=0.1, momentum=0.9)
STATEFUL = [MOMENTUM, dict(type="AdamW", lr=0.1), dict(type="Adagrad", lr=0.1)]


def ends(dtype, cast_after=False, updates=3, **optimizer):
    """Return the weights after some updates, of 100 numbers, as float32."""
    model = nn.Linear(10, 10, bias=False, dtype=torch.float32 if cast_after else dtype)
    nn.init.zeros_(model.weight)
    built = build_optimizer(model, dict(lr=0.1, **optimizer))
    model.to(dtype)
    for _ in range(updates):
        model.weight.grad = torch.linspace(1, 2, 100).reshape(10, 10).to(dtype)
        built.step()
    return model.weight.detach().float(), built


def fused_sgd_moves(dtype):
    weight = nn.Parameter(torch.zeros(100, dtype=dtype))
    weight.grad = torch.ones_like(weight)
    torch.optim.SGD([weight], lr=1.0, fused=True).step()
    return bool(weight.all())


class TestInHalfPrecision:
    @pytest.mark.parametrize("cast_after", [False, True], ids=["built so", "cast after the build"])
    @pytest.mark.parametrize("momentum", [0, 0.9])
    @pytest.mark.parametrize("dtype", HALF, ids=["bfloat16", "float16"])
    def test_sgd_moves_every_number(self, dtype, momentum, cast_after):
        exact, _ = ends(torch.float64, type="SGD", momentum=momentum)
        moved, _ = ends(dtype, cast_after, type="SGD", momentum=momentum)
        torch.testing.assert_close(moved, exact, rtol=0.02, atol=0.02)

    @pytest.mark.parametrize("kernel", KERNELS, ids=lambda cfg: cfg["type"])
    @pytest.mark.parametrize("dtype", HALF, ids=["bfloat16", "float16"])
    def test_a_kernel_that_is_asked_for_is_refused_if_it_errs(self, kernel, dtype):
        exact, _ = ends(torch.float64, **kernel)
        if kernel["type"] == "SGD" and not fused_sgd_moves(dtype):
            for cast_after in (False, True):
                with pytest.raises(ConfigError, match="fused: the fused SGD of torch .* does not move most numbers"):
                    ends(dtype, cast_after, fused=True, **kernel)
            return
        moved, optimizer = ends(dtype, fused=True, **kernel)
        assert optimizer.param_groups[0]["fused"]
        torch.testing.assert_close(moved, exact.float(), rtol=0.02, atol=0.02)

    def test_so_are_parameters_that_join_later(self):
        optimizer = build_optimizer(nn.Linear(10, 10), dict(type="SGD", lr=0.1))
        late = nn.Parameter(torch.zeros(100, dtype=torch.bfloat16))
        optimizer.step()
        optimizer.add_param_group(dict(params=[("late", late)]))
        late.grad = torch.ones_like(late)
        optimizer.step()
        torch.testing.assert_close(late.detach(), torch.full_like(late, -0.1))

    @pytest.mark.parametrize("momentum", [0, 0.9])
    def test_so_are_parameters_that_are_cast_between_updates(self, momentum):
        weights = []
        for said in (dict(), dict(fused=False)):
            model = nn.Linear(10, 10, bias=False)
            nn.init.zeros_(model.weight)
            optimizer = build_optimizer(model, dict(type="SGD", lr=0.1, momentum=momentum, **said))
            for _ in range(3):
                model.weight.grad = torch.ones_like(model.weight)
                optimizer.step()
                model.bfloat16()
            weights.append(model.weight.detach())
        assert torch.equal(*weights)

    def test_so_are_those_of_an_optimizer_that_loads_the_state_of_a_fused_one(self):
        wide, narrow = (nn.Parameter(torch.zeros(100, dtype=d)) for d in (torch.float32, torch.bfloat16))
        one, other = (build_optimizer([p], MOMENTUM) for p in (wide, narrow))
        other.load_state_dict(one.state_dict())
        narrow.grad = torch.ones_like(narrow)
        other.step()
        torch.testing.assert_close(narrow.detach(), torch.full_like(narrow, -0.1))

    @pytest.mark.parametrize("kernel", KERNELS, ids=lambda cfg: cfg["type"])
    def test_the_trial_computes_under_a_mode_that_computes_nothing(self, kernel):
        _moves_otherwise.cache_clear()
        with FakeTensorMode():
            optimizer = build_optimizer([nn.Parameter(torch.zeros(100, dtype=torch.bfloat16))], kernel)
        errs = kernel["type"] == "SGD" and not fused_sgd_moves(torch.bfloat16)
        assert optimizer.param_groups[0]["fused"] is (None if errs else True)


class Inherits(torch.optim.SGD):
    """One with the kernel of its base."""


class TestBuiltByHand:
    @pytest.mark.parametrize("cls", [torch.optim.SGD, Inherits])
    @pytest.mark.parametrize("dtype", HALF, ids=["bfloat16", "float16"])
    def test_a_kernel_that_errs_is_refused_by_the_wrapper(self, dtype, cls):
        optimizer = cls([nn.Parameter(torch.zeros(100, dtype=dtype))], lr=1.0, fused=True)
        if fused_sgd_moves(dtype):
            assert OptimWrapper(optimizer)
            return
        with pytest.raises(ConfigError, match="fused: the fused SGD of torch .* does not move most numbers"):
            OptimWrapper(optimizer)

    def test_a_gradient_of_another_layout_is_stepped_as_by_the_loop(self):
        weights = []
        for fused in (False, True):
            weight = nn.Parameter(torch.zeros(4, 8))
            wrapper = OptimWrapper(torch.optim.AdamW([weight], lr=0.1, fused=fused))
            for sign in (1, -0.5):
                weight.grad = torch.linspace(-1, 1, 32).reshape(8, 4).t() * sign
                wrapper.step()
            weights.append(weight.detach())
        torch.testing.assert_close(*weights)


class TestMemory:
    """Kernels go through memory, whatever the strides are."""

    @pytest.mark.parametrize("kernel", STATEFUL, ids=lambda cfg: cfg["type"])
    @pytest.mark.parametrize("by", ["cast", "load"])
    @pytest.mark.parametrize("to", [torch.channels_last, torch.contiguous_format], ids=["channels last", "first"])
    def test_states_follow_parameters_into_another_layout(self, kernel, by, to):
        start, grads = torch.randn(4, 4, 3, 3), torch.randn(4, 4, 4, 3, 3).unbind()
        before = torch.contiguous_format if to is torch.channels_last else torch.channels_last
        weights = []
        for said in (dict(), dict(fused=False)):
            weight = nn.Parameter(start.clone(memory_format=before))
            optimizer = build_optimizer([weight], dict(kernel, **said))
            for update, grad in enumerate(grads):
                if update == 2:
                    weight.data = weight.data.to(memory_format=to)
                    if by == "load":
                        state = optimizer.state_dict()
                        optimizer = build_optimizer([weight], dict(kernel, **said))
                        optimizer.load_state_dict(state)
                weight.grad = grad.to(memory_format=to)
                optimizer.step()
            weights.append(weight.detach())
        torch.testing.assert_close(*weights)

    @pytest.mark.parametrize("kernel", STATEFUL, ids=lambda cfg: cfg["type"])
    def test_nothing_is_written_between_the_numbers_of_a_slice(self, kernel):
        whole = torch.zeros(4, 6)
        weight = nn.Parameter(whole[:, :3])
        weight.grad = torch.ones_like(weight)
        build_optimizer([weight], kernel).step()
        assert weight.all()
        assert not whole[:, 3:].any()
        with pytest.raises(ConfigError, match=r"fused: .* between the numbers of a parameter of shape \(4, 3\)"):
            build_optimizer([weight], dict(kernel, fused=True))


def scaled(optimizer, weight, overflows=(), dense=True):
    """Make three updates of torch's own GradScaler."""
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for update in range(3):
        optimizer.zero_grad()
        picked = weight if dense else nn.functional.embedding(torch.tensor([1, 2]), weight, sparse=True)
        scaler.scale(picked.sum() * (float("inf") if update in overflows else update + 1)).backward()
        scaler.step(optimizer)
        scaler.update()
    return weight.detach()


class TestUnderAGradScaler:
    def trained(self, overflows=(), dense=True, **said):
        weight = nn.Parameter(torch.zeros(10, 10))
        return scaled(build_optimizer([weight], dict(MOMENTUM, **said)), weight, overflows, dense)

    @pytest.mark.parametrize("overflows", [(0,), (1,)], ids=["first", "second"])
    @pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])
    def test_a_step_that_overflows_leaves_no_trace(self, overflows, dense):
        filled = torch.empty_like
        with pytest.MonkeyPatch.context() as patch:  # what it finds in the memory that it gets is up to chance
            patch.setattr(torch, "empty_like", lambda *args, **kwargs: filled(*args, **kwargs).fill_(float("nan")))
            fused = self.trained(overflows, dense)
        torch.testing.assert_close(fused, self.trained(overflows, dense, fused=False))

    def test_with_dampening_that_is_an_error(self):
        with pytest.raises(OptimzooError, match="nor a first step that a GradScaler may skip: say fused=False"):
            self.trained(dampening=0.5, fused=True)

    def test_a_state_of_the_loop_is_gone_on_with(self):
        weights = []
        for said in (dict(), dict(fused=False)):
            weight = nn.Parameter(torch.zeros(10))
            optimizer = build_optimizer([weight], dict(MOMENTUM, **said))
            optimizer.load_state_dict(torch.optim.SGD([weight], lr=0.1, momentum=0.9).state_dict())
            weights.append(scaled(optimizer, weight))
        torch.testing.assert_close(*weights)


@pytest.mark.parametrize("name", ["AdamW", "SGD", "Adagrad"])
def test_a_kernel_that_nobody_asked_for_is_left_where_a_parameter_joins_that_it_does_not_step(name):
    weights = []
    for said in (dict(), dict(fused=False)):
        params = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, dtype=torch.complex64))]
        optimizer = build_optimizer(params[:1], dict(type=name, lr=0.1, **said))
        for joined in (1, 2):
            if joined == 2:
                optimizer.add_param_group({"params": params[1:]})
            for p in params[:joined]:
                p.grad = torch.full_like(p, 0.5)
            optimizer.step()
        weights.append([p.detach() for p in params])
    torch.testing.assert_close(*weights)


def test_adagrads_kernel_is_left_where_the_model_is_cast():
    weights = []
    for said in (dict(), dict(fused=False)):
        model = nn.Linear(2, 1)
        nn.init.ones_(model.weight)
        optimizer = build_optimizer(model, dict(type="Adagrad", **said))
        for dtype in (torch.float32, torch.float64):
            model.to(dtype)
            optimizer.zero_grad()
            model(torch.ones(1, 2, dtype=dtype)).sum().backward()
            optimizer.step()
        weights.append(model.weight.detach())
    torch.testing.assert_close(*weights)


class TestSGDWithMomentum:
    def test_is_fused(self):
        assert build_optimizer(nn.Linear(2, 2), dict(type="SGD", lr=0.1, momentum=0.9)).defaults["fused"]

    @pytest.mark.parametrize("where", ["optimizer", "rule"])
    def test_but_not_with_dampening_which_the_first_update_leaves_out(self, where):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        own = dict(dampening=0.5) if where == "optimizer" else {}
        rules = {} if own else {"0.weight": dict(dampening=0.5)}
        wrapper = build_optim_wrapper(
            model,
            dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9, **own), paramwise_cfg=dict(custom_keys=rules)),
        )
        assert not any(group["fused"] for group in wrapper.optimizer.param_groups)

    def test_trains_as_the_loop_does_with_gradients_missing_and_momentum_scheduled(self):
        weights = []
        for said in (dict(), dict(fused=False)):
            params = [nn.Parameter(torch.ones(20, 3)) for _ in range(4)]
            optimizer = build_optimizer(params, dict(type="SGD", lr=0.1, momentum=0.9, nesterov=True, **said))
            random = torch.Generator().manual_seed(0)
            for update in range(40):
                optimizer.param_groups[0]["momentum"] = 0.5 + update / 100
                for number, p in enumerate(params):
                    grad = torch.randn(20, 3, generator=random)
                    p.grad = grad if update >= 5 * number and (update + number) % 3 else None
                optimizer.step()
            weights.append([p.detach() for p in params])
        torch.testing.assert_close(*weights)

    def test_takes_sparse_gradients_that_come_later(self):
        weights = []
        for said in (dict(), dict(fused=False)):
            weight = nn.Parameter(torch.zeros(5, 3))
            optimizer = build_optimizer([weight], dict(MOMENTUM, **said))
            for grad in (torch.ones(5, 3), torch.eye(5, 3).to_sparse()):
                weight.grad = grad
                optimizer.step()
            weights.append(weight.detach())
        torch.testing.assert_close(*weights)
