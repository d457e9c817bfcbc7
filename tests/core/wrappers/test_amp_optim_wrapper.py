import copy
from types import MappingProxyType

import pytest
import torch
from torch import nn

from optimzoo import AmpOptimWrapper, StepOutcome, build_optim_wrapper, build_param_scheduler
from optimzoo.errors import ConfigError, NonFiniteError, OptimzooError, OptimzooWarning

UPDATED, ACCUMULATING, SKIPPED = StepOutcome.UPDATED, StepOutcome.ACCUMULATING, StepOutcome.SKIPPED


@pytest.fixture
def linear():
    model = nn.Linear(2, 1, bias=False)
    nn.init.ones_(model.weight)
    return model


def amp(model, lr=0.1, dtype="float16", loss_scale=MappingProxyType(dict(init_scale=1024.0)), **kwargs):
    optimizer = torch.optim.SGD(model.named_parameters(), lr=lr)
    return AmpOptimWrapper(optimizer=optimizer, dtype=dtype, loss_scale=loss_scale, **kwargs)


def iterate(wrapper, model, overflow=False):
    with wrapper.optim_context(model):
        loss = model(torch.ones(4, 2)).float().square().mean()
    return wrapper.update_params(loss * torch.inf if overflow else loss)


class TestPrecision:
    @pytest.mark.parametrize(
        ("dtype", "computed", "scaled"),
        [
            ("float16", torch.float16, True),
            (torch.float16, torch.float16, True),
            ("bfloat16", torch.bfloat16, False),
            (None, torch.bfloat16, False),
            ("float32", torch.float32, False),
        ],
    )
    def test_the_forward_pass_is_cast_and_float16_alone_is_scaled(self, dtype, computed, scaled, linear):
        wrapper = amp(linear, dtype=dtype)
        with wrapper.optim_context(linear):
            assert linear(torch.ones(1, 2)).dtype is computed
        assert linear(torch.ones(1, 2)).dtype is torch.float32
        assert wrapper.loss_scaler.is_enabled() is scaled

    def test_a_scale_does_not_change_the_update(self, linear):
        twin = copy.deepcopy(linear)
        wrapper = amp(linear, clip_grad=dict(max_norm=0.5), loss_scale=1024)
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
        for _ in range(3):
            assert iterate(wrapper, linear) is UPDATED
            with torch.autocast("cpu", torch.float16):
                loss = twin(torch.ones(4, 2)).float().square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
        assert torch.allclose(linear.weight, twin.weight, rtol=1e-3)

    @pytest.mark.parametrize(("scale", "weight"), [(1.0, 0.0), (2.0**16, -1e-8)])
    def test_gradients_too_small_for_float16_survive_by_the_scale(self, scale, weight, linear):
        nn.init.zeros_(linear.weight)
        wrapper = amp(linear, lr=1.0, loss_scale=scale)
        with wrapper.optim_context(linear):
            loss = linear(torch.ones(1, 2)).float().sum() * 1e-8
        wrapper.update_params(loss)
        assert linear.weight.tolist() == [pytest.approx([weight] * 2, rel=1e-3)]

    def test_without_enabled_it_is_single_precision(self, linear):
        wrapper = amp(linear, enabled=False)
        with wrapper.optim_context(linear):
            assert linear(torch.ones(1, 2)).dtype is torch.float32
        assert not wrapper.loss_scaler.is_enabled()

    def test_a_plain_config_builds_it(self, linear):
        cfg = dict(type="AmpOptimWrapper", optimizer=dict(type="SGD", lr=0.1), loss_scale=512.0, dtype="float16")
        wrapper = build_optim_wrapper(linear, cfg)
        iterate(wrapper, linear)
        assert wrapper.loss_scaler.get_scale() == 512.0


class TestOrder:
    def test_each_part_of_an_update_runs_once_and_in_its_place(self, linear, monkeypatch):
        order = []
        wrapper = amp(linear, accumulative_counts=2, clip_grad=dict(max_norm=1.0))

        def spy(target, name):
            real = getattr(target, name)

            def called(*args, **kwargs):
                order.append(name)
                return real(*args, **kwargs)

            monkeypatch.setattr(target, name, called)

        for name in ("scale", "unscale_", "update"):
            spy(wrapper.loss_scaler, name)
        spy(wrapper.optimizer, "step")
        spy(torch.Tensor, "backward")
        spy(wrapper, "clip_func")
        spy(wrapper.optimizer, "zero_grad")
        backward = ["scale", "backward", "scale", "backward", "unscale_"]
        for overflow in (False, True, False):
            expected = [*backward, *([] if overflow else ["clip_func", "step"]), "update", "zero_grad"]
            order.clear()
            iterate(wrapper, linear)
            iterate(wrapper, linear, overflow=overflow)
            assert order == expected


class TestOverflow:
    def test_a_scale_that_has_sunk_to_zero_goes_on_skipping(self, linear):
        wrapper = amp(linear, loss_scale=dict(init_scale=1e-44))
        outcomes = [iterate(wrapper, linear, overflow=True) for _ in range(6)]
        assert wrapper.loss_scaler.get_scale() == 0
        assert outcomes == [SKIPPED] * 6

    def test_the_host_reads_one_number_per_update_to_learn_of_it(self, linear, monkeypatch):
        wrapper = amp(linear, clip_grad=dict(max_norm=1.0), nonfinite="skip")
        iterate(wrapper, linear)
        reads, item = [], torch.Tensor.item
        monkeypatch.setattr(torch.Tensor, "item", lambda tensor: reads.append(tensor) or item(tensor))
        for overflow in (False, True):
            reads.clear()
            iterate(wrapper, linear, overflow=overflow)
            assert len(reads) == 1

    def test_after_an_error_training_can_go_on(self, linear):
        wrapper = amp(linear, loss_scale=512.0, nonfinite="raise")
        with pytest.raises(NonFiniteError):
            iterate(wrapper, linear, overflow=True)
        wrapper.zero_grad()
        assert iterate(wrapper, linear) is UPDATED

    def test_it_skips_the_update_lowers_the_scale_and_is_counted(self, linear):
        wrapper = amp(linear, clip_grad=dict(max_norm=1.0))
        schedule = build_param_scheduler(wrapper, dict(type="LinearLR", by="update", start_factor=0.5, end=3))
        outcomes, rates = [], []
        for overflow in (False, True, True, False):
            before = linear.weight.clone()
            outcomes.append(iterate(wrapper, linear, overflow))
            assert torch.equal(before, linear.weight) is overflow
            assert linear.weight.grad is None
            schedule.step(outcomes[-1])
            rates.append(wrapper.get_lr()["lr"][0])
        assert outcomes == [UPDATED, SKIPPED, SKIPPED, UPDATED]
        assert (wrapper.update_count, wrapper.skipped_count, wrapper.inner_count) == (2, 2, 4)
        assert wrapper.loss_scaler.get_scale() == 256.0
        assert rates == pytest.approx([0.075, 0.075, 0.075, 0.1])

    def test_one_iteration_of_a_window_spoils_the_whole_update(self, linear):
        wrapper = amp(linear, accumulative_counts=2)
        assert [iterate(wrapper, linear, overflow) for overflow in (True, False)] == [ACCUMULATING, SKIPPED]

    @pytest.mark.parametrize("policy", [dict(nonfinite="raise"), dict(nonfinite="skip"), dict(nonfinite="ignore")])
    @pytest.mark.parametrize("clip_grad", [None, dict(max_norm=1.0, error_if_nonfinite=True)])
    def test_under_a_dynamic_scale_it_is_no_error_under_any_policy(self, policy, clip_grad, linear):
        wrapper = amp(linear, clip_grad=clip_grad, **policy)
        assert iterate(wrapper, linear, overflow=True) is SKIPPED
        assert iterate(wrapper, linear) is UPDATED

    def test_a_scale_that_stays_skips_too_or_raises_if_it_is_told_to(self, linear):
        wrapper = amp(linear, loss_scale=128.0)
        assert iterate(wrapper, linear, overflow=True) is SKIPPED
        assert wrapper.loss_scaler.get_scale() == 128.0
        with pytest.raises(NonFiniteError, match="the gradient of 'weight' is not finite"):
            iterate(amp(linear, loss_scale=128.0, nonfinite="raise"), linear, overflow=True)

    def test_an_optimizer_whose_parameters_have_no_gradient_does_nothing(self, linear):
        wrapper = amp(linear)
        wrapper.step()
        assert wrapper.loss_scaler.get_scale() == 1024.0


class TestState:
    def test_the_scale_is_saved_and_loaded(self, linear, tmp_path):
        wrapper = amp(linear, loss_scale=dict(init_scale=64.0, growth_interval=1))
        iterate(wrapper, linear)
        torch.save(wrapper.state_dict(), tmp_path / "state.pt")
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        assert list(state)[-1] == "loss_scaler"
        fresh = amp(linear)
        fresh.load_state_dict(state)
        assert fresh.loss_scaler.state_dict() == wrapper.loss_scaler.state_dict()
        assert fresh.loss_scaler.get_scale() == 128.0

    @pytest.mark.parametrize(("saved", "loaded"), [("bfloat16", "float16"), ("float16", "bfloat16")])
    def test_a_run_may_go_on_in_another_precision(self, saved, loaded, linear):
        wrapper = amp(linear, dtype=loaded)
        wrapper.load_state_dict(amp(linear, dtype=saved).state_dict())
        assert iterate(wrapper, linear) is UPDATED

    @pytest.mark.parametrize(("saved", "loaded"), [("float16", "bfloat16"), ("bfloat16", "float16")])
    def test_a_window_of_gradients_that_were_scaled_otherwise_is_dropped(self, saved, loaded, linear):
        wrapper = amp(linear, dtype=saved, accumulative_counts=3)
        for _ in range(2):
            iterate(wrapper, linear)
        other = amp(linear, dtype=loaded, accumulative_counts=3)
        with pytest.warns(OptimzooWarning, match="the gradients of the 2 iterations in a window that was open are dro"):
            other.load_state_dict(copy.deepcopy(wrapper.state_dict()))
        for parameter in linear.parameters():
            parameter.grad = torch.full_like(parameter, 1e6)
        before = linear.weight.detach().clone()
        with pytest.warns(OptimzooWarning, match="they are dropped"):
            iterate(other, linear)
        outcomes = [iterate(other, linear) for _ in range(2)]
        assert outcomes == [ACCUMULATING, UPDATED]
        assert (linear.weight - before).abs().max() < 10


class TestMistakes:
    @pytest.mark.parametrize(
        ("kwargs", "path", "said"),
        [
            (dict(dtype="fp16"), "dtype", "'bfloat16'"),
            (dict(dtype=torch.int8), "dtype", "torch.float16"),
            (dict(loss_scale="dinamic"), "loss_scale", "'dynamic'"),
            (dict(loss_scale=-1.0), "loss_scale", "from 1e-45 to 3.4"),
            (dict(loss_scale=float("inf")), "loss_scale", "from 1e-45 to 3.4"),
            (dict(loss_scale=dict(init_scale=float("inf"))), "loss_scale.init_scale", "from 1e-45 to 3.4"),
            (dict(loss_scale=dict(init_scale=float("nan"))), "loss_scale.init_scale", "from 1e-45 to 3.4"),
            (dict(loss_scale=dict(growth_factor=1.0)), "loss_scale.growth_factor", "from 1 to"),
            (dict(loss_scale=dict(backoff_factor=1.0)), "loss_scale.backoff_factor", "from 1e-06 to"),
            (dict(loss_scale=dict(init_scal=1.0)), "loss_scale.init_scal", "Did you mean 'init_scale'"),
        ],
    )
    def test_they_are_named_with_their_place(self, kwargs, path, said, linear):
        cfg = dict(type="AmpOptimWrapper", optimizer=dict(type="SGD", lr=0.1), **kwargs)
        with pytest.raises(ConfigError) as caught:
            build_optim_wrapper(linear, cfg)
        assert (caught.value.path, said in str(caught.value)) == (f"optim_wrapper.{path}", True), str(caught.value)

    def test_a_misspelt_argument_is_found_with_the_rest_of_the_config(self, linear):
        cfg = dict(type="AmpOptimWrapper", optimizer=dict(type="SGD", lr=0.1), loss_scal=1.0)
        with pytest.raises(ConfigError, match=r"optim_wrapper\.loss_scal: .*Did you mean 'loss_scale'"):
            build_optim_wrapper(linear, cfg)

    def test_a_closure_and_a_scale_exclude_each_other(self, linear):
        wrapper = amp(linear)
        linear(torch.ones(1, 2)).sum().backward()
        with pytest.raises(OptimzooError, match="Use dtype='bfloat16'"):
            wrapper.step(closure=lambda: None)

    def test_a_model_in_float16_is_refused_where_the_loss_is_scaled(self, linear):
        with pytest.raises(ConfigError, match="type: torch takes no loss scale out of .* leave the model in float32"):
            amp(linear.half())
        assert amp(linear, dtype="bfloat16", loss_scale="dynamic")
        assert amp(linear, enabled=False, loss_scale="dynamic")

    def test_gradients_that_were_not_scaled_are_refused_or_told_to_be_divided(self, linear):
        wrapper = amp(linear)
        linear(torch.ones(1, 2)).sum().backward()
        with pytest.raises(OptimzooError, match="call that, or update_params"):
            wrapper.step()
        wrapper.zero_grad()
        iterate(wrapper, linear)
        before = linear.weight.detach().clone()
        linear(torch.ones(1, 2)).sum().backward()
        with pytest.warns(OptimzooWarning, match="they are divided by 1024 for nothing"):
            wrapper.step()
        assert torch.allclose(before - linear.weight, torch.full((1, 2), 0.1 / 1024), rtol=1e-2)
